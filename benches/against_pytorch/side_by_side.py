"""Runs the Rust `step_time` and PyTorch side by side and prints a Markdown table of ratios.

    python side_by_side.py RUST_STEP_TIME [--only large-10k] [--rounds 3] [--compile] [--out runs.jsonl]

A case is a size, a precision and a number of threads. In each round every program runs once in every malloc setting, one
after another, so that a slow minute of the machine hits all. PyTorch's best is the variant (dense or sparse, malloc setting, how
its threads wait, with --compile compiled or not) of the smallest median, chosen for training and for scoring apart; a ratio is
PyTorch's time over Rust's, round by round: above 1, Rust is faster. Rows appear as their case ends.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIZES = {
    "large-10k": ["--vocab", "10000"],
    "large-1m": ["--vocab", "1000000"],
    "large-10m": ["--vocab", "10000000"],
    "small-1m": ["--vocab", "1000000", "--hidden", "64,32", "--shared", "1", "--gate", "32", "--tower", "32"],
    "small-gates-1m": ["--vocab", "1000000", "--hidden", "64,32", "--shared", "1"],
}
# The same with a history of 50 items, as its mean or attended (DIN), and two layers of crosses (DCN-v2).
SIZES |= {
    "small-pooled-1m": [*SIZES["small-1m"], "--history", "50"],
    "small-din-1m": [*SIZES["small-1m"], "--history", "50", "--attended"],
    "small-din-dcn-1m": [*SIZES["small-1m"], "--history", "50", "--attended", "--cross", "2"],
    "large-din-dcn-1m": [*SIZES["large-1m"], "--history", "50", "--attended", "--cross", "2"],
}
# Gigabytes of the hungriest program (PyTorch dense: table, gradient, two moments), with a margin.
NEEDS_GB = {"large-10k": 2, "large-1m": 4, "large-10m": 13, "large-din-dcn-1m": 5}
LEAST_GB = 3  # of the others
MALLOC = {
    "default": {},
    "kept": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_TOP_PAD_": "67108864"},
}
# How OpenMP's threads wait for one another. As it comes they spin, which costs PyTorch many times over where other programs want the cores.
WAIT = {"default": {}, "passive": {"OMP_WAIT_POLICY": "passive"}}
# How the first map of attention is computed (stem.py says what they are).
FORMS = ("plain", "parts", "folded")
MEASURES = {"train": "train_ms", "score": "eval_ms"}
LEAST = {"train": "train_least_ms", "score": "eval_least_ms"}
HERTZ = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Case:
    size: str
    precision: str
    threads: int

    @property
    def name(self):
        return f"{self.size}-{self.precision}-t{self.threads}"


@dataclasses.dataclass(frozen=True)
class Program:
    name: str
    malloc: str
    wait: str
    command: tuple

    @property
    def rust(self):
        return self.name == "rust"

    @property
    def label(self):
        return f"{self.name}, malloc {self.malloc}" + (", threads wait passively" if self.wait == "passive" else "")

    @property
    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "OMP_", "GOMP_"))}
        return kept | MALLOC[self.malloc] | WAIT[self.wait]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rust", type=Path, help="path of the Rust step_time")
    parser.add_argument("--only", action="append", metavar="NAME", help="cases whose name holds NAME; may be repeated")
    parser.add_argument("--list", action="store_true", help="print the cases' names and stop")
    parser.add_argument("--rounds", type=int, default=3, metavar="R")
    parser.add_argument("--steps", type=int, default=6, help="timed steps a run, for large experts")
    parser.add_argument("--small-steps", type=int, default=30, help="the same, for small experts")
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--malloc", default="default,kept", help="malloc settings, of: " + ", ".join(MALLOC))
    parser.add_argument("--wait", default="default,passive", help="how PyTorch's threads wait (2 threads), of: " + ", ".join(WAIT))
    parser.add_argument("--compile", action="store_true", help="torch.compile too (needs a C++ compiler; its first run takes longer)")
    parser.add_argument("--quiet", type=float, metavar="CORES", help="repeat (twice at most) a run beside which others used more")
    parser.add_argument("--least", action="store_true", help="take a run's least milliseconds, not its median: on a machine that others use")
    parser.add_argument("--python", default=sys.executable, help="the Python that has PyTorch")
    parser.add_argument("--out", type=Path, help="append every run to this file of JSON lines")
    parser.add_argument("--timeout", type=float, default=900, help="seconds that one run may take")
    args = parser.parse_args()
    for option, given, known in (("--malloc", args.malloc, MALLOC), ("--wait", args.wait, WAIT)):
        unknown = [name for name in given.split(",") if name not in known]
        if unknown:
            parser.error(f"{option} knows {', '.join(known)}, not {', '.join(unknown)}")
    if args.least:
        MEASURES.update(LEAST)
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    return args


def fail(message):
    sys.exit(f"error: {message}")


def check_torch(python):
    if python == sys.executable:
        found = importlib.util.find_spec("torch") is not None
    else:
        try:
            found = subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0
        except OSError as error:
            fail(f"{python} cannot be run: {error}")
    if not found:
        fail(f"{python} has no PyTorch: pip install -r {HERE / 'requirements.txt'}, or name another with --python (see README.md)")


def rust_options(path):
    """What the binary's --help lists of the options that came later."""
    try:
        shown = subprocess.run([path, "--help"], capture_output=True, text=True)
    except OSError as error:
        fail(f"{path} cannot be run: {error}")
    if shown.returncode != 0:
        fail(f"{path} --help ends with {shown.returncode}: {shown.stderr.strip()}")
    return {option for option in ("--threads", "--precision") if option in shown.stdout.split()}


