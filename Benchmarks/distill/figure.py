#!/usr/bin/env python3
"""A model under "Answer in one short sentence." teaches the same model without it: the table of Distillation.md.

    python3 Benchmarks/distill/figure.py --attune .build/release/attune --work /tmp/distill

Four runs on the quickstart's prompts without what they say about length: each of `rollouts` × 8 × 4 answers of at most
`tokens` tokens, so that all are trained on as many answers; what is told is of answers to 32 held-out prompts.
"""
import argparse
import json
import re
import subprocess
from pathlib import Path

WORDS = "Answer in one short sentence."
RUNS = {
    "reverse_kl": ["--method", "reverse_kl"],
    "reverse_kl of sampled tokens": ["--method", "reverse_kl", "--tokens", "sampled"],
    "gkd": ["--method", "gkd"],
    "sequence (SFT on the teacher's answers)": ["--method", "sequence"],
}


def prompts(source):
    """The quickstart's prompts, trained and held out, as conversations."""
    lists = re.split(r"public static let ", source.read_text())[1:]
    for part in lists[:2]:
        texts = [json.loads(f'"{line}"') for line in re.findall(r'^\s+"((?:[^"\\]|\\.)*)",?$', part, re.M)]
        plain = [text.removesuffix(" Answer in one sentence.") for text in texts]
        yield [{"prompt": [{"role": "user", "content": text}]} for text in plain]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attune", default=".build/release/attune")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(RUNS), help="some of the runs, by name")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    root = Path(__file__).resolve().parents[2]
    files = ["train.jsonl", "held-out.jsonl"]
    for name, rows in zip(files, prompts(root / "Sources/AttuneStudies/Quickstart/QuickstartPrompts.swift")):
        (options.work / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    print("| run | KL to the teacher, before | after | tokens of an answer, before | after | trained tokens | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for number, (name, words) in enumerate(RUNS.items()):
        if name not in options.only:
            continue
        output = options.work / f"run-{number}"
        knobs = {"rollouts": options.rollouts, "max_tokens": options.tokens, "temperature": options.temperature,
                 "evaluation_every": options.rollouts, "show_every": 0}
        subprocess.run(
            [options.attune, "distill", "--model", options.model, "--teacher", "same", "--teacher-system", WORDS,
             "--data", options.work / files[0], "--eval-data", options.work / files[1], "--output", output,
             "--precision", options.precision, "--seed", str(options.seed), "--restart", *words,
             *(word for knob, value in knobs.items() for word in ("--set", f"{knob}={value}"))],
            check=True, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        held = [line for line in lines if "held_out/teacher_kl" in line]
        steps = [line for line in lines if "response/length" in line]
        tokens = sum(line["response/length"] * 32 for line in steps)
        seconds = sum(line["seconds/step"] for line in steps)
        cells = [f"{line[key]:.{digits}f}" for key, digits in (("held_out/teacher_kl", 2), ("held_out/length", 1))
                 for line in (held[0], held[-1])]
        print(f"| {name} | {' | '.join(cells)} | {tokens:.0f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
