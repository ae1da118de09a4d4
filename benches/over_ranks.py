"""What a training over ranks of one machine takes against one process: speed, memory, bytes.

    cargo build --release --workspace --features mpi
    python3 benches/over_ranks.py speed --stem target/release/stem --rounds 5            # 2 ranks of 1 thread against 1 process of 2
    python3 benches/over_ranks.py speed --stem target/release/stem --sizes small --log 30000 --minutes 5    # on a machine with other work
    python3 benches/over_ranks.py memory --stem target/release/stem --rows 20000000      # of each of 4 ranks
    python3 benches/over_ranks.py prepare --stem target/release/stem --rows 8000000      # of each of 4 ranks, a row of the log and a key

Trainings take turns, and of each the fastest counts: the machine may have other work. No round is begun after `--minutes`: the paper's sizes take 7 s a training on a quiet
machine, and half an hour where others have its cores. What processors worked for the whole of a training, its
start and its end too, hangs less on what else they do, and is told beside. Ranks that wait give their core away (`mpi_yield_when_idle`), for Open MPI lets them turn in place otherwise. Steps are timed, evaluations are not. Memory is what a process holds of its own
(`RssAnon`), at most, from its start to its end; files that it maps, which the system takes back where it needs the memory, are told beside (`VmHWM`, with all). What the log says that a rank has sent holds its rows of the bundle too; a step's bytes alone
are counted by a test of `stem-train`, `what_a_step_sends_is_the_rows_of_others_twice_and_the_network_twice`.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import tempfile
import time
from pathlib import Path

SIZES = {
    "small": "dim = 16\nshared_experts = 1\nexperts = [64, 32]\ngate = [32]\ntower = [32]",
    "paper": "dim = 16\nshared_experts = 8\nexperts = [512, 512, 512]\ngate = [128, 64]\ntower = [128, 64]",
}
LOG = {"small": 400_000, "paper": 50_000}


def prepare(folder, rows, log, sizes, prior):
    """A table of about so many rows, of which the log has so many, and how it is trained."""
    field = [
        f'{{ column = "user", kind = "category", hash = {rows // 2} }}',
        f'{{ column = "item", kind = "category", hash = {rows // 2} }}',
        '{ column = "user_group", kind = "category" }',
        '{ column = "item_category", kind = "category" }',
    ]
    (folder / "recipe.toml").write_text(f"""
