#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attune beside TRL on this machine: the same weights, rows, batch shapes, threads and settings.

    python3 Benchmarks/peers/compare_trl.py [--methods sft,dpo] [--precision bf16]
        [--sampling-options "--sampler int8"]

SmolLM2-135M, two threads, AdamW, gradient clipping at 1; full fine-tuning but for the two LoRA rows
(rank 16 on every projection). TRL runs in three columns, their options printed:

- defaults: a float32 model under autocast to bfloat16, activations computed again (gradient
  checkpointing): what a user gets who says nothing;
- no-checkpointing: the same without computing them again;
- float32: no autocast, no checkpointing.

Attune runs at one --precision against each. What is asked of its speed is asked against the faster
of the two bfloat16 columns (in float32: against float32), what is asked of its memory against the
defaults. The rows that both read are written here, of words that are one token each, so that
lengths are exact: prompts of 32 tokens, answers of 64. A step sees all rows of its file, so that
losses can be compared step by step, in whatever order a side takes them. rloo and grpo sample 4
answers to each of 4 prompts from a model whose end token is one that it never says, so that every
answer has 64 tokens.

The sides run in turn, each run a process. Seconds a step are the median of the steps after the
first two (the second is still a third slower in PyTorch); memory is the largest that the process
ever had, from its start to its end.
"""
import collections
import json
import os
import random
import shutil
import statistics
import sys

import side_by_side

# What a method is given, and what is asked of it: how many times TRL's steps a minute in bfloat16 and
# in float32, and how much of its memory (or, above 2, how many MB).
Method = collections.namedtuple("Method", "trainer data batch knobs peer bf16 float32 memory")
# What is kept for the backward is held for as many tokens at a time as a piece has.
ADAPTERS = ["train=lora", "rank=16", "alpha=32", "layers=0", "piece_tokens=256"]
ONLINE = ["train=full", "prompts_per_rollout=4", "samples_per_prompt=4", "max_tokens=64",
          "epochs=1", "minibatches=1", "normalise=none", "penalise_missing_end=false",
          "adam_epsilon=1e-8", "show_every=0"]
PAIRS = ["evaluation_share=0"]
METHODS = {
    "sft": Method("sft", "completions", 8, ["train=full"], [], 2.5, 1.8, 0.65),
    "dpo": Method("dpo", "pairs", 8, ["train=full"] + PAIRS, [], 3.5, 2.3, 0.55),
    "dpo-live": Method("dpo", "pairs", 8, ["train=full", "precompute_reference=false"] + PAIRS,
                       ["--live-reference"], 3.5, 2.3, 0.55),
    "kto": Method("kto", "thumbs", 16, ["train=full"] + PAIRS, [], 3.5, 2.3, 0.55),
    "reward": Method("reward", "pairs", 8, ["train=full"] + PAIRS, [], 2.5, 1.8, 0.65),
    "rloo": Method("rloo", "prompts", 16, ONLINE + ["beta=0.05"], [], 3.5, 2.3, 0.55),
    "grpo": Method("grpo", "prompts", 16, ONLINE + ["beta=0.04"], [], 3.5, 2.3, 0.55),
    "sft-lora": Method("sft", "completions", 8, ADAPTERS, ["--lora"], None, None, 1000),
    "dpo-lora": Method("dpo", "pairs", 8, ADAPTERS + PAIRS, ["--lora"], None, None, 1000),
}
COLUMNS = ["defaults", "no-checkpointing", "float32"]
LEARNING_RATE = 1e-5
# Steps before those that are timed.
WARM_UP = 2
WORDS = """the of and to in is that for it as was with be by on not he his but at are this have from
    or had an they which one you were all her she there would their we him been has when who will
    no more if out so up said what its about than into them can only other time new some could
    these two may first then do any like my now over such our man me even most made after also did
    many must before back see through way where get much go well your know should down work year
    because come people just say each those take day good how long too little use us world very
    still own men here""".split()
PROMPT, ANSWER = 32, 64

arguments = side_by_side.parser(__doc__)
arguments.add_argument("--methods", default=",".join(METHODS), help="default: all, %(default)s")
arguments.add_argument("--columns", default=",".join(COLUMNS), help="default: all, %(default)s")
arguments.add_argument("--steps", type=int, default=2, help="steps that are timed, after two")
arguments.add_argument("--trainer-options", default="", metavar='"--x y"',
                       help='more of Attune\'s options, of its trainers: "--optimizer adamw-8bit"')
options = arguments.parse_args()
chosen, columns = options.methods.split(","), options.columns.split(",")
for kind, names, known in [("method", chosen, METHODS), ("column", columns, COLUMNS)]:
    for name in names:
        if name not in known:
            sys.exit(f"there is no {kind} {name}: {', '.join(known)}")
if min(options.rounds, options.steps) < 1:
    sys.exit("give at least one round and one step")

attune = side_by_side.attune()
python = side_by_side.peer_python(options.venv)
peer = [python, os.path.join(side_by_side.HERE, "trl_peer.py")]
folder = side_by_side.scratch_folder()
scratch = os.path.join(folder, "scratch")
model, endless = side_by_side.dense_models(options)


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


def ours(name, method):
    """A run of Attune: seconds, losses, tokens of a step, memory."""
    online = method.data == "prompts"
    steps = options.steps + WARM_UP
    knobs = method.knobs + ["decay=constant", "warmup_steps=0", "checkpoint_seconds=86400"]
    knobs += [f"rollouts={steps}"] if online else [
        f"epochs={steps}", f"batch_size={method.batch}"]
    command = [attune, method.trainer, "--model", endless if online else model, "--data",
               path(method.data), "--output", scratch, "--learning-rate", str(LEARNING_RATE)]
    command += side_by_side.attune_options(options, samples=online)
    command += ["--reward", "labeller:concise"] if online else []
    for knob in knobs:
        command += ["--set", knob]
    shutil.rmtree(scratch, ignore_errors=True)
    _, memory = side_by_side.run(command, log=os.path.join(folder, name + ".attune.log"))
    with open(os.path.join(scratch, "metrics.jsonl")) as file:
        # The held-out rows and such of the end have a line of their own.
        lines = [line for line in map(json.loads, file) if "seconds/step" in line]
    result = {"seconds": [line["seconds/step"] for line in lines[WARM_UP:]], "memory_mb": memory}
    if online:
        result["length"] = statistics.mean(line["response/length"] for line in lines)
        result["tokens"] = method.batch * result["length"] + method.batch // 4 * PROMPT
    else:
        result["losses"] = [line["loss"] for line in lines]
        result["tokens"] = round(lines[0]["speed/tokens_per_second"] * lines[0]["seconds/step"])
    return result


def theirs(name, method, column):
    """A run of TRL, the same."""
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    command = peer + [
        method.trainer, "--model", endless if method.data == "prompts" else model, "--data",
        path(method.data), "--scratch", scratch, "--batch", str(method.batch), "--steps",
        str(options.steps + WARM_UP), "--threads", str(options.threads), "--learning-rate",
        str(LEARNING_RATE), "--column", column]
    output, memory = side_by_side.run(
        command + method.peer, log=os.path.join(folder, f"{name}.{column}.log"))
    result = {**json.loads(output.strip().splitlines()[-1]), "memory_mb": memory}
    # Its seconds are those between two steps' ends: the first step has none.
    result["seconds"] = result["seconds"][WARM_UP - 1:]
    return result


def medians(rounds, side):
    return [statistics.median(pair[side]["seconds"]) for pair in rounds]


def speed_column(rounds):
    """The column that speed is asked against: of Attune's precision, the faster."""
    asked = [c for c in columns if (c == "float32") == (options.precision != "bf16")]
    return min(asked, key=lambda column: statistics.median(medians(rounds, column)), default=None)


