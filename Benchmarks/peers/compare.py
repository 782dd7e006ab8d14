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

import side_by_side

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--rounds", type=int, default=3)
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--venv", default=side_by_side.VENV)
arguments.add_argument("--gguf", help="the model; default: the one that `attune pull smollm2` fetched")
options = arguments.parse_args()

attune = side_by_side.attune()
python = side_by_side.peer_python(options.venv)
gguf = side_by_side.pulled_model(options.gguf)


def run(command):
    return json.loads(side_by_side.run(command)[0].strip().splitlines()[-1])


ours, theirs = [], []
for _ in range(options.rounds):
    ours.append(run([attune, "bench", "--model", gguf, "--train-shape", "8x128", "--sample-batch",
                     "32", "--threads", str(options.threads), "--json"]))
    peer = [python, os.path.join(side_by_side.HERE, "transformers_peer.py"), "--gguf", gguf,
            "--threads", str(options.threads)]
    theirs.append({**run(peer + ["--only", "sample"]), **run(peer + ["--only", "train"])})

print(side_by_side.head())
for key, aim in [("train_tokens_per_second", "1.5"), ("sample_tokens_per_second_single", "3"),
                 ("sample_tokens_per_second", "3"), ("peak_memory_mb", "0.65")]:
    a = [row[key] for row in ours]
    b = [row[key] for row in theirs]
    print(side_by_side.row(key, a, b, [x / y for x, y in zip(a, b)], aim=aim))
print(f"{'gemm_share':34}{statistics.median(r['gemm_share'] for r in ours):10.2f}")
print(f"threads {options.threads}; {ours[0]['blas']}; torch {theirs[0]['torch']}")
