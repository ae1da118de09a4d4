"""Latency of scoring one row: small experts, one million rows. Prints a JSON line for each way of running the model.

`ids_to_scores` begins with a Python list of eight ids and ends with a list of probabilities, as a service would;
`tensor_to_tensor` leaves both conversions out.
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
    """Median and 99th percentile of a call, in microseconds."""
    microseconds = []
    for one in inputs:
        begun = time.perf_counter_ns()
        function(one)
        microseconds.append((time.perf_counter_ns() - begun) / 1e3)
    middle, late = np.percentile(microseconds[warm_up:], [50, 99])
    return {"median_us": round(middle, 1), "p99_us": round(late, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocab", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=2000, help="rows that are timed, one by one")
    parser.add_argument("--threads", type=int, default=1, help="a second thread has nothing to do here")
    parser.add_argument("--how", default="eager,trace", help="of eager, trace (TorchScript, frozen), compile (torch.compile)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    fields, warm_up = data.sizes(args.vocab), 200
    model = STEM(sum(fields), len(fields), hidden=(64, 32), shared=1, gate=(32,), tower=(32,)).eval()
    tensors = list(data.batch(fields, args.rows + warm_up, 2, 1)[0].split(1))
    lists = [one[0].tolist() for one in tensors]

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
                "threads": args.threads,
                "ids_to_scores": clock(lambda ids: run(torch.tensor([ids])).tolist(), lists, warm_up),
                "tensor_to_tensor": clock(run, tensors, warm_up),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
