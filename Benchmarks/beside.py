#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast the engine is beside other work, as a share of its speed on an idle machine.

    python3 Benchmarks/beside.py [--rounds 5] [--model smollm2] [--before OTHER/attune]

In every round `attune bench` runs alone, then with one process a processor that never waits at
`nice -n 10`, then at 19: a training step of 8 x 128 tokens, and sampling of 1, 8 and 32 sequences.
Printed are medians of the shares, each of one round. With --before another build of attune does the
same in turn, and the last column is how fast this one is beside it on the idle machine.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SPIN = "while True: pass"

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--rounds", type=int, default=5)
arguments.add_argument("--model", default="smollm2")
arguments.add_argument("--attune", default=os.path.join(HERE, "../.build/release/attune"))
arguments.add_argument("--before", help="another build of attune to compare with")
arguments.add_argument("--steps", type=int, default=3)
arguments.add_argument("--tokens", type=int, default=48)
options = arguments.parse_args()
KINDS = ["training step", "1 sequence", "8 sequences", "32 sequences"]


def bench(attune, batch, steps):
    done = subprocess.run(
        [attune, "bench", "--model", options.model, "--train-shape", "8x128", "--sample-batch", str(batch),
         "--sample-tokens", str(options.tokens), "--steps", str(steps), "--json"],
        check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def speeds(attune):
    eight, many = bench(attune, 8, 1), bench(attune, 32, options.steps)
    return [many["train_tokens_per_second"], many["sample_tokens_per_second_single"],
            eight["sample_tokens_per_second"], many["sample_tokens_per_second"]]


def measure(attune, nice):
    """Speeds with one spinning process a processor at this niceness; None: with none."""
    others = [] if nice is None else [
        subprocess.Popen(["nice", "-n", str(nice), sys.executable, "-c", SPIN])
        for _ in range(os.cpu_count())]
    try:
        return speeds(attune)
    finally:
        for other in others:
            other.kill()
            other.wait()


builds = [options.attune] + ([options.before] if options.before else [])
rows = {build: {nice: [] for nice in (None, 10, 19)} for build in builds}
for _ in range(options.rounds):
    for nice in (None, 10, 19):
        for build in builds:
            rows[build][nice].append(measure(build, nice))

for build in builds:
    print(build)
    print(f"{'':16}{'idle, tokens/s':>16}{'nice 10':>10}{'nice 19':>10}")
    for i, kind in enumerate(KINDS):
        idle = [row[i] for row in rows[build][None]]
        shares = [statistics.median(row[i] / alone for row, alone in zip(rows[build][nice], idle))
                  for nice in (10, 19)]
        print(f"{kind:16}{statistics.median(idle):16.0f}" + "".join(f"{share:10.2f}" for share in shares))
if options.before:
    print("idle, this build over the other: " + ", ".join(
        f"{kind} {statistics.median(a[i] / b[i] for a, b in zip(*(rows[x][None] for x in builds))):.2f}"
        for i, kind in enumerate(KINDS)))
