#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sampling elsewhere beside sampling by oneself: RLOO with adapters on SmolLM2, by one process of two threads, and by
a trainer and a sampler of one thread each, on one machine of two cores.

    python3 Benchmarks/ranks/asynchronous.py [--rollouts 24] [--staleness 1]

Says wall time, the reward of held-out prompts on the way, after how many seconds it first was as high as both runs' best, how old
answers were, and the effective sample size of their weights. Needs SmolLM2 pulled.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILT = os.path.abspath(os.path.join(HERE, "..", "..", ".build", "release", "attune"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attune", default=BUILT, help="the program; default: %(default)s")
    parser.add_argument("--rollouts", type=int, default=24)
    parser.add_argument("--staleness", type=int, default=1)
    options = parser.parse_args()
    if not os.access(options.attune, os.X_OK):
        sys.exit(f"{options.attune} is not there: make build")
    topics = "rain bread maps cats trains tea winter salt books music rivers chess".split()
    paths = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in (("prompts", topics[:8]), ("held", topics[8:])):
            with open(os.path.join(folder, name + ".jsonl"), "w") as file:
                file.writelines(
                    json.dumps({"prompt": [{"role": "user", "content": f"Tell me about {word}."}]}) + "\n"
                    for word in words)
        line = [options.attune, "rloo", "--model", "smollm2", "--data", f"{folder}/prompts.jsonl", "--eval-data",
                f"{folder}/held.jsonl", "--reward", "labeller:concise", "--learning-rate", "1e-3", "--beta", "0.02", "--seed", "1"]
        for knob in (f"rollouts={options.rollouts}", f"evaluation_every={max(1, options.rollouts // 8)}", "evaluation_samples=8", "max_tokens=48",
                     "show_every=0", "checkpoint_seconds=86400", "samples_per_prompt=4"):
            line += ["--set", knob]
        for name, more, sampler in (
                ("one process of two threads", ["--threads", "2"], None),
                (f"trainer and sampler of one, max_staleness {options.staleness}",
                 ["--threads", "1", "--samplers", "folder", "--max-staleness", str(options.staleness)], "a")):
            output = os.path.join(folder, "run-" + ("own" if sampler is None else "folder"))
            began = time.monotonic()
            worker = sampler and subprocess.Popen(
                [options.attune, "rollouts", "--run", output, "--worker", sampler, "--threads", "1"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            done = subprocess.run(line + more + ["--output", output], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True)
            seconds = time.monotonic() - began
            if done.returncode:
                sys.exit(done.stderr)
            if worker:
                worker.wait()
            with open(os.path.join(output, "metrics.jsonl")) as file:
                lines = [json.loads(text) for text in file]

            def values(key):
                return [entry[key] for entry in lines if key in entry]

            held = values("held_out/reward")
            start = next(entry["time"] for entry in lines if "held_out/reward" in entry)
            paths[name] = [(entry["time"] - start, entry["held_out/reward"]) for entry in lines if "held_out/reward" in entry]
            step = values("seconds/step")
            print(f"{name}: {seconds:.0f} s in all, {statistics.median(step):.2f} s a rollout; held-out reward "
                  + " → ".join(f"{value:.2f}" for value in held))
            if sampler:
                print(f"  staleness {statistics.mean(values('rollout/staleness')):.2f}, effective sample size "
                      f"{statistics.mean(values('ratio/sampler_effective_share')):.3f}")
    level = min(max(value for _, value in path) for path in paths.values())
    for name, path in paths.items():
        first = next(seconds for seconds, value in path if value >= level)
        print(f"{name}: {first:.0f} s from the first evaluation to a held-out reward of {level:.2f}")


if __name__ == "__main__":
    main()
