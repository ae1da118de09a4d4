"""What a step of two ranks takes over a network, against the model of `ranks_cost`. As root, on Linux, with `ip` and Open MPI:

    cargo build --release --workspace --features mpi --bins --examples
    python3 benches/over_network.py --stem target/release/stem --cost target/release/ranks_cost --exchange target/release/examples/exchange_time

Each rank has a network namespace, a host of its own as far as MPI sees. A program between them hands packets on, at a rate and after a delay: a wire with 64 KB packets. (`tc netem`
does the same where the kernel has it.) The model is told what is measured apart from the steps that it is to predict:

| term | measured by |
|---|---|
| core-seconds a row | one process of one thread on batches of half as many rows: the part of a rank |
| seconds a distinct row | what two ranks that share memory take more than that |
| latency, bandwidth | exchanges between two ranks over the wire, of one byte and of as many as rows and gradients of a step are (`exchange_time`): no training |

Ranks and wire come before what else the machine does (`SCHED_FIFO`). Rounds take turns over all wires and of each the fastest counts.
"""

import argparse
import ctypes
import fcntl
import json
import os
import re
import selectors
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from over_ranks import SIZES

HOSTS = {"stem-a": "10.77.0.1", "stem-b": "10.77.0.2"}
DEVICE = "stem0"
PACKET = 64_000
BATCH, VALUES = 4096, 100_000
WIDTH = 3 * 16  # of two tasks and what they share, with the `dim` of the sizes


def run(*words):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


def open_device(namespace):
    """A network device in a namespace whose packets this process reads and writes."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    assert libc.setns(there, 0x40000000) == 0, os.strerror(ctypes.get_errno())
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", DEVICE.encode(), 0x0001 | 0x1000))  # TUNSETIFF, a TUN without a header
    assert libc.setns(home, 0x40000000) == 0
    os.close(home), os.close(there)
    return device


def wire(gbit, delay):
    """Hands packets on for ever: each takes its bytes at the rate, one after the other, and arrives `delay` seconds later."""
    before_others(2)  # a wire does not wait for a core
    devices = [open_device(name) for name in HOSTS]
    for name, address in HOSTS.items():
        run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", DEVICE)
        run("ip", "-n", name, "link", "set", DEVICE, "mtu", PACKET, "up")
    print("up", flush=True)
    poll = selectors.SelectSelector()  # others round what they wait up to milliseconds
    for place, device in enumerate(devices):
        poll.register(device, selectors.EVENT_READ, place)
    under_way, free = [deque(), deque()], [0.0, 0.0]  # by whose they are: (due, packet); when the wire is free
    while True:
        due = min((packets[0][0] for packets in under_way if packets), default=None)
        left = None if due is None else max(0.0, due - time.perf_counter())
        # Sleeps are late by some 60 microseconds; the last stretch is waited for in place.
        for key, _ in poll.select(0 if left is not None and left < 1e-4 else left and left - 1e-4):
            try:
                packet = os.read(key.fd, 65536)
            except BlockingIOError:
                continue
            place = key.data
            free[place] = max(free[place], time.perf_counter()) + 8 * len(packet) / (gbit * 1e9)
            under_way[place].append((free[place] + delay, packet))
        now = time.perf_counter()
        for place, packets in enumerate(under_way):
            while packets and packets[0][0] <= now:
                try:
                    os.write(devices[1 - place], packets[0][1])
                except BlockingIOError:
                    break
                packets.popleft()


def before_others(place=1):
    """Before what else the machine does; the wire before the ranks."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(place))


def over_wire(folder):
    """How `mpirun` starts two ranks with the wire between them."""
    agent = folder / "agent"
    agent.write_text('#!/bin/sh\ncase $1 in *.1) name=stem-a;; *) name=stem-b;; esac\nshift\nexec ip netns exec $name sh -c "$*"\n')
    agent.chmod(0o755)
    over = ["-H", ",".join(f"{address}:1" for address in HOSTS.values())]
    for key, value in {
        "plm_rsh_agent": agent,
        "btl": "tcp,self",
        "btl_tcp_if_include": "10.77.0.0/24",
        "oob_tcp_if_include": "10.77.0.0/24",
    }.items():
        over += ["--mca", key, value]
    over += ["-x", "RAYON_NUM_THREADS", "-x", "NO_COLOR", "-x", "POLARS_MAX_THREADS"]
    return ["ip", "netns", "exec", "stem-a", *MPIRUN, *over]


MPIRUN = ["mpirun", "--allow-run-as-root", "--bind-to", "none", "--oversubscribe", "--mca", "mpi_yield_when_idle", 1, "-n", 2]


def link(exchange, folder, length):
    """Seconds until a message is there, and bytes a second that each of two ranks sends while it is sent as many, as exchanges of `length` bytes find them."""
    job = subprocess.run([str(word) for word in [*over_wire(folder), exchange, 1, length]], capture_output=True, text=True, preexec_fn=before_others)
    assert job.returncode == 0, job.stderr
    (_, one), (_, many) = (map(float, line.split()) for line in job.stdout.splitlines())
    asked = 3 if length > UNASKED else 1  # a long message is announced, asked for, and sent
    return one, length / (many - asked * one)


UNASKED = 65536  # bytes that Open MPI sends over TCP without asking


