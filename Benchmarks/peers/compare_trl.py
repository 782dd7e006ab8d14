#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attune beside TRL on this machine: the same weights, rows, batch shapes, threads and settings.

    python3 Benchmarks/peers/compare_trl.py [--methods sft,dpo] [--rounds 3] [--steps 4] [--tiles]

SmolLM2-135M in float32, two threads, AdamW, gradient clipping at 1, no recomputation; full
fine-tuning but for the two LoRA rows (rank 16 on every projection). The rows that both read are
written here, of words that are one token each, so that lengths are exact: prompts of 32 tokens,
answers of 64. A step sees all rows of its file, so that losses can be compared step by step, in
whatever order a side takes them. rloo and grpo sample 4 answers to each of 4 prompts from a model
whose end token is one that it never says, so that every answer has 64 tokens.

With --tiles Attune runs once more in each round, with --precision high, which multiplies in
matrix tiles where the processor has them. TRL runs at --peer-precision, which is PyTorch's own knob of
that name: high is to it what highest is where the processor has no tiles for it.

The two run in turn, each run a process. Seconds a step are the median of the steps after the
first; memory is the largest that the process ever had, from its start to its end.
"""
import argparse
import collections
import json
import os
import random
import shutil
import statistics
import sys

import side_by_side

# What a method is given, and what is asked of it: how many times TRL's steps a minute, and how much
# of its memory (or, above 2, how many MB).
Method = collections.namedtuple("Method", "trainer data batch knobs peer speed memory")
# What is kept for the backward is held for as many tokens at a time as a piece has.
ADAPTERS = ["train=lora", "rank=16", "alpha=32", "layers=0", "piece_tokens=256"]
ONLINE = ["train=full", "prompts_per_rollout=4", "samples_per_prompt=4", "max_tokens=64",
          "epochs=1", "minibatches=1", "normalise=none", "penalise_missing_end=false",
          "adam_epsilon=1e-8", "show_every=0"]
PAIRS = ["evaluation_share=0"]
METHODS = {
    "sft": Method("sft", "completions", 8, ["train=full"], [], 1.8, 0.65),
    "dpo": Method("dpo", "pairs", 8, ["train=full"] + PAIRS, [], 2.5, 0.55),
    "dpo-live": Method("dpo", "pairs", 8, ["train=full", "precompute_reference=false"] + PAIRS,
                       ["--live-reference"], 2.5, 0.55),
    "kto": Method("kto", "thumbs", 16, ["train=full"] + PAIRS, [], 2.0, 0.55),
    "reward": Method("reward", "pairs", 8, ["train=full"] + PAIRS, [], 1.5, 0.65),
    "rloo": Method("rloo", "prompts", 16, ONLINE + ["beta=0.05"], [], 2.3, 0.55),
    "grpo": Method("grpo", "prompts", 16, ONLINE + ["beta=0.04"], [], 2.3, 0.55),
    "sft-lora": Method("sft", "completions", 8, ADAPTERS, ["--lora"], None, 1000),
    "dpo-lora": Method("dpo", "pairs", 8, ADAPTERS + PAIRS, ["--lora"], None, 1000),
}
LEARNING_RATE = 1e-5
WORDS = """the of and to in is that for it as was with be by on not he his but at are this have from
    or had an they which one you were all her she there would their we him been has when who will
    no more if out so up said what its about than into them can only other time new some could
    these two may first then do any like my now over such our man me even most made after also did
    many must before back see through way where get much go well your know should down work year
    because come people just say each those take day good how long too little use us world very
    still own men here""".split()
PROMPT, ANSWER = 32, 64

arguments = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--methods", default=",".join(METHODS), help="default: all, %(default)s")
arguments.add_argument("--rounds", type=int, default=3)
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--steps", type=int, default=3, help="steps that are timed, after the first")
arguments.add_argument("--tiles", action="store_true",
                       help="run Attune with --precision high too")
arguments.add_argument("--peer-precision", default="highest", choices=["highest", "high", "medium"],
                       help="of TRL's matrix products")
arguments.add_argument("--json", metavar="FILE", help="write every number there")
arguments.add_argument("--venv", default=side_by_side.VENV)
arguments.add_argument("--gguf", help="the model; default: the one that `attune pull smollm2` fetched")
options = arguments.parse_args()
chosen = options.methods.split(",")
for name in chosen:
    if name not in METHODS:
        sys.exit(f"there is no method {name}: {', '.join(METHODS)}")
if min(options.rounds, options.steps) < 1:
    sys.exit("give at least one round and one step")

attune = side_by_side.attune()
python = side_by_side.peer_python(options.venv)
peer = [python, os.path.join(side_by_side.HERE, "trl_peer.py")]
folder = os.path.join(side_by_side.ROOT, ".build", "peer-runs")
scratch = os.path.join(folder, "scratch")
os.makedirs(folder, exist_ok=True)
model, endless = os.path.join(folder, "model"), os.path.join(folder, "endless")
if not os.path.exists(os.path.join(endless, "model.safetensors")):
    side_by_side.run(
        peer + ["prepare", "--gguf", side_by_side.pulled_model(options.gguf), "--model", model,
                "--endless", endless], log=os.path.join(folder, "prepare.log"))


def path(data):
    return os.path.join(folder, data + ".jsonl")


def write_rows():
    """The rows of every method; that each text has the tokens it should have is looked up."""
    draw = random.Random(1)
    texts = []

    def text(count):
        texts.append(("".join(" " + draw.choice(WORDS) for _ in range(count)), count))
        return texts[-1][0]

    # The end token is the last one of an answer.
    rows = {
        "completions": [{"prompt": text(PROMPT), "completion": text(ANSWER - 1)} for _ in range(8)],
        "pairs": [{"prompt": text(PROMPT), "chosen": text(ANSWER - 1), "rejected": text(ANSWER - 1)}
                  for _ in range(8)],
        "thumbs": [{"prompt": text(PROMPT), "completion": text(ANSWER - 1), "label": i % 2 == 0}
                   for i in range(16)],
        "prompts": [{"prompt": text(PROMPT)} for _ in range(4)],
    }
    for data, lines in rows.items():
        with open(path(data), "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in lines)
    lines = os.path.join(folder, "texts.txt")
    with open(lines, "w") as file:
        file.writelines(line + "\n" for line, _ in texts)
    output, _ = side_by_side.run([attune, "tokenize", "--model", model, "--data", lines])
    for ids, (line, count) in zip(output.splitlines(), texts, strict=True):
        if len(json.loads(ids)) != count:
            sys.exit(f"not {count} tokens: {line}")


def ours(name, method, precision="highest"):
    """A run of Attune: seconds, losses, tokens of a step, memory."""
    online = method.data == "prompts"
    steps = options.steps + 1
    knobs = method.knobs + ["decay=constant", "warmup_steps=0", "checkpoint_seconds=86400"]
    knobs += [f"rollouts={steps}"] if online else [
        f"epochs={steps}", f"batch_size={method.batch}"]
    command = [attune, method.trainer, "--model", endless if online else model, "--data",
               path(method.data), "--output", scratch, "--threads", str(options.threads),
               "--learning-rate", str(LEARNING_RATE), "--precision", precision]
    command += ["--reward", "labeller:concise"] if online else []
    for knob in knobs:
        command += ["--set", knob]
    shutil.rmtree(scratch, ignore_errors=True)
    _, memory = side_by_side.run(command, log=os.path.join(folder, name + ".attune.log"))
    with open(os.path.join(scratch, "metrics.jsonl")) as file:
        # The held-out rows and such of the end have a line of their own.
        lines = [line for line in map(json.loads, file) if "seconds/step" in line]
    result = {"seconds": [line["seconds/step"] for line in lines[1:]], "memory_mb": memory}
    if online:
        result["length"] = statistics.mean(line["response/length"] for line in lines)
        result["tokens"] = method.batch * result["length"] + method.batch // 4 * PROMPT
    else:
        result["losses"] = [line["loss"] for line in lines]
        result["tokens"] = round(lines[0]["speed/tokens_per_second"] * lines[0]["seconds/step"])
    return result


def theirs(name, method):
    """A run of TRL, the same."""
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    command = peer + [
        method.trainer, "--model", endless if method.data == "prompts" else model, "--data",
        path(method.data), "--scratch", scratch, "--batch", str(method.batch), "--steps",
        str(options.steps + 1), "--threads", str(options.threads), "--learning-rate",
        str(LEARNING_RATE), "--precision", options.peer_precision]
    output, memory = side_by_side.run(
        command + method.peer, log=os.path.join(folder, name + ".trl.log"))
    return {**json.loads(output.strip().splitlines()[-1]), "memory_mb": memory}


def show(name, method, rounds, side="attune"):
    a = [pair[side] for pair in rounds]
    b = [pair["trl"] for pair in rounds]

    def medians(rows):
        return [statistics.median(row["seconds"]) for row in rows]

    # Times as many steps a minute: the peer's seconds over ours.
    print(side_by_side.row(
        f"{name}: seconds a step", medians(a), medians(b),
        [y / x for x, y in zip(medians(a), medians(b))], 2,
        f"≥ {method.speed}" if method.speed else ""))
    print(side_by_side.row(
        f"{name}: peak memory, MB", [x["memory_mb"] for x in a], [x["memory_mb"] for x in b],
        [x["memory_mb"] / y["memory_mb"] for x, y in zip(a, b)], 0,
        f"≤ {method.memory}" if method.memory < 2 else f"{method.memory} MB"))
    # Prompts are run once for all their answers here, once an answer there.
    line = f"  tokens of a step {a[0]['tokens']:.0f} | {b[0]['tokens']:.0f}"
    if "losses" in a[0]:
        line += "; loss of steps 1 … " + " | ".join(
            " ".join(f"{loss:.4f}" for loss in side[0]["losses"]) for side in (a, b))
    if "length" in a[0]:
        line += f"; tokens of an answer {a[0]['length']:.2f} | {b[0]['length']:.2f}"
    print(line, flush=True)


write_rows()
results = {name: [] for name in chosen}
for number in range(options.rounds):
    for name in chosen:
        method = METHODS[name]
        print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
        pair = {"attune": ours(name, method), "trl": theirs(name, method)}
        if options.tiles:
            pair["tiles"] = ours(name, method, "high")
        results[name].append(pair)
        if options.json:
            with open(options.json, "w") as file:
                json.dump({"threads": options.threads, "methods": results}, file, indent=1)
shutil.rmtree(scratch, ignore_errors=True)
print(side_by_side.head())
for name in chosen:
    show(name, METHODS[name], results[name])
    if options.tiles:
        show(name + ", tiles", METHODS[name], results[name], "tiles")
versions = results[chosen[0]][0]["trl"]
print(f"threads {options.threads}; TRL at {options.peer_precision}; trl {versions['trl']}, torch {versions['torch']}")
