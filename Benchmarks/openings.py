#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a long system prompt costs a rollout.

    python3 Benchmarks/openings.py [--model smollm2] [--words 0 100 300 900]

Rollouts of `attune rloo` in bfloat16 with 8-bit sampling, 16 prompts with 4 answers of at most 32 tokens, adapters on all
layers. Each prompt stands behind rules of so many words, once as a system turn, which a pass runs once for all prompts that
begin with it, and once at the start of the user's own turn, where passes run it for each prompt (what is sampled reads it
once either way). The median of all rollouts but the first two.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "Benchmarks", "peers"))
import side_by_side  # noqa: E402

RULES = ("You answer for a shop that sells garden tools. Be kind and brief, name prices only where you were told them, "
         "and say when an order can be sent. If a question is about another shop, say that you can't know. ").split()
QUESTIONS = [f"{ask} {thing}?" for ask in ("What should I know about", "How do I take care of", "Is it worth buying")
             for thing in ("a spade", "a rake", "secateurs", "a wheelbarrow", "a watering can", "gloves", "a hose", "shears")]


def rows(words, place):
    rules = " ".join((RULES * (words // len(RULES) + 1))[:words])
    for question in QUESTIONS:
        turns = [{"role": "system", "content": rules}] if words and place == "system" else []
        said = f"{rules}\n\n{question}" if words and place == "user" else question
        yield {"prompt": turns + [{"role": "user", "content": said}]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attune", default=os.path.join(ROOT, ".build", "release", "attune"))
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--words", type=int, nargs="+", default=[0, 100, 300, 900])
    parser.add_argument("--rollouts", type=int, default=5)
    options = parser.parse_args()
    print(side_by_side.processor())
    print("\n| words | a system turn, s a rollout | the user's own, s a rollout | ratio | peak MB, each |")
    print("| --- | --- | --- | --- | --- |")
    for words in options.words:
        found = []
        for place in ("system", "user"):
            with tempfile.TemporaryDirectory() as folder:
                data, out = os.path.join(folder, "prompts.jsonl"), os.path.join(folder, "out")
                with open(data, "w") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows(words, place))
                side_by_side.run([
                    options.attune, "rloo", "--model", options.model, "--reward", "length:target:20", "--data", data,
                    "--output", out, "--precision", "bf16", "--sampler", "int8", "--set", "layers=0",
                    "--set", "prompts_per_rollout=16", "--set", "samples_per_prompt=4", "--set", "max_tokens=32",
                    "--set", f"rollouts={options.rollouts}", "--set", "seed=1", "--set", "show_every=0"],
                    log=os.path.join(folder, "log"))
                with open(os.path.join(out, "metrics.jsonl")) as file:
                    lines = [json.loads(line) for line in file]
            found.append((statistics.median(line["seconds/step"] for line in lines[2:]),
                          lines[-1]["memory/peak_mb"]))
        (system, peak), (user, other) = found
        print(f"| {words} | {system:.2f} | {user:.2f} | {user / system:.2f} | {peak:,.0f}, {other:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
