#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A reward model on human preference pairs, beside a bag of words on the same split.

    python3 Benchmarks/reward/harmless.py --data hh_harmless.jsonl --output DIR [-- OPTIONS OF attune reward]

`--data` is a file of HH-RLHF (Anthropic; `harmless-base`): {"chosen", "rejected"} transcripts. Pairs are
split by prompt, trained on with `attune reward`, scored with `attune score`, and the accuracy on pairs
that were not seen is compared with a bag-of-words Bradley-Terry model fitted to the same pairs: both
accuracies, their paired difference with a bootstrap interval over pairs, and seconds. Nothing but
Python's standard library and the attune binary is needed.
"""
import argparse
import collections
import hashlib
import json
import math
import os
import random
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
arguments = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--data", required=True)
arguments.add_argument("--output", required=True)
arguments.add_argument("--model", default="smollm2")
arguments.add_argument("--held-out", type=int, default=400, help="pairs not trained on, about")
arguments.add_argument("--baseline-only", action="store_true")
arguments.add_argument("options", nargs="*", help="options of attune reward, after --")
options = arguments.parse_args()
attune = os.path.join(ROOT, ".build", "release", "attune")
os.makedirs(options.output, exist_ok=True)


def turns(text):
    """The messages of a transcript, or None if it is not one."""
    parts = re.split(r"\n\n(Human|Assistant): ?", text)
    if parts[0].strip() or len(parts) < 5:
        return None
    return [{"role": "user" if speaker == "Human" else "assistant", "content": said.strip()}
            for speaker, said in zip(parts[1::2], parts[2::2])]


pairs = []
for line in open(options.data, encoding="utf-8"):
    row = json.loads(line)
    chosen, rejected = turns(row["chosen"]), turns(row["rejected"])
    if not chosen or not rejected or chosen[:-1] != rejected[:-1]:
        continue
    if chosen[-1]["role"] != "assistant" or rejected[-1]["role"] != "assistant":
        continue
    if chosen[-1]["content"] == rejected[-1]["content"]:
        continue
    pairs.append({"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]})


def bucket(pair):
    """Pairs of one prompt stay together, whatever the order of the file."""
    first = json.dumps(pair["prompt"][0], ensure_ascii=False)
    return int(hashlib.sha256(first.encode()).hexdigest(), 16) % 10_000


share = 10_000 * options.held_out / max(1, len(pairs))
held = [p for p in pairs if bucket(p) < share]
train = [p for p in pairs if bucket(p) >= share]
print(f"{len(train)} pairs to train on, {len(held)} held out (split by first message)")


def write(name, rows):
    path = os.path.join(options.output, name)
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return path


def words(pair, side):
    counts = collections.Counter(re.findall(r"[a-z']+|[0-9]+|[^\sa-z0-9]",
                                            pair[side][-1]["content"].lower()))
    return {w: math.log1p(c) for w, c in counts.items()}


def difference(pair):
    a, b = words(pair, "chosen"), words(pair, "rejected")
    return {w: a.get(w, 0) - b.get(w, 0) for w in a.keys() | b.keys()}


def bag_of_words():
    """Logistic regression on differences of log counts; the penalty by 5-fold cross-validation."""
    features = [difference(p) for p in train]
    seen = collections.Counter(w for f in features for w in f)
    features = [{w: v for w, v in f.items() if seen[w] >= 3} for f in features]

    def fit(rows, penalty):
        weight = collections.defaultdict(float)
        order = list(rows)
        generator = random.Random(0)
        for epoch in range(12):
            generator.shuffle(order)
            rate = 0.3 / (1 + epoch)
            for f in order:
                margin = sum(weight[w] * v for w, v in f.items())
                step = rate / (1 + math.exp(min(50.0, margin)))
                for w, v in f.items():
                    weight[w] += step * v - rate * penalty * weight[w]
        return weight

    def accuracy(weight, rows):
        return sum(sum(weight.get(w, 0) * v for w, v in f.items()) > 0 for f in rows) / len(rows)

    def cross_validated(penalty):
        folds = [[f for i, f in enumerate(features) if i % 5 == k] for k in range(5)]
        return sum(accuracy(fit([f for j, fold in enumerate(folds) if j != k for f in fold],
                                penalty), folds[k]) for k in range(5)) / 5

    penalty = max([0.001, 0.003, 0.01, 0.03, 0.1], key=cross_validated)
    weight = fit(features, penalty)
    return [sum(weight.get(w, 0) * v for w, v in difference(p).items()) > 0 for p in held], penalty


baseline, penalty = bag_of_words()
print(f"bag of words: accuracy {sum(baseline) / len(held):.3f} (penalty {penalty})")
if options.baseline_only:
    sys.exit()

train_file, held_file = write("train.jsonl", train), write("held_out.jsonl", held)
model = os.path.join(options.output, "reward")
start = time.time()
report = json.loads(subprocess.run(
    [attune, "reward", "--model", options.model, "--data", train_file, "--eval-data", held_file,
     "--output", model, "--json"] + options.options, stdout=subprocess.PIPE, check=True).stdout)
seconds = time.time() - start
scores = {}
for side in ["chosen", "rejected"]:
    rows = write(f"{side}.jsonl", [{"prompt": p["prompt"], "completion": p[side]} for p in held])
    scored = os.path.join(options.output, f"{side}.scored.jsonl")
    subprocess.check_call([attune, "score", "--model", model, "--data", rows, "--output", scored])
    scores[side] = [json.loads(line)["score"] for line in open(scored, encoding="utf-8")]
ours = [a > b for a, b in zip(scores["chosen"], scores["rejected"])]
gain = [int(a) - int(b) for a, b in zip(ours, baseline)]
generator = random.Random(1)
means = sorted(sum(generator.choices(gain, k=len(gain))) / len(gain) for _ in range(10_000))
print(f"reward model: accuracy {sum(ours) / len(held):.3f} in {seconds:.0f} s")
print("learning curve: " + ", ".join(f"{point['accuracy']:.3f} after {point['pairs']} pairs"
                                     for point in report["learning_curve"])
      + f"; expected calibration error {report['eval_ece']:.3f}")
print(f"difference to the bag of words: {sum(gain) / len(gain):+.3f} "
      f"[{means[250]:+.3f}, {means[9750]:+.3f}] (95 % bootstrap over pairs)")
