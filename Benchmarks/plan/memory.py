#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a plan says of a run's memory beside what the run took.

    python3 Benchmarks/plan/memory.py [--model smollm2] [--program .build/release/attune]

Of each line first the plan (--dry-run), then a run of two steps, or of one rollout, to its end: the model
that is written and read again is part of it. The peak is the system's, of the whole process. Texts
are made here, of words that a seed draws.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STEPS = "--set max_steps=2 --set warmup_steps=0"
ROLLOUT = ("--reward labeller:concise --set rollouts=1 --set prompts_per_rollout=4 "
           "--set samples_per_prompt=4 --set max_tokens=48")
LINES = [
    ("sft, all weights, 8 x 96", f"sft {STEPS} --set batch_size=8 --set max_length=96"),
    ("the same, 8-bit moments",
     f"sft {STEPS} --set batch_size=8 --set max_length=96 --optimizer adamw-8bit"),
    ("sft, adapters", f"sft {STEPS} --set batch_size=8 --set train=lora"),
    ("dpo, adapters", f"dpo {STEPS} --set batch_size=8 --set train=lora"),
    ("dpo, all weights", f"dpo {STEPS} --set batch_size=8 --set train=full"),
    ("grpo, adapters", f"grpo {ROLLOUT} --set train=lora"),
    ("the same, int8 sampling", f"grpo {ROLLOUT} --set train=lora --sampler int8"),
    ("grpo, all weights", f"grpo {ROLLOUT} --set train=full"),
]

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", default="smollm2", help="default: %(default)s")
parser.add_argument("--program", default=os.path.join(ROOT, ".build", "release", "attune"))
parser.add_argument("--precision", default="float32,bf16", help="default: %(default)s")
parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
options = parser.parse_args()


def write_rows(path):
    """Pairs, of which sft learns the chosen answers and grpo takes the prompts."""
    words = ("the a of house river walk light two green old friend said went under over which where "
             "time water small city road music never always today bread").split()
    draw = random.Random(1)

    def text(least, most):
        return " ".join(draw.choice(words) for _ in range(draw.randint(least, most)))

    with open(path + "/pairs.jsonl", "w") as pairs, open(path + "/answers.jsonl", "w") as answers:
        for _ in range(64):
            prompt, chosen, rejected = text(10, 40), text(60, 140), text(20, 90)
            print(json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}), file=pairs)
            print(json.dumps({"prompt": prompt, "completion": chosen}), file=answers)


def peak(command, folder):
    """The largest resident memory of a process in MB; what it says where it fails."""
    with open(folder + "/log", "w+") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            sys.exit(" ".join(command) + "\n" + log.read())
    return usage.ru_maxrss / 1024


folder = tempfile.mkdtemp(prefix="attune-plan-")
try:
    write_rows(folder)
    print("| run | precision | planned, MB | peak, MB | planned / peak |\n| --- | --- | --- | --- | --- |")
    for precision in options.precision.split(","):
        for name, line in LINES:
            words = line.split()
            data = "answers.jsonl" if words[0] == "sft" else "pairs.jsonl"
            command = [options.program] + words + [
                "--model", options.model, "--data", data, "--output", "run", "--precision", precision,
                "--threads", str(options.threads)]
            said = subprocess.run(command + ["--dry-run", "--json"], cwd=folder, check=True,
                                  capture_output=True, text=True)
            planned = json.loads(said.stdout)["bytes"] / 2**20
            taken = peak(command, folder)
            shutil.rmtree(folder + "/run")
            print(f"| {name} | {precision} | {planned:,.0f} | {taken:,.0f} | {planned / taken:.2f} |",
                  flush=True)
finally:
    shutil.rmtree(folder)