def programs(case, args, options):
    steps = args.small_steps if case.size.startswith("small") else args.steps
    common = [*SIZES[case.size], "--batch", str(args.batch), "--steps", str(steps)]
    rust = [str(args.rust), *common]
    if "--threads" in options:
        rust += ["--threads", str(case.threads)]
    if "--precision" in options:
        rust += ["--precision", case.precision]
    torch = [args.python, str(HERE / "step_time.py"), *common, "--threads", str(case.threads)]
    torch += ["--bf16"] if case.precision == "bf16" else []
    variants = {"dense": [], "sparse": ["--sparse"]}
    if "--attended" in common:
        variants = {f"{name}, {form}": [*extra, "--form", form] for name, extra in variants.items() for form in FORMS}
    if args.compile:
        variants |= {f"{name} compiled": [*extra, "--compile"] for name, extra in variants.items()}
    found = []
    for malloc in args.malloc.split(","):
        found.append(Program("rust", malloc, "default", tuple(rust)))
        for wait in args.wait.split(",") if case.threads > 1 else ["default"]:
            found += [Program(name, malloc, wait, (*torch, *extra)) for name, extra in variants.items()]
    return found


def busy_seconds():
    """CPU time that anything on this machine has used (the host's other guests too), or None where /proc does not say."""
    try:
        fields = [int(part) for part in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / HERTZ


def run(program, threads, timeout):
    """One run's JSON line, and the cores that others kept busy meanwhile."""
    env = program.environment | {"RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    before, own, begun = busy_seconds(), os.times(), time.monotonic()
    try:
        done = subprocess.run(program.command, capture_output=True, text=True, env=env, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"more than {timeout:.0f} s"}
    seconds, now = time.monotonic() - begun, os.times()
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"error": f"exit {done.returncode}: {reason}"}
    try:
        line = json.loads(done.stdout.strip().splitlines()[-1])
        assert all(isinstance(line[key], (int, float)) for key in MEASURES.values())
    except (ValueError, IndexError, KeyError, AssertionError):
        return {"error": f"no line with {', '.join(MEASURES.values())}: {done.stdout.strip()[-200:]!r}"}
    if before is not None:
        ours = sum(now[:4]) - sum(own[:4])  # this process and its children, user and system
        line["others"] = round(max(0.0, (busy_seconds() - before - ours) / seconds), 2)
    return line


def free_gb():
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024 / 1e9
    except (OSError, StopIteration):
        return None


def measure(case, args, options):
    """Every round's line of every program: {program: [line, ...]}; a program that fails once is left out of the case."""
    runs = {program: [] for program in programs(case, args, options)}
    for round_ in range(args.rounds):
        for program, lines in runs.items():
            if lines and "error" in lines[-1]:
                continue
            for attempt in range(3):
                line = run(program, case.threads, args.timeout)
                if args.quiet is None or line.get("others", 0) <= args.quiet:
                    break
            lines.append(line)
            said = line.get("error") or "train {train_ms:.1f} ms, score {eval_ms:.1f} ms, {rss_gb} GB".format(**{"rss_gb": "?"} | line)
            others = f", others {line['others']:.2f} cores" if "others" in line else ""
            print(f"{case.name}, round {round_ + 1}, {program.label}: {said}{others}", file=sys.stderr, flush=True)
            if args.out:
                record = {"case": case.name, "round": round_, "program": program.name, "malloc": program.malloc, "wait": program.wait, **line}
                with args.out.open("a") as file:
                    print(json.dumps(record), file=file)
    return {program: lines for program, lines in runs.items() if "error" not in lines[-1]}


def spread(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def rows_of(case, runs):
    """Lines of the table: training and scoring, Rust as it comes and, where that is another, Rust in its best malloc setting."""

    def median(program, key):
        return statistics.median(line[key] for line in runs[program])

    rust = [program for program in runs if program.rust]
    torch = [program for program in runs if not program.rust]
    if not rust or not torch:
        yield [case.name, "", "no run of " + ("Rust" if not rust else "PyTorch") + " succeeded", "", "", ""]
        return
    for what, key in MEASURES.items():
        best = min(torch, key=lambda program: median(program, key))
        theirs = [line[key] for line in runs[best]]
        shown = [min(rust, key=lambda program: median(program, key))]
        if rust[0] not in shown:
            shown.insert(0, rust[0])  # the first malloc setting: as it comes
        for program in shown:
            ours = [line[key] for line in runs[program]]
            ratios = [b / a for a, b in zip(ours, theirs)]
            yield [case.name, what, f"{spread(ours, 1)}, {program.malloc}", f"{spread(theirs, 1)}, {best.label}", f"**{spread(ratios)}**", busy(runs)]


def busy(runs):
    others = [line["others"] for lines in runs.values() for line in lines if "others" in line]
    return f"{statistics.median(others):.2f} (..{max(others):.2f})" if others else "?"


def main():
    args = arguments()
    cases = [Case(size, precision, threads) for size in SIZES for precision in ("f32", "bf16") for threads in (1, 2)]
    if args.only:
        for wanted in args.only:
            if not any(wanted in case.name for case in cases):
                fail(f"no case's name holds {wanted!r}; there are: {', '.join(case.name for case in cases)}")
        cases = [case for case in cases if any(wanted in case.name for wanted in args.only)]
    if args.list:
        print("\n".join(case.name for case in cases))
        return
    check_torch(args.python)
    options = rust_options(args.rust)
    for missing in {"--threads", "--precision"} - options:
        print(f"note: {args.rust} knows no {missing}" + (": its bf16 rows are its f32" if missing == "--precision" else ""), file=sys.stderr)
    print(f"{args.rounds} rounds, batch {args.batch}; medians (min..max over rounds); ratio = PyTorch's best / Rust, above 1 Rust is faster.\n")
    print("| case | | Rust ms, malloc | PyTorch's best ms, variant | ratio | cores busy with other programs |")
    print("|---|---|---|---|---|---|", flush=True)
    for case in cases:
        free = free_gb()
        if free is not None and free < NEEDS_GB.get(case.size, LEAST_GB):
            rows = [[case.name, "", f"left out: needs {NEEDS_GB.get(case.size, LEAST_GB)} GB, {free:.1f} are free", "", "", ""]]
        else:
            rows = rows_of(case, measure(case, args, options))
        for name, *rest in rows:
            if case.precision == "bf16" and "--precision" not in options:
                name += " (Rust f32)"
            print("| " + " | ".join([name, *rest]) + " |", flush=True)


if __name__ == "__main__":
    main()
