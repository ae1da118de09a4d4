"""The batches that the Rust benches draw (`benches/src/lib.rs`): eight fields with the shares of the TikTok log."""

import numpy as np
import torch

SHARES = [0.02, 0.6, 0.2, 0.0002, 0.00001, 0.01, 0.16, 0.0001]
LEAST, UNIFORM = 4, 100
EXPONENT, SUPPORT = 1.3, 10**9


def sizes(vocabulary):
    """Rows of each field."""
    return [max(int(share * vocabulary), LEAST) for share in SHARES]


def zipf(rng, count):
    """Zipf(1.3) on 1..10^9: NumPy's has no upper end, so what lies beyond is drawn again."""
    ids = rng.zipf(EXPONENT, count)
    while (beyond := (ids > SUPPORT) | (ids < 1)).any():
        ids[beyond] = rng.zipf(EXPONENT, int(beyond.sum()))
    return ids


def batch(fields, rows, tasks, seed, history=0):
    """Ids [rows, F] with each field's offset added, then a full history of the second field's values, and labels [rows, T], one in four
    positive."""
    rng = np.random.default_rng(seed)
    columns, offset = [], 0
    for size in fields:
        ids = rng.integers(0, size, rows) if size <= UNIFORM else zipf(rng, rows) % size
        columns.append(ids + offset)
        offset += size
    if history:
        watched = zipf(rng, rows * history) % fields[1] + fields[0]
        columns += list(watched.reshape(rows, history).T)
    labels = (rng.random((rows, tasks)) < 0.25).astype(np.float32)
    return torch.from_numpy(np.stack(columns, 1)), torch.from_numpy(labels)
