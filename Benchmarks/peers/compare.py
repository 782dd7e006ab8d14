#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attune beside PyTorch/transformers on this machine: one model, the same shapes and threads.

    python3 Benchmarks/peers/compare.py [--precision bf16] [--sampling-options "--sampler int8"]

The peer trains and samples in three columns: float32; autocast, which keeps float32 weights and
multiplies in bfloat16; and bf16, a model that is held in bfloat16 whole, moments too. Attune runs
at one --precision against all of them, from the GGUF file as it was pulled; the peer loads the same
weights from a folder of float32 numbers. It comes in a virtual environment under .build/; the
sides run in turn, so that a machine whose speed drifts treats them alike. Training and sampling
are processes of their own, so that peak memory is training's alone.

`gemm_share` is what the step's products take of it by themselves, by Attune's own means; the line
below it is what they would take at oneDNN's rate in PyTorch, at passes of 512 tokens as ours are
(library_rates.py).
"""
import json
import os
import statistics
import sys

import side_by_side

# What a training step is asked to be, in times the peer's speed, at each of Attune's precisions.
TRAINING_AIMS = {"bf16": {"float32": "2.8", "autocast": "1.8", "bf16": "1.4"},
                 "float32": {"float32": "1.5"}}
SAMPLING_AIMS = {(32, "bf16"): "4.5", (32, "float32"): "3", (1, "float32"): "3"}
SEQUENCES = [1, 8, 32]

arguments = side_by_side.parser(__doc__)
arguments.add_argument("--columns", default="float32,autocast,bf16", help="default: %(default)s")
arguments.add_argument("--steps", type=int, default=3, help="steps that are timed, after the first")
options = arguments.parse_args()
columns = options.columns.split(",")

attune = side_by_side.attune()
python = side_by_side.peer_python(options.venv)
gguf = side_by_side.pulled_model(options.gguf)
folder = side_by_side.scratch_folder()
model, _ = side_by_side.dense_models(options)
bench = [attune, "bench", "--model", gguf, "--json"] + side_by_side.attune_options(options)


def ours():
    """Training, and sampling of one, eight and 32 sequences."""
    result = side_by_side.last_object(bench + [
        "--train-shape", "8x128", "--sample-batch", "32", "--steps", str(options.steps)])
    # bench always trains: as little as it can.
    eight = side_by_side.last_object(bench + [
        "--train-shape", "1x2", "--sample-batch", "8", "--steps", "1"])
    result["sampling"] = {1: result["sample_tokens_per_second_single"],
                          8: eight["sample_tokens_per_second"],
                          32: result["sample_tokens_per_second"]}
    return result


def theirs(column):
    peer = [python, os.path.join(side_by_side.HERE, "transformers_peer.py"), "--model", model,
            "--threads", str(options.threads), "--precision", column]
    sampled = side_by_side.last_object(
        peer + ["sample", "--sequences", ",".join(map(str, SEQUENCES))])
    return {**side_by_side.last_object(peer + ["train", "--steps", str(options.steps)]),
            "sampling": {int(n): rate for n, rate in sampled["sampling"].items()}}


def library():
    """The rate of PyTorch's products of a step, in GFLOP/s, in the numbers that Attune computes in."""
    record = os.path.join(folder, "rates.json")
    side_by_side.run([python, os.path.join(side_by_side.HERE, "library_rates.py"), "--rounds", "3",
                      "--rows", "512", "--threads", str(options.threads), "--venv", options.venv,
                      "--json", record])
    kind = "bfloat16" if options.precision == "bf16" else "float32"
    with open(record) as file:
        return next(step["gflops"] for step in json.load(file)["steps"] if step["kind"] == kind)


rounds = []
for number in range(options.rounds):
    print(f"round {number + 1}", file=sys.stderr, flush=True)
    rounds.append({"attune": ours(), "library": library(),
                   **{column: theirs(column) for column in columns}})
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"processor": side_by_side.processor(), "precision": options.precision,
                       "rounds": rounds}, file, indent=1)

first = rounds[0][columns[0]]
side_by_side.conditions(
    options, f"torch {first['torch']}", f"transformers {first['transformers']}",
    rounds[0]["attune"]["blas"])
for column in columns:
    print(f"transformers {column}: {rounds[0][column]['options']}")
print(side_by_side.head())


def show(name, column, value, digits=1, aim=""):
    a = [value(pair["attune"]) for pair in rounds]
    b = [value(pair[column]) for pair in rounds]
    print(side_by_side.row(f"{name}, {column}", a, b, [x / y for x, y in zip(a, b)], digits, aim))


for column in columns:
    show("training 8 × 128, tokens/s", column, lambda row: row["train_tokens_per_second"],
         aim=TRAINING_AIMS.get(options.precision, {}).get(column, ""))
for count in SEQUENCES:
    for column in columns:
        show(f"sampling {count}, tokens/s", column, lambda row: row["sampling"][count],
             aim=SAMPLING_AIMS.get((count, column), ""))
for column in columns:
    show("peak memory of training, MB", column, lambda row: row["peak_memory_mb"], 0)
print(f"{'gemm_share':46}{statistics.median(r['attune']['gemm_share'] for r in rounds):10.2f}")
# The products' work over the library's rate, over the step's time.
shares = [r["attune"]["gemm_share"] * r["attune"]["gemm_gflops"] / r["library"] for r in rounds]
print(f"{'  at the rate of the library':46}{statistics.median(shares):10.2f}"
      f"{'':18}{'≥ 0.70' if options.precision == 'bf16' else '≥ 0.80':>9}   "
      + " ".join(f"{share:.2f}" for share in shares)
      + f" (at {statistics.median(r['library'] for r in rounds):.0f} GFLOP/s)")
