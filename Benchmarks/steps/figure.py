#!/usr/bin/env python3
"""A process reward model and an outcome model of the same answers: who finds the first wrong step.

    python3 Benchmarks/steps/figure.py --attune .build/release/attune --work /tmp/steps

Sums are worked step by step ("start with 17, add 6, take 5": 17 + 6 = 23, 23 - 5 = 18). In two of three answers one
step is wrong by construction; those behind it go on from its number, and none is right any more. The process model learns
every step's label, the outcome model whether the whole answer is right; both are read after each step of held-out answers,
and the first step whose score is below 0 is held against the first wrong one, or against there being none. Intervals are of
95 %, by bootstrap over prompts.
"""
import argparse
import json
import random
import subprocess
from pathlib import Path


def worked(rng, count, wrong, largest):
    """A sum, its steps, and whether each is right."""
    start = number = rng.randint(2, largest)
    words, steps, labels = [], [], []
    broken = rng.randrange(count) if rng.random() < wrong else None
    for place in range(count):
        other = rng.randint(1, 9)
        adds = number < 10 or number < largest and rng.random() < 0.5
        words.append(f"{'add' if adds else 'take'} {other}")
        result = number + other if adds else number - other
        if place == broken:
            result += rng.choice([-3, -2, -1, 1, 2, 3])
        steps.append(f"{number} {'+' if adds else '-'} {other} = {result}")
        labels.append(broken is None or place < broken)
        number = result
    return {"prompt": f"Start with {start}, {', '.join(words)}.\n", "completions": steps, "labels": labels}


def train(options, name, data, loss_knobs=()):
    """A reward model, and what it says of the held-out answers."""
    run = subprocess.run(
        [options.attune, "reward", "--model", options.model, "--data", options.work / data,
         "--eval-data", options.work / "held-out.jsonl", "--output", options.work / name, "--epochs", str(options.epochs),
         "--learning-rate", str(options.learning_rate), "--seed", str(options.seed), "--precision", options.precision,
         "--set", "loss=pointwise", "--set", f"layers={options.layers}", "--set", "evaluation_groups=0", "--restart",
         "--json", *loss_knobs], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attune", default=".build/release/attune")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--wrong", type=float, default=2 / 3)
    parser.add_argument("--largest", type=int, default=20, help="of the numbers that sums begin with; 1 to 9 come and go")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--layers", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--precision", default="high")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rng = random.Random(options.seed)
    seen, rows = set(), []
    while len(rows) < options.rows + options.held_out:
        row = worked(rng, options.steps, options.wrong, options.largest)
        if row["prompt"] not in seen:
            seen.add(row["prompt"])
            rows.append(row)
    held, trained = rows[:options.held_out], rows[options.held_out:]
    whole = [{"prompt": row["prompt"], "completion": "\n".join(row["completions"]), "label": all(row["labels"])}
             for row in trained]
    for name, lines in (("steps", trained), ("answers", whole), ("held-out", held)):
        (options.work / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    right = sum(all(row["labels"]) for row in held) / len(held)
    print(f"{len(trained)} answers of {options.steps} steps, {len(held)} held out; that none is wrong is said rightly of "
          f"{100 * right:.0f} % of them without looking\n")
    print("| model | first wrong step found | right steps told from wrong | steps |")
    print("| --- | --- | --- | --- |")
    for name, data in (("process", "steps.jsonl"), ("outcome", "answers.jsonl")):
        report = train(options, name, data)
        cells = [f"{100 * report[key]:.1f} % [{100 * report[key + '_interval'][0]:.1f}, "
                 f"{100 * report[key + '_interval'][1]:.1f}]" for key in ("eval_first_wrong", "eval_accuracy")]
        print(f"| {name} | {' | '.join(cells)} | {report['eval_pairs']} |", flush=True)


if __name__ == "__main__":
    main()