def show(name, method, rounds):
    aim = method.bf16 if options.precision == "bf16" else method.float32
    asked = speed_column(rounds)
    for column in columns:
        a, b = medians(rounds, "attune"), medians(rounds, column)
        # Times as many steps a minute: the peer's seconds over ours.
        print(side_by_side.row(
            f"{name}: seconds a step, {column}", a, b, [y / x for x, y in zip(a, b)], 2,
            f"≥ {aim}" if aim and column == asked else ""))
    for column in columns:
        a = [pair["attune"]["memory_mb"] for pair in rounds]
        b = [pair[column]["memory_mb"] for pair in rounds]
        limit = f"≤ {method.memory}" if method.memory < 2 else f"{method.memory} MB"
        print(side_by_side.row(
            f"{name}: peak memory, MB, {column}", a, b, [x / y for x, y in zip(a, b)], 0,
            limit if column == "defaults" else ""))
    sides = {side: rounds[0][side] for side in ["attune"] + columns}
    # Prompts are run once for all their answers here, once an answer there.
    print("  tokens of a step: " + ", ".join(
        f"{side} {row['tokens']:.0f}" for side, row in sides.items()))
    for side, row in sides.items():
        if "losses" in row:
            print(f"  loss of steps 1 …, {side}: " + " ".join(f"{x:.4f}" for x in row["losses"]))
        if "length" in row:
            print(f"  tokens of an answer, {side}: {row['length']:.2f}")
    sys.stdout.flush()


def show_options():
    """What the peer ran with: once for what all methods share, then what each has of its own."""
    for column in columns:
        said = {name: results[name][0][column]["options"] for name in chosen}
        shared = dict(set.intersection(*(set(one.items()) for one in said.values())))
        first = said[chosen[0]]
        print(f"TRL, {column}: " + ", ".join(f"{k} {first[k]}" for k in first if k in shared))
        for name, one in said.items():
            own = [f"{k} {one[k]}" for k in one if k not in shared]
            if own:
                print(f"  {name}: " + ", ".join(own))


write_rows()
results = {name: [] for name in chosen}
for number in range(options.rounds):
    for name in chosen:
        method = METHODS[name]
        print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
        results[name].append({
            "attune": ours(name, method),
            **{column: theirs(name, method, column) for column in columns}})
        if options.json:
            with open(options.json, "w") as file:
                json.dump({"processor": side_by_side.processor(), "precision": options.precision,
                           "threads": options.threads, "methods": results}, file, indent=1)
shutil.rmtree(scratch, ignore_errors=True)
versions = results[chosen[0]][0][columns[0]]
side_by_side.conditions(
    options, f"trl {versions['trl']}", f"transformers {versions['transformers']}",
    f"torch {versions['torch']}")
show_options()
print(side_by_side.head())
for name in chosen:
    show(name, METHODS[name], results[name])
