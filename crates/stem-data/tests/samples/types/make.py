"""Writes the Parquet and Arrow files of this folder: one column of an odd type each, beside user, click and split (pyarrow 26)."""
import datetime as dt
import decimal

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

N = 12
start = dt.datetime(2024, 3, 1)
seconds = [start + dt.timedelta(seconds=i) for i in range(N)]
whole = [decimal.Decimal(i % 3) for i in range(N)]
columns = {
    "half": pa.array([float(i % 3) for i in range(N)], pa.float32()).cast(pa.float16()),
    "decimal": pa.array(whole, pa.decimal128(38, 0)),
    "price": pa.array([d / 4 for d in whole], pa.decimal128(10, 2)),
    "wide": pa.array(whole, pa.decimal256(50, 0)),
    "unsigned": pa.array([2**63 + i % 3 for i in range(N)], pa.uint64()),
    "pair": pa.array([[i % 3, 7] for i in range(N)], pa.list_(pa.int64(), 2)),
    "dictionary": pa.array(["abc"[i % 3] for i in range(N)]).dictionary_encode(),
    "binary": pa.array([b"abc"[i % 3 : i % 3 + 1] for i in range(N)], pa.binary()),
    "bytes": pa.array([b"\xff\xfe"] * N, pa.binary()),
    "half_hour": pa.array(seconds, pa.timestamp("us", "+05:30")),
    "zoned": pa.array(seconds, pa.timestamp("ns", "America/New_York")),
    "time": pa.array([s.time() for s in seconds], pa.time64("us")),
    "span": pa.array([dt.timedelta(seconds=i) for i in range(N)], pa.duration("us")),
    "struct": pa.array([{"a": i} for i in range(N)]),
    "flags": pa.array([[True, False]] * N, pa.list_(pa.bool_())),
    "vector": pa.array([[0.5, 1.5]] * N, pa.list_(pa.float32())),
    "float_ids": pa.array([None if i == 5 else float(i % 3) for i in range(N)], pa.float64()),
    "seconds": pa.array([dt.time(i, i % 60) for i in range(N)], pa.time32("s")),
    "tiny": pa.array([i * 10 for i in range(N)], pa.int8()),
    "tags": pa.array([["a", "b"]] * N, pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    "fractions": pa.array([i / 2 for i in range(N)], pa.float64()),
}
for name, column in columns.items():
    table = pa.table(
        {
            "user": pa.array([i % 4 for i in range(N)]),
            "click": pa.array([i % 2 for i in range(N)]),
            "split": ["train"] * (N - 4) + ["valid"] * 2 + ["test"] * 2,
            name: column,
        }
    )
    pq.write_table(table, f"{name}.parquet", compression="none")
    if name in ("half_hour", "half", "decimal", "dictionary"):
        feather.write_feather(table, f"{name}.arrow", compression="uncompressed")