name = "ranks"
source = [{{ name = "log", file = "log.csv" }}]
field = [{", ".join(field)}]
label = [{{ column = "a" }}, {{ column = "b" }}]
split = {{ kind = "random", valid = 0.02, test = 0.02, seed = 3 }}
[simulator]
users = {log // 4}
items = {log // 8}
rows = {log}
""")
    (folder / "experiment.toml").write_text(
        f"[train]\nbatch_size = 4096\nepochs = 1\n{prior}\n[stem]\n{sizes}\n"
    )


def command(stem, folder, ranks):
    own = [stem, "train", "--recipe", folder / "recipe.toml", "--data", folder, "--experiment", folder / "experiment.toml"]
    own += ["--out", folder / f"out-{ranks}", "--force"]
    return [str(part) for part in (mpirun(ranks) + own if ranks > 1 else own)]


def mpirun(ranks):
    return ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", "-n", str(ranks)]


def finish(words, threads, watch=None):
    """What a program says to stderr."""
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads), POLARS_MAX_THREADS=str(threads), NO_COLOR="1")
    job = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    if watch:
        watch(job)
    _, said = job.communicate()
    assert job.returncode == 0, said
    return said


def train(stem, folder, ranks, threads, watch=None):
    """Rows a second, and megabytes that each rank has sent."""
    said = finish(command(stem, folder, ranks), threads, watch)
    metrics = json.loads((folder / f"out-{ranks}" / "metrics.json").read_text())
    sent = [float(mb) for mb in re.findall(r"sent ([0-9.]+) MB", said)]
    return metrics, sent


class Most:
    """The most memory that each rank of a job has held: of its own, and with the files that it maps."""

    def __init__(self):
        self.own, self.with_files = {}, {}

    def watch(self, job):
        while job.poll() is None:
            try:
                children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
            except OSError:
                break
            for process in [job.pid, *children]:
                try:
                    status = Path(f"/proc/{process}/status").read_text()
                    environment = Path(f"/proc/{process}/environ").read_text()
                except OSError:
                    continue
                held, whole = (re.search(rf"{what}:\s+(\d+)", status) for what in ("RssAnon", "VmHWM"))
                is_rank = re.search(r"OMPI_COMM_WORLD_RANK=(\d+)", environment)
                rank = int(is_rank[1]) if is_rank else None if children else 0
                if rank is not None and held and whole:
                    self.own[rank] = max(self.own.get(rank, 0), int(held[1]) * 1024)
                    self.with_files[rank] = max(self.with_files.get(rank, 0), int(whole[1]) * 1024)
            time.sleep(0.02)


def processor():
    """Seconds that processors have worked for what was started and has ended, user's and system's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def speed(arguments):
    until = time.monotonic() + 60 * arguments.minutes
    for name in arguments.sizes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            prepare(folder, arguments.rows, arguments.log or LOG[name], SIZES[name], "embedding_l2 = 1e-6")
            train(arguments.stem, folder, 1, 2)  # encodes, and reads the program once
            best, least = {1: 0.0, 2: 0.0}, {1: float("inf"), 2: float("inf")}
            for round in range(arguments.rounds):
                if round > 0 and time.monotonic() > until:
                    print(f"{name}: {round} rounds in {arguments.minutes} minutes, no more are begun", flush=True)
                    break
                for ranks in best:
                    before = processor()
                    metrics, sent = train(arguments.stem, folder, ranks, 2 // ranks)
                    least[ranks] = min(least[ranks], processor() - before)
                    best[ranks] = max(best[ranks], metrics["rows_per_second"])
                    print(f"{name}: round {round + 1}, {ranks} ranks: {metrics['rows_per_second']:.0f} rows/s", flush=True)
            print(f"{name}: one process {best[1]:.0f} rows/s, two ranks {best[2]:.0f}, {best[2] / best[1]:.2f}; processor {least[1]:.1f} s and {least[2]:.1f} s, {least[1] / least[2]:.2f}; sent MB {sent}", flush=True)


def memory(arguments):
    ranks, dim = 4, arguments.dim
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        folder = Path(folder)
        prepare(folder, arguments.rows, 100_000, f"dim = {dim}\nshared_experts = 1\nexperts = [64, 32]\ngate = [32]\ntower = [32]", "embedding_l2 = 1e-6" if arguments.fixed_prior else "")
        most = Most()
        train(arguments.stem, folder, ranks, 1, most.watch)
        width = 3 * dim
        part = arguments.rows * width * 3 * 4 / ranks
        for rank, held in sorted(most.own.items()):
            told = f"{held / part:.3f} of (table + state) / {ranks} = {part / 1e9:.3f} GB"
            print(f"rank {rank}: {held / 1e9:.3f} GB, {told}; with the files that it maps {most.with_files[rank] / 1e9:.3f} GB", flush=True)


def log_of(folder, rows, key):
    """A log in eight files whose column `key` has a thousand keys, or as many as rows."""
    for place in range(8):
        of_file = range(place * rows // 8, (place + 1) * rows // 8)
        lines = (f"{key(row)},{row % 97},{row % 3 % 2},{row}\n" for row in of_file)
        with open(folder / f"part-{place}.csv", "w") as file:
            file.write("key,item,a,time\n")
            file.writelines(lines)


def mixed(row):
    """Another number of 62 bits for each row."""
    return (row + 1) * 0x1E3779B97F4A7C15 & (1 << 62) - 1


def preparation(arguments):
    """Bytes of its own that each rank holds more where the log has a row more: with few keys, and where each row has another one."""
    keys = {"few keys": lambda row: row % 1000, "another integer in each row": mixed, "another text of 16 bytes in each row": lambda row: f"k{mixed(row) % 10**15:015d}"}
    for name, key in keys.items():
        for split in ['{ kind = "random", valid = 0.1, test = 0.1, seed = 3 }', '{ kind = "time", column = "time", valid = 0.1, test = 0.1 }'][: 2 if name == "few keys" else 1]:
            held = {}
            for rows in (arguments.rows // 4, arguments.rows):
                with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                    folder = Path(folder)
                    log_of(folder, rows, key)
                    (folder / "recipe.toml").write_text(f"""
name = "ranks"
source = [{{ name = "log", files = ["part-*.csv"] }}]
field = [{{ column = "key", kind = "category" }}, {{ column = "item", kind = "category" }}]
label = [{{ column = "a" }}]
split = {split}
""")
                    for ranks in (1, 4):
                        words = [arguments.stem, "prepare", "--recipe", folder / "recipe.toml", "--data", folder, "--columns", folder / f"columns-{ranks}"]
                        most = Most()
                        finish([str(word) for word in (mpirun(ranks) + words if ranks > 1 else words)], 1, most.watch)
                        for rank, own in most.own.items():
                            held[ranks, rank, rows] = own
            few, many = sorted({rows for _, _, rows in held})
            told = lambda ranks, rank: f"{held[ranks, rank, many] / 1e6:.0f} MB, {(held[ranks, rank, many] - held[ranks, rank, few]) / (many - few):.1f} bytes a row"
            print(f"{name}, split {split[10:16]}: one process {told(1, 0)}; " + "; ".join(f"rank {rank} {told(4, rank)}" for rank in range(4)), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["speed", "memory", "prepare"])
    parser.add_argument("--stem", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="small,paper")
    parser.add_argument("--log", type=int, help="rows of the log in place of those for a quiet machine")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--fixed-prior", action="store_true", help="memory: without the learned prior, which counts how often each row occurs")
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    {"speed": speed, "memory": memory, "prepare": preparation}[arguments.what](arguments)


if __name__ == "__main__":
    main()
