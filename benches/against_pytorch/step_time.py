"""Times whole training steps and scoring in PyTorch; prints the JSON line that the Rust `step_time` prints.

    python step_time.py --vocab 1000000 --batch 4096 --hidden 64,32 --shared 1 --gate 32 --tower 32 --sparse

With `--device cuda` a batch travels from the host within the step, and the step's loss and the scores travel back, as they do in a training.
"""

import argparse
import json
import statistics
import sys
import time

try:
    import torch
except ImportError:
    sys.exit("error: PyTorch is missing: pip install -r requirements.txt (see README.md)")

import data
from stem import STEM, Interest, Training

WARM_UP = 3


def widths(text):
    return [int(part) for part in text.split(",")]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocab", type=int, default=10_000, help="rows of the table, about")
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed; the median is printed")
    parser.add_argument("--shared", type=int, default=8, help="shared experts")
    parser.add_argument("--specific", type=int, default=1, help="experts per task")
    parser.add_argument("--hidden", type=widths, default=[512, 512, 512])
    parser.add_argument("--gate", type=widths, default=[128, 64])
    parser.add_argument("--tower", type=widths, default=[128, 64])
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--tasks", type=int, default=2)
    parser.add_argument("--cross", type=int, default=0, help="layers of crosses of features before the experts")
    parser.add_argument("--rank", type=int, default=16, help="rank of the crosses")
    parser.add_argument("--fm", action="store_true", help="products of pairs of features")
    parser.add_argument("--history", type=int, default=0, help="slots of a history of items, all of them filled")
    parser.add_argument("--attended", action="store_true", help="attend the history in the place of its bag")
    parser.add_argument("--form", choices=Interest.FORMS, default="parts", help="how the first map of attention is computed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sparse", action="store_true", help="sparse gradients and SparseAdam for the table")
    parser.add_argument("--bf16", action="store_true", help="autocast of everything after the table")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--compile", action="store_true", help="torch.compile of everything after the table")
    return parser.parse_args()


def peak_gb():
    """Peak resident memory (the process's own: getrusage would count what the parent held before exec)."""
    try:
        with open("/proc/self/status") as status:
            kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        return round(kib * 1024 / 1e9, 3)
    except (OSError, StopIteration):
        return None


def clock(function, batches):
    """Median and least seconds of a call, the first calls left out."""
    seconds = []
    for one in batches:
        begun = time.perf_counter()
        function(one)
        seconds.append(time.perf_counter() - begun)
    return statistics.median_high(seconds[WARM_UP:]), min(seconds[WARM_UP:])


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    fields = data.sizes(args.vocab)
    batches = [data.batch(fields, args.batch, args.tasks, seed, args.history) for seed in range(args.steps + WARM_UP)]
    sizes = (sum(fields), len(fields), args.tasks, args.dim, args.shared, args.specific, args.hidden, args.gate, args.tower, args.sparse)
    attended = args.form if args.attended else None
    model = STEM(*sizes, args.history, attended, args.cross, args.rank, args.fm).to(args.device)
    network = torch.compile(model.network) if args.compile else None
    training = Training(model, bf16=args.bf16, network=network)
    train, train_least = clock(lambda one: training.step(*(part.to(args.device) for part in one)), batches)  # reads the loss: the device has ended
    evaluate, evaluate_least = clock(lambda one: training.score(one[0].to(args.device)).cpu(), batches)
    line = {
        "vocab": sum(fields),
        "batch": args.batch,
        "train_ms": round(train * 1e3, 3),
        "train_least_ms": round(train_least * 1e3, 3),
        "train_sps": round(args.batch / train),
        "eval_ms": round(evaluate * 1e3, 3),
        "eval_least_ms": round(evaluate_least * 1e3, 3),
        "eval_sps": round(args.batch / evaluate),
        "rss_gb": peak_gb(),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
