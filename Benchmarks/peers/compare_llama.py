#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sampling by Attune beside llama.cpp: the same GGUF files, as many sequences, the same threads.

    python3 Benchmarks/peers/compare_llama.py [--sampling-options "--sampler int8"]

llama.cpp is PyPI's xllamacpp: its server in the same process, asked n things at once, with its own
defaults (its chain of samplers draws from the 40 likeliest tokens, which is less work than ours
from all; what its build may use of the processor is printed). The files are SmolLM2-135M in 4-bit
codes (Q4_1), as it was pulled, and the same in 8-bit ones (Q8_0), written from it here. Prompts of
16 tokens, 64 tokens sampled of each, prompts not counted. The two run in turn.

Under each file is what reading all of it once a token allows one sequence to have, at the rate at
which the threads read a gigabyte of memory.
"""
import json
import os
import statistics
import sys

import side_by_side

AIMS = {1: "1.5", 8: "3", 32: "4"}

arguments = side_by_side.parser(__doc__)
arguments.add_argument("--sequences", default="1,8,32", help="default: %(default)s")
options = arguments.parse_args()
counts = [int(n) for n in options.sequences.split(",")]
# Of keys and values.
cache = "bfloat16" if options.precision == "bf16" or "int8" in options.sampling_options else "float32"

attune = side_by_side.attune()
python = side_by_side.peer_python(options.venv)
peer = [python, os.path.join(side_by_side.HERE, "llama_peer.py")]
folder = side_by_side.scratch_folder()
log = os.path.join(folder, "llama.log")
q4 = side_by_side.pulled_model(options.gguf)
q8 = os.path.join(folder, "model.Q8_0.gguf")
if not os.path.exists(q8):
    side_by_side.run(peer + ["--gguf", q4, "--write-q8", q8], log=log)
files = {os.path.basename(q4).split(".")[-2]: q4, "Q8_0": q8}


def ours(path):
    rates = {}
    # bench samples one sequence whatever else it does, and trains: as little as it can.
    for count in [n for n in counts if n > 1] or [2]:
        result = side_by_side.last_object([
            attune, "bench", "--model", path, "--json", "--train-shape", "1x2", "--steps", "1",
            "--sample-batch", str(count)] + side_by_side.attune_options(options))
        rates[count] = result["sample_tokens_per_second"]
        rates.setdefault(1, result["sample_tokens_per_second_single"])
    return {"sampling": rates, "blas": result["blas"]}


def theirs(path):
    result = side_by_side.last_object(
        peer + ["--gguf", path, "--threads", str(options.threads), "--sequences",
                options.sequences], log=log)
    result["sampling"] = {int(n): rate for n, rate in result["sampling"].items()}
    return result


def bandwidth():
    """Bytes a second that the threads read."""
    return float(side_by_side.run([python, "-c", f"""
import time, torch
torch.set_num_threads({options.threads})
x = torch.ones(1 << 28)
best = 1e9
for _ in range(5):
    start = time.perf_counter()
    x.sum()
    best = min(best, time.perf_counter() - start)
print(4 * x.numel() / best)
"""])[0])


rounds, reading = [], 0
for number in range(options.rounds):
    print(f"round {number + 1}", file=sys.stderr, flush=True)
    reading = max(reading, bandwidth())
    rounds.append({name: {"attune": ours(path), "llama.cpp": theirs(path)}
                   for name, path in files.items()})
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"processor": side_by_side.processor(), "precision": options.precision,
                       "bytes_per_second": reading, "rounds": rounds}, file, indent=1)

first = next(iter(rounds[0].values()))
side_by_side.conditions(
    options, f"xllamacpp {first['llama.cpp']['xllamacpp']}", first["attune"]["blas"])
print(f"llama.cpp: {first['llama.cpp']['options']}")
print(f"Attune: cache (keys and values) {cache}")
print(side_by_side.head())
for name, path in files.items():
    for count in counts:
        a = [pair[name]["attune"]["sampling"][count] for pair in rounds]
        b = [pair[name]["llama.cpp"]["sampling"][count] for pair in rounds]
        print(side_by_side.row(
            f"{name}: sampling {count}, tokens/s", a, b, [x / y for x, y in zip(a, b)],
            aim=AIMS.get(count, "")))
    size = os.path.getsize(path)
    single = statistics.median(pair[name]["attune"]["sampling"][1] for pair in rounds)
    print(f"  {size / 2**20:.0f} MB read at {reading / 1e9:.1f} GB/s: {reading / size:.0f} tokens/s "
          f"for one sequence; Attune has {single * size / reading:.2f} of it")
