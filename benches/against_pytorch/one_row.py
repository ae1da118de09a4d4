"""Latency of scoring one row: small experts, one million rows. Prints a JSON line for each way of running the model.

`ids_to_scores` begins with a Python list of eight ids and ends with a list of probabilities, as a service would;
`tensor_to_tensor` leaves both conversions out. With `--candidates 500` a request is that many rows of one user, as in the Rust
`request_time`: sixteen fields, twelve of them the user's.
"""

import argparse
import json
import sys
import time

import numpy as np

try:
    import torch
except ImportError:
    sys.exit("error: PyTorch is missing: pip install -r requirements.txt (see README.md)")

import data
from stem import STEM


def clock(function, inputs, warm_up):
    """Least and median time and 99th percentile of a call, in microseconds."""
    microseconds = []
    for one in inputs:
        begun = time.perf_counter_ns()
        function(one)
        microseconds.append((time.perf_counter_ns() - begun) / 1e3)
    middle, late = np.percentile(microseconds[warm_up:], [50, 99])
    least = min(microseconds[warm_up:])
    return {"least_us": round(least, 1), "median_us": round(middle, 1), "p99_us": round(late, 1)}


def candidates(fields, count, requests, seed):
    """Requests of `count` rows [count, 16] that share their first twelve ids."""
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *fields[:-1]])
    for _ in range(requests):
        ids = rng.integers(0, fields[0], (count, len(fields)))
        ids[:, :12] = ids[:1, :12]
        yield torch.from_numpy(ids + offsets)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocab", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=2000, help="rows that are timed, one by one")
    parser.add_argument("--candidates", type=int, default=1, help="rows of a request")
    parser.add_argument("--threads", type=int, default=1, help="a second thread has nothing to do here")
    parser.add_argument("--how", default="eager,trace", help="of eager, trace (TorchScript, frozen), compile (torch.compile)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    warm_up = 200 if args.candidates == 1 else 20
    fields = data.sizes(args.vocab) if args.candidates == 1 else [args.vocab // 16] * 16
    model = STEM(sum(fields), len(fields), hidden=(64, 32), shared=1, gate=(32,), tower=(32,)).eval()
    if args.candidates == 1:
        tensors = list(data.batch(fields, args.rows + warm_up, 2, 1)[0].split(1))
    else:
        tensors = list(candidates(fields, args.candidates, args.rows + warm_up, 1))
    lists = [one.tolist() for one in tensors]

    class Scorer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, ids):
            return self.model(ids).sigmoid()

    scorer = Scorer().eval()
    with torch.inference_mode():
        expected = scorer(tensors[0])
        for how in args.how.split(","):
            if how == "eager":
                run = scorer
            elif how == "trace":
                with torch.no_grad():
                    run = torch.jit.freeze(torch.jit.trace(scorer, tensors[0]))
            elif how == "compile":
                run = torch.compile(scorer)
            else:
                parser.error(f"--how knows eager, trace and compile, not {how!r}")
            torch.testing.assert_close(run(tensors[0]), expected)
            line = {
                "how": how,
                "vocab": sum(fields),
                "candidates": args.candidates,
                "threads": args.threads,
                "ids_to_scores": clock(lambda ids: run(torch.tensor(ids)).tolist(), lists, warm_up),
                "tensor_to_tensor": clock(run, tensors, warm_up),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
