#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attune beside PyTorch/transformers on this machine: one model, the same shapes and threads.

    python3 Benchmarks/peers/compare.py [--rounds 3] [--threads 2]

Installs the peer into a virtual environment under .build/, then runs both in turn, so that a
machine whose speed drifts treats both alike, and prints the medians and their ratio. Training and
sampling run in processes of their own, so that peak memory is training's alone.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--rounds", type=int, default=3)
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--venv", default=os.path.join(ROOT, ".build", "peer-venv"))
arguments.add_argument("--gguf", help="the model; default: the one that `attune pull smollm2` fetched")
options = arguments.parse_args()

attune = os.path.join(ROOT, ".build", "release", "attune")
if not os.path.exists(attune):
    sys.exit("build first: make build")
python = os.path.join(options.venv, "bin", "python")
if not os.path.exists(python):
    subprocess.check_call([sys.executable, "-m", "venv", options.venv])
    subprocess.check_call(
        [python, "-m", "pip", "install", "-q", "torch==2.13.0+cpu", "transformers", "gguf",
         "accelerate"])
cache = os.environ.get("ATTUNE_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "attune")
gguf = options.gguf or os.path.join(cache, "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
if not os.path.exists(gguf):
    sys.exit(f"{gguf} is not there: attune pull smollm2")


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.decode().strip().splitlines()[-1])


ours, theirs = [], []
for _ in range(options.rounds):
    ours.append(run([attune, "bench", "--model", gguf, "--train-shape", "8x128", "--sample-batch",
                     "32", "--threads", str(options.threads), "--json"]))
    peer = [python, os.path.join(ROOT, "Benchmarks", "peers", "transformers_peer.py"), "--gguf",
            gguf, "--threads", str(options.threads)]
    theirs.append({**run(peer + ["--only", "sample"]), **run(peer + ["--only", "train"])})

print(f"{'':34}{'attune':>10}{'peer':>10}{'ratio':>8}   (per round)")
for key in ["train_tokens_per_second", "sample_tokens_per_second_single",
            "sample_tokens_per_second", "peak_memory_mb"]:
    a = [row[key] for row in ours]
    b = [row[key] for row in theirs]
    ratios = [x / y for x, y in zip(a, b)]
    print(f"{key:34}{statistics.median(a):10.1f}{statistics.median(b):10.1f}"
          f"{statistics.median(ratios):8.2f}   " + " ".join(f"{r:.2f}" for r in ratios))
print(f"{'sgemm_share':34}{statistics.median(r['sgemm_share'] for r in ours):10.2f}")
print(f"threads {options.threads}; {ours[0]['blas']}; torch {theirs[0]['torch']}")
