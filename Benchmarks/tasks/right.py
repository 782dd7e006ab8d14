#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reinforcement learning with a right answer: SmolLM2 learns a procedural task from a grader's verdict alone.

    python3 Benchmarks/tasks/right.py --work /tmp/right [--tasks sums,sorting] [--methods grpo,rloo,ppo,brain,raft,sft]
        [--seeds 1] [--options "--precision bf16"] [--plot FILE.svg]

Every method has the same problems (three solved ones before each question, none of a held-out problem) and samples as
many answers; `grpo+curriculum` is `attune grpo --curriculum`; `sft` learns the right answers of the same problems instead. Said are accuracy, pass@4 and maj@8 of 8 answers
to each of 64 held-out problems at temperature 0.7, before and after. The start is measured on the same three-shot prompts, by a
grader that takes the last number wherever it stands, so that a wrong form is no low start. Runs that are in the folder are not made again.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILT = os.path.abspath(os.path.join(HERE, "..", "..", ".build", "release", "attune"))
REWARDS = {"sums": "answer:number", "differences": "answer:number", "letters": "answer:number", "units": "answer:number",
           "sorting": "answer:json", "json": "answer:json"}
# Weight of the KL term, or β of the target: a right answer is 1, so small ones.
OWN = {"grpo": ["--beta", "0"], "rloo": ["--beta", "0.01"], "ppo": ["--beta", "0.01"], "brain": ["--beta", "0.2"],
       "raft": ["--set", "keep=2"]}


def run(line, log):
    with open(log, "a") as file:
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=file, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(line)}\n{open(log).read()[-2000:]}")
    return done.stdout


def evaluate(options, model, held, reward, log):
    report = json.loads(run(
        [options.attune, "evaluate", "--model", model, "--data", held, "--reward", reward, "--n", "8", "--max-tokens",
         str(options.tokens), "--temperature", "0.7", "--set", "greedy=0", "--json", "--seed", "1", *options.more], log))
    right = report["models"][0]["right"]
    return {"accuracy": right["accuracy"], "interval": right["accuracy_interval"], "majority": right["majority"],
            "pass": {entry["k"]: entry["value"] for entry in right["pass"]}}


def curve(output):
    with open(os.path.join(output, "metrics.jsonl")) as file:
        lines = [json.loads(line) for line in file]
    return [(line["step"], line["held_out/accuracy"], line["held_out/pass_at_k"]) for line in lines if "held_out/accuracy" in line]


def train(options, method, seed, problems, held, reward, output, log):
    if method == "sft":
        rows = os.path.join(os.path.dirname(output), "solved.jsonl")
        with open(problems) as given, open(rows, "w") as file:
            for line in map(json.loads, given):
                answer = [{"role": "assistant", "content": line["answer"]}]
                file.write(json.dumps({"prompt": line["prompt"], "completion": answer}) + "\n")
        line = [options.attune, "sft", "--model", "smollm2", "--data", rows, "--learning-rate", "1e-3", "--set", "train=lora",
                "--set", "epochs=3"]
    else:
        name, *extra = method.split("+")
        line = [options.attune, name, "--model", "smollm2", "--data", problems, "--reward", reward, "--eval-data", held,
                "--learning-rate", "1e-3", *OWN[name], *(f"--{word}" for word in extra)]
        for knob in (f"rollouts={options.rollouts}", "prompts_per_rollout=16", "samples_per_prompt=8", "show_every=0",
                     f"max_tokens={options.tokens}", "temperature=1", f"evaluation_every={options.rollouts // 8}"):
            line += ["--set", knob]
    began = time.monotonic()
    run(line + ["--seed", str(seed), "--output", output, *options.more], log)
    return time.monotonic() - began