def prepare(folder, rows):
    """Two fields whose values are all as frequent, so that what is drawn is known."""
    field = [f'{{ column = "{name}", kind = "category" }}' for name in ("user", "item")]
    (folder / "recipe.toml").write_text(f"""
name = "network"
source = [{{ name = "log", file = "log.csv" }}]
field = [{", ".join(field)}]
label = [{{ column = "a" }}, {{ column = "b" }}]
split = {{ kind = "random", valid = 0.02, test = 0.02, seed = 3 }}
[simulator]
users = {VALUES}
items = {VALUES}
rows = {rows}
activity = 0.0
exposure = 0.0
""")
    for batch in (BATCH, BATCH // 2):
        (folder / f"experiment-{batch}.toml").write_text(
            f"[train]\nbatch_size = {batch}\nepochs = 1\nembedding_l2 = 0.0\n"
            f"[stem]\n{SIZES['small']}\n"
        )


def train(stem, folder, ranks):
    """Seconds a step, and how many parameters the network has: of one process on a rank's part of the batch, of two ranks that share memory, of two with the wire between them."""
    batch = BATCH // 2 if ranks == "alone" else BATCH
    own = [stem, "train", "--recipe", folder / "recipe.toml", "--data", folder, "--experiment", folder / f"experiment-{batch}.toml"]
    own += ["--out", folder / "out", "--force"]
    environment = dict(os.environ, RAYON_NUM_THREADS="1", POLARS_MAX_THREADS="1", NO_COLOR="1")
    words = {"alone": own, "shared": MPIRUN + own, "wire": over_wire(folder) + own}[ranks]
    job = subprocess.run([str(word) for word in words], env=environment, capture_output=True, text=True, preexec_fn=before_others)
    assert job.returncode == 0, job.stderr
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    network = re.search(r"network (\d+) parameters", job.stderr)
    return batch / metrics["rows_per_second"], network and int(network[1])


DRAWN = 2 * VALUES * (1 - (1 - 1 / VALUES) ** (BATCH / 2))  # distinct rows of a rank


def predicted(cost, network, alone, shared, latency, bandwidth):
    """Seconds a step by the model."""
    options = {
        "rows": 2 * VALUES,
        "fields": 2,
        "exponent": 0,
        "width": WIDTH,
        "network": network,
        "batch": BATCH,
        "batch-a-machine": BATCH / 2,
        "core-us": 1e6 * alone / (BATCH / 2),
        "distinct-ns": 1e9 * max(0.0, shared - alone) / DRAWN,
        "cores": 1,
        "gbit": 8e-9 * bandwidth,
        "latency-us": 1e6 * latency,
        "ranks": 2,
    }
    table = run(cost, *(word for key, value in options.items() for word in (f"--{key}", value)))
    return 1e-3 * float(table.splitlines()[-1].split("|")[4])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--stem", required=True)
    parser.add_argument("--cost", required=True)
    parser.add_argument("--exchange", required=True)
    parser.add_argument("--gbit", default="1,10")
    parser.add_argument("--delay-ms", default="0.1,1")
    parser.add_argument("--rows", type=int, default=200_000, help="of the log: one epoch of them is trained")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    stem, cost, exchange = (Path(program).resolve() for program in (arguments.stem, arguments.cost, arguments.exchange))
    numbers = lambda text: [float(number) for number in text.split(",")]
    wires = [(gbit, delay) for gbit in numbers(arguments.gbit) for delay in numbers(arguments.delay_ms)]
    for name in HOSTS:
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "netns", "exec", name, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/tcp_slow_start_after_idle")
    try:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            prepare(folder, arguments.rows)
            alone, network = train(stem, folder, "alone")
            shared = float("inf")
            steps, links = dict.fromkeys(wires, float("inf")), {}
            for _ in range(arguments.rounds):
                alone = min(alone, train(stem, folder, "alone")[0])
                shared = min(shared, train(stem, folder, "shared")[0])
                for gbit, delay in wires:
                    between = subprocess.Popen([sys.executable, __file__, "wire", str(gbit), str(delay / 1e3)], stdout=subprocess.PIPE, text=True)
                    between.stdout.readline()
                    try:
                        found = link(exchange, folder, int(DRAWN / 2) * 4 * WIDTH)
                        seen = links.setdefault((gbit, delay), found)
                        links[gbit, delay] = [min(seen[0], found[0]), max(seen[1], found[1])]
                        steps[gbit, delay] = min(steps[gbit, delay], train(stem, folder, "wire")[0])
                        print(f"{gbit:g} Gbit/s, {delay:g} ms: {1e3 * steps[gbit, delay]:.2f} ms a step so far", file=sys.stderr, flush=True)
                    finally:
                        between.kill()
                        between.wait()
            print(f"one process of one thread: {1e3 * alone:.2f} ms a step of {BATCH // 2} rows, network {network} parameters; two that share memory: {1e3 * shared:.2f} ms a step of {BATCH}, {1e9 * (shared - alone) / DRAWN:.0f} ns a distinct row\n")
            print("| wire | as an exchange finds it | ms a step, measured | by the model | model over measured |\n|---|---|---|---|---|")
            for (gbit, delay), (latency, bandwidth) in links.items():
                expected, step = predicted(cost, network, alone, shared, latency, bandwidth), steps[gbit, delay]
                found = f"{8e-9 * bandwidth:.2f} Gbit/s, {1e3 * latency:.2f} ms"
                print(f"| {gbit:g} Gbit/s, {delay:g} ms | {found} | {1e3 * step:.2f} | {1e3 * expected:.2f} | {expected / step:.2f} |")
    finally:
        for name in HOSTS:
            run("ip", "netns", "del", name)


if len(sys.argv) > 1 and sys.argv[1] == "wire":
    wire(float(sys.argv[2]), float(sys.argv[3]))
else:
    main()
