#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every trainer from one start on one task: gold reward, KL, diversity, time, memory.

    make quickstart
    python3 Benchmarks/trainers/compare.py --run runs/quickstart-1 [--methods rloo,dpo] [--rollouts 16]

The start is SmolLM2; prompts, reward model and answers of the start are those of a finished quickstart, and
the gold reward is its labeller, which no method sees. Methods that sample climb the learned reward and
may sample the same number of answers (rollouts × 32 of 48 tokens at most); methods that don't learn from the
start's own answers in that run's first round, labelled anew in pairs. Each policy answers the held-out
prompts; change is in standard deviations of the start's gold reward.
"""
import argparse
import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ATTUNE = os.path.join(ROOT, ".build", "release", "attune")
LORA = ["--set", "layers=10"]
# What a method is called here: its command and what it is told.
ONLINE = {
    "ppo": ["ppo", "--set", "beta=0.03", "--set", "kl_target=10"],
    "reinforce++": ["ppo", "--variant", "reinforce++", "--set", "beta=0.03", "--set", "kl_target=10"],
    "reinforce": ["reinforce", "--beta", "0.03"],
    "rloo": ["rloo", "--beta", "0.03", "--set", "epochs=2", "--set", "minibatches=2"],
    "grpo": ["grpo"],
    "dr_grpo": ["grpo", "--variant", "dr_grpo"],
    "dapo": ["grpo", "--variant", "dapo"],
    "gspo": ["grpo", "--variant", "gspo"],
    "cispo": ["grpo", "--variant", "cispo"],
    "raft": ["raft"],
    "dpg": ["dpg", "--method", "dpg"],
    "gdc++": ["dpg", "--method", "gdc++"],
    "fdpg js": ["dpg", "--method", "fdpg", "--divergence", "js"],
    "brain": ["brain"],
}
OFFLINE = {"dpo": ["dpo"], "ipo": ["dpo", "--loss", "ipo"], "kto": ["kto"]}

arguments = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--run", required=True, help="the folder of a finished quickstart")
arguments.add_argument("--methods", help="default: all: " + ", ".join([*ONLINE, *OFFLINE, "iterate"]))
arguments.add_argument("--rollouts", type=int, default=16)
arguments.add_argument("--n", type=int, default=4, help="answers to each held-out prompt")
arguments.add_argument("--online-rate", default="1e-3", help="learning rate of methods that sample")
arguments.add_argument("--pair-rate", default="5e-4", help="that of losses on pairs and thumbs")
arguments.add_argument("--seed", default="1")
arguments.add_argument("--output", default=os.path.join(ROOT, ".build", "trainers"))
options = arguments.parse_args()
every = [*ONLINE, *OFFLINE, "iterate"]
chosen = [name.strip() for name in options.methods.split(",")] if options.methods else every
for name in chosen:
    if name not in every:
        sys.exit(f"there is no method {name}: {', '.join(every)}")
rewards = ["--reward", f"model:{options.run}/reward"]
prompts = os.path.join(options.run, "prompts.jsonl")
held_out = os.path.join(options.run, "held-out-prompts.jsonl")
first = os.path.join(options.run, "round-1", "samples.jsonl")
samples = first if os.path.exists(first) else os.path.join(options.run, "samples.jsonl")
if not os.path.exists(os.path.join(options.run, "report.json")):
    sys.exit(f"{options.run} is no finished quickstart: make quickstart")
os.makedirs(options.output, exist_ok=True)
pairs = os.path.join(options.output, "pairs.jsonl")


def run(command):
    """What a command printed as JSON, and its seconds."""
    began = time.monotonic()
    done = subprocess.run([ATTUNE, *command, "--seed", options.seed, "--json"],
                          stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout), time.monotonic() - began


run(["label", "--data", samples, "--labeller", "concise", "--set", "sharpness=3", "--output", pairs])
print(f"{'method':14}{'gold':>7}{'change':>8}{'wins':>7}{'KL':>7}{'ended':>7}{'tokens':>8}"
      f"{'self-BLEU':>11}{'seconds':>9}{'MB':>7}")
for name in chosen:
    folder = os.path.join(options.output, name.replace(" ", "-"))
    common = ["--model", "smollm2", "--output", folder, "--restart"]
    if name in ONLINE:
        command = [*ONLINE[name], "--data", prompts, *rewards, *common, *LORA,
                   "--learning-rate", options.online_rate,
                   "--set", f"rollouts={options.rollouts}", "--set", "samples_per_prompt=4",
                   "--set", "prompts_per_rollout=8", "--set", "show_every=0"]
    elif name == "iterate":
        count = sum(1 for _ in open(prompts))
        rounds = max(1, options.rollouts * 32 // (count * 4))
        command = ["iterate", "--data", prompts, *rewards, *common, "--rounds", str(rounds),
                   "--set", "samples_per_prompt=4", "--set", "pairs=all", "--set", "dpo.layers=10",
                   "--set", f"dpo.learning_rate={options.pair_rate}"]
    else:
        command = [*OFFLINE[name], "--data", pairs, *common, *LORA,
                   "--learning-rate", options.pair_rate]
    _, seconds = run(command)
    memory = 0.0
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        for line in file:
            memory = max(memory, json.loads(line).get("memory/peak_mb", 0))
    report, _ = run(["evaluate", "--model", folder, "--against", "smollm2", "--data", held_out,
                     "--reward", "labeller:concise", *rewards, "--n", str(options.n),
                     "--max-tokens", "48"])
    policy, start = report["models"]
    gold = [model["rewards"]["labeller:concise"] for model in (policy, start)]
    change = (gold[0]["mean"] - gold[1]["mean"]) / gold[1]["sd"]
    print(f"{name:14}{gold[0]['mean']:7.2f}{change:+8.2f}{100 * report['win_rate']['value']:6.0f}%"
          f"{policy['kl']:7.2f}{100 * policy['completed']:6.0f}%{policy['length']:8.1f}"
          f"{policy['diversity']['self_bleu']:11.3f}{seconds:9.0f}{memory:7.0f}", flush=True)
print(f"start: gold {gold[1]['mean']:.2f}, SD {gold[1]['sd']:.2f}, {start['length']:.1f} tokens")