def plot(results, target):
    from xml.sax.saxutils import escape
    colours = {"grpo": "#2b6cb0", "rloo": "#c05621", "ppo": "#2f855a", "brain": "#6b46c1", "raft": "#b83280",
               "grpo+curriculum": "#718096"}
    tasks = list(dict.fromkeys(r["task"] for r in results))
    drawn = [r for r in results if r["curve"]]
    width, height = 110 + 460 * 2, 60 + 320 * len(tasks)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    most = max((point[0] for r in drawn for point in r["curve"]), default=1)
    for row, task in enumerate(tasks):
        for column, name in enumerate(["accuracy", "pass@4"]):
            left, bottom = 60 + 460 * column, 310 + 320 * row
            out.append(f'<text x="{left + 200}" y="{bottom - 280}" text-anchor="middle">{escape(task)}: {name} on held-out problems</text>')
            for share in range(0, 101, 20):
                y = bottom - 2.7 * share
                out.append(f'<line x1="{left}" x2="{left + 400}" y1="{y}" y2="{y}" stroke="#ddd"/>'
                           f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{share} %</text>')
            for r in (r for r in drawn if r["task"] == task):
                points = " ".join(f"{left + 400 * point[0] / most:.1f},{bottom - 270 * point[1 + column]:.1f}" for point in r["curve"])
                out.append(f'<polyline points="{points}" fill="none" stroke="{colours.get(r["method"], "black")}" stroke-width="1.5"/>')
    for i, method in enumerate(dict.fromkeys(r["method"] for r in drawn)):
        out.append(f'<text x="{width - 60}" y="{60 + 18 * i}" fill="{colours.get(method, "black")}">{escape(method)}</text>')
    out.append(f'<text x="{width / 2}" y="{height - 15}" text-anchor="middle">rollouts (of {most}); a line a seed</text></svg>')
    with open(target, "w") as file:
        file.write("\n".join(out) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attune", default=BUILT, help="the program; default: %(default)s")
    parser.add_argument("--work", required=True, help="where problems and runs are kept")
    parser.add_argument("--tasks", default="sums")
    parser.add_argument("--methods", default="grpo,rloo,ppo,brain,raft,sft")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--rollouts", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--options", default="--precision bf16", help="attune's own, of every run")
    parser.add_argument("--plot", help="a picture of the curves")
    options = parser.parse_args()
    options.more = shlex.split(options.options)
    results = []
    print("| task | method | seed | accuracy [95 %] | pass@4 | maj@8 | seconds |\n| --- | --- | --- | --- | --- | --- | --- |")

    def show(task, method, seed, figures, seconds):
        low, high = figures["interval"]
        print(f"| {task} | {method} | {seed} | {figures['accuracy']:.1%} [{low:.1%}, {high:.1%}] | {figures['pass']['4']:.1%} | "
              f"{figures['majority']:.1%} | {seconds} |", flush=True)

    for task in options.tasks.split(","):
        reward = REWARDS.get(task, "answer:exact,extract=last")
        folder = os.path.join(options.work, task)
        os.makedirs(folder, exist_ok=True)
        problems, held, log = (os.path.join(folder, name) for name in ("problems.jsonl", "held-out.jsonl", "log.txt"))
        if not os.path.exists(held):
            run([options.attune, "tasks", task, "--count", "384", "--held-out", held, "--held-out-count", "64", "--shots", "3",
                 "--seed", "1", "--output", problems], log)
        asked = [{json.dumps(json.loads(line)["prompt"]) for line in open(name)} for name in (problems, held)]
        if asked[0] & asked[1]:
            sys.exit(f"{task}: a held-out problem is among those trained on")
        for method, seed in [("start", "")] + [(m, s) for s in options.seeds.split(",") for m in options.methods.split(",")]:
            name = os.path.join(folder, f"{method}-{seed}" if seed else method)
            if not os.path.exists(name + ".json"):
                seconds = "" if method == "start" else round(train(options, method, seed, problems, held, reward, name, log))
                figures = evaluate(options, "smollm2" if method == "start" else name, held, reward, log)
                with open(name + ".json", "w") as file:
                    json.dump({"task": task, "method": method, "seed": seed, "figures": figures, "seconds": seconds}, file, indent=1)
            with open(name + ".json") as file:
                result = json.load(file)
            result["curve"] = [] if method in ("start", "sft") else curve(name)
            show(task, method, seed, result["figures"], result["seconds"])
            results.append(result)
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
