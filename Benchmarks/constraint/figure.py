#!/usr/bin/env python3
"""A reward that is climbed while the mean length stays at 20 words, and the same run without that: the table of Rewards.md.

    python3 Benchmarks/constraint/figure.py --attune .build/release/attune --work /tmp/constraint

Two runs of attune rloo on the quickstart's prompts without what they say about length, by the rule of cheerful answers:
each of `rollouts` × 8 × 4 answers of at most `tokens` tokens. Rows of the path are rollouts; what is told in the end is of
the last `last` rollouts, and the reward of answers to 32 held-out prompts. About eight minutes on two cores, once `attune pull vader` was made.
"""
import argparse
import importlib.util
import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def quickstart_prompts():
    """The prompts that the figure of distillation takes."""
    spec = importlib.util.spec_from_file_location("figure", ROOT / "Benchmarks/distill/figure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.prompts(ROOT / "Sources/AttuneStudies/Quickstart/QuickstartPrompts.swift")


def train(options, name, words):
    """One run: the lines of its metrics."""
    output = options.work / name
    knobs = {"rollouts": options.rollouts, "max_tokens": options.tokens, "temperature": options.temperature,
             "minibatches": 4, "evaluation_every": options.rollouts, "show_every": 0, "penalise_missing_end": "false"}
    subprocess.run(
        [options.attune, "rloo", "--model", options.model, "--reward", options.reward, "--watch", "words",
         "--beta", str(options.beta), "--learning-rate", str(options.learning_rate),
         "--data", options.work / "train.jsonl", "--eval-data", options.work / "held-out.jsonl", "--output", output,
         "--precision", options.precision, "--sampler", options.sampler, "--seed", str(options.seed), "--restart", *words,
         *(word for knob, value in knobs.items() for word in ("--set", f"{knob}={value}"))],
        check=True, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def mean(lines, key):
    return sum(line[key] for line in lines) / len(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attune", default=".build/release/attune")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--reward", default="labeller:positive")
    parser.add_argument("--words", type=float, default=20)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--beta", type=float, default=0.02)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--rollouts", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--precision", default="high")
    parser.add_argument("--sampler", default="same")
    parser.add_argument("--last", type=int, default=16, help="rollouts that the figures are of")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(["train.jsonl", "held-out.jsonl"], quickstart_prompts()):
        (options.work / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    limit = f"words<={options.words:g}"
    held = train(options, "held", ["--constraint", f"{limit}@{options.rate:g}"])
    free = train(options, "free", [])
    steps = [[line for line in lines if "reward/mean" in line] for lines in (held, free)]
    print("| rollout | λ | mean words | slack | beyond the limit | reward | words without it | reward without it |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for number, (one, other) in enumerate(zip(*steps), 1):
        print(f"| {number} | {one[f'constraint/multiplier[{limit}]']:.2f} | {one['reward/gold_mean']:.1f} "
              f"| {one[f'constraint/slack[{limit}]']:.1f} | {100 * one[f'constraint/violations[{limit}]']:.0f} % "
              f"| {one['reward/mean']:.3f} | {other['reward/gold_mean']:.1f} | {other['reward/mean']:.3f} |")
    print(f"\n| run | words, rollout 1 | last {options.last} | reward, rollout 1 | last {options.last} "
          "| held-out reward, before | after | KL |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, lines, own in ((limit, held, steps[0]), ("no limit", free, steps[1])):
        last = own[-options.last:]
        before, *_, after = [line["held_out/reward"] for line in lines if "held_out/reward" in line]
        print(f"| {name} | {own[0]['reward/gold_mean']:.1f} | {mean(last, 'reward/gold_mean'):.1f} "
              f"| {own[0]['reward/mean']:.3f} | {mean(last, 'reward/mean'):.3f} | {before:.3f} | {after:.3f} "
              f"| {mean(last, 'kl/sequence'):.1f} |")


if __name__ == "__main__":
    main()
