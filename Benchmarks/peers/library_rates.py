#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rates of oneDNN's matrix products at the model's shapes, as PyTorch calls it.

    python3 Benchmarks/peers/library_rates.py [--rounds 5] [--threads 2] [--rows 512,1024]

A linear layer's three products, y = x·wᵀ, dx = dy·w and dw = dyᵀ·x, in float32 and in bfloat16 by
torch.mm, for every weight of SmolLM2-135M (queries, keys and values are one matrix here, gate and
up another), and y = x·wᵀ of 8-bit codes with 32-bit sums, s8 by s8 (torch._int_mm) and u8 by s8 with
the weights packed beforehand (what an 8-bit PyTorch model calls). Each is the best single call of
some rounds that take all products in turn. *Step* is the rate of a training step's products
together, each weight as often as the model has it: what the products' share of a step is held
against. Other work on the cores takes any of these rates down by half: `chrt -r 1` in front keeps
it off.
"""
import argparse
import json
import os
import sys
import time

import side_by_side

# Name, outputs, inputs, how many of it the model has.
SHAPES = [("query, key, value", 960, 576, 30), ("attention output", 576, 576, 30),
          ("gate, up", 3072, 576, 30), ("down", 576, 1536, 30), ("head", 49152, 576, 1)]

arguments = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--rounds", type=int, default=5)
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--rows", default="512,1024", help="of x: tokens (default: %(default)s)")
arguments.add_argument("--json", metavar="FILE", help="write every number there")
arguments.add_argument("--venv", default=side_by_side.VENV)
options = arguments.parse_args()
side_by_side.enter(options.venv, options.threads)

import torch  # noqa: E402

torch.set_num_threads(options.threads)
torch.manual_seed(0)


def onednn():
    """The version inside PyTorch."""
    lines = [line for line in torch.__config__.show().splitlines() if "MKL-DNN" in line]
    return lines[0].split(" v")[1].split()[0] if lines else "of unknown version"


def product(kind, pass_, rows, outputs, inputs):
    """A closure that computes one product, or nothing where PyTorch can't."""
    if kind in ("float32", "bfloat16"):
        dtype = getattr(torch, kind)
        x = torch.randn(rows, inputs).to(dtype)
        w = torch.randn(outputs, inputs).to(dtype)
        dy = torch.randn(rows, outputs).to(dtype)
        return {"y": lambda: torch.mm(x, w.t()), "dx": lambda: torch.mm(dy, w),
                "dw": lambda: torch.mm(dy.t(), x)}[pass_]
    if pass_ != "y":
        return None
    if kind == "s8s8s32":
        x = torch.randint(-127, 128, (rows, inputs), dtype=torch.int8)
        w = torch.randint(-127, 128, (outputs, inputs), dtype=torch.int8)
        return lambda: torch._int_mm(x, w.t())
    x = torch.randint(0, 256, (rows, inputs), dtype=torch.uint8)
    w = torch.randint(-127, 128, (outputs, inputs), dtype=torch.int8)
    if kind == "u8s8s32":
        packed = torch.ops.onednn.qlinear_prepack(w, list(x.shape))
        scales, zeros = torch.ones(outputs), torch.zeros(outputs, dtype=torch.int32)
        return lambda: torch.ops.onednn.qlinear_pointwise(
            x, 1.0, 0, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], "")
    raise ValueError(kind)


KINDS = ["float32", "bfloat16", "s8s8s32", "u8s8s32"]
rows_list = [int(rows) for rows in options.rows.split(",")]
products, refused = {}, {}
for rows in rows_list:
    for name, outputs, inputs, _ in SHAPES:
        for pass_ in ("y", "dx", "dw"):
            for kind in KINDS:
                try:
                    compute = product(kind, pass_, rows, outputs, inputs)
                    if compute:
                        compute()
                        products[rows, name, pass_, kind] = compute, 2.0 * rows * outputs * inputs
                except (RuntimeError, AttributeError) as error:
                    refused[kind] = str(error).splitlines()[0]
best = dict.fromkeys(products, 0.0)
for _ in range(options.rounds):
    for key, (compute, work) in products.items():
        # The best single call: with a core taken away in the middle of some calls no mean is of use.
        for _ in range(max(1, min(20, int(8e9 / work)))):
            start = time.perf_counter()
            compute()
            best[key] = max(best[key], work / (time.perf_counter() - start) / 1e9)


def together(rows, kind, passes):
    """The rate of all the model's products of some passes."""
    work = seconds = 0.0
    for name, outputs, inputs, count in SHAPES:
        for pass_ in passes:
            flops = 2.0 * rows * outputs * inputs * count
            work += flops
            seconds += flops / best[rows, name, pass_, kind]
    return work / seconds


print(side_by_side.processor())
print(f"torch {torch.__version__}, oneDNN {onednn()}, {options.threads} threads, "
      f"best of {options.rounds} rounds, GFLOP/s (8-bit: 10⁹ operations a second)")
columns = [(kind, pass_) for kind in KINDS for pass_ in ("y", "dx", "dw")
           if kind in ("float32", "bfloat16") or pass_ == "y"]
columns = [column for column in columns if column[0] not in refused]
record = {"processor": side_by_side.processor(), "torch": torch.__version__,
          "threads": options.threads, "rates": [], "steps": []}
for rows in rows_list:
    print()
    print(f"{f'{rows} rows':40}" + "".join(
        f"{kind.replace('float', 'f') + ' ' + pass_:>13}" for kind, pass_ in columns))
    for name, outputs, inputs, count in SHAPES:
        rates = [best[rows, name, pass_, kind] for kind, pass_ in columns]
        print(f"{f'{name} {outputs} × {inputs}, {count} of it':40}" + "".join(
            f"{rate:13.0f}" for rate in rates))
        record["rates"] += [
            {"rows": rows, "outputs": outputs, "inputs": inputs, "kind": kind, "pass": pass_,
             "gflops": rate} for (kind, pass_), rate in zip(columns, rates)]
    for kind in KINDS:
        passes = [pass_ for k, pass_ in columns if k == kind]
        if not passes:
            continue
        rates = {pass_: together(rows, kind, [pass_]) for pass_ in passes}
        step = together(rows, kind, passes)
        print(f"  {kind}, {'step' if len(passes) == 3 else 'forward pass'}: {step:.0f} ("
              + ", ".join(f"{pass_} {rate:.0f}" for pass_, rate in rates.items()) + ")")
        record["steps"].append({"rows": rows, "kind": kind, "passes": passes, "gflops": step})
for kind, reason in refused.items():
    print(f"{kind}: PyTorch refuses here: {reason}")
if options.json:
    with open(options.json, "w") as file:
        json.dump(record, file, indent=1)
