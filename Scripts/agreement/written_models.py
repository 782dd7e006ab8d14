# SPDX-License-Identifier: Apache-2.0
"""Loads every trainer's default output in transformers and PEFT and compares log-probabilities, or rewards.

usage: written_models.py --attune .build/release/attune [--model smollm2]   (needs torch, transformers, peft)

All trainers start from a tiny random model with the tokenizer of --model; dpo and reward also from --model itself,
as the README has it, whose base is then written into the cache. Exit code 1 if a number differs by more than 2e-3.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import peft
import torch
import transformers

ANSWERS = [
    {"prompt": "The river is deep and the", "completion": " bridge was built in 1912 by people of the town."},
    {"prompt": "A short one", "completion": " ends."}]
PAIRS = [{"prompt": f"Name {i}: ", "chosen": f"a good answer, {i}", "rejected": f"no {i}"} for i in range(8)]
ONLINE = ["ppo", "reinforce", "rloo", "grpo", "raft", "dpg", "brain", "distill"]
TOLERANCE = 2e-3


def sizes(name):
    """What makes a run short: everything else is the trainer's default."""
    if name == "iterate":
        return ["rounds=1", "samples_per_prompt=2", "max_tokens=4"]
    if name in ONLINE:
        return ["rollouts=1", "prompts_per_rollout=4", "samples_per_prompt=2", "max_tokens=4"] + (
            ["minibatches=1"] if name != "reinforce" else [])
    return ["max_steps=2"]


class Runs:
    def __init__(self, attune, work):
        self.attune, self.work = attune, work
        rows = {"answers": ANSWERS, "pairs": PAIRS, "prompts": [{"prompt": row["prompt"]} for row in PAIRS]}
        for name, lines in rows.items():
            (work / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))

    def call(self, *arguments):
        done = subprocess.run([self.attune, *arguments], capture_output=True, text=True, cwd=self.work)
        if done.returncode:
            sys.exit(f"attune {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def train(self, name, model, output):
        data = {"sft": "answers", "reward": "pairs", "dpo": "pairs", "kto": "pairs"}.get(name, "prompts")
        extra = ["--reward", "length:40"] if name in ONLINE + ["iterate"] else []
        extra += ["--teacher-system", "brief"] if name == "distill" else []
        knobs = [word for knob in sizes(name) for word in ("--set", knob)]
        report = json.loads(self.call(
            name, "--model", model, "--data", f"{data}.jsonl", "--output", output, "--json", *extra, *knobs))
        return str((self.work / report["model"]).resolve())

    def log_probabilities(self, model):
        self.call("logprobs", "--model", model, "--data", "answers.jsonl", "--output", "out.jsonl")
        return [json.loads(line) for line in (self.work / "out.jsonl").read_text().splitlines()]

    def scores(self, model):
        self.call("score", "--model", model, "--data", "answers.jsonl", "--output", "scores.jsonl")
        return [json.loads(line)["score"] for line in (self.work / "scores.jsonl").read_text().splitlines()]


def load(folder, is_reward):
    """As anybody would: by the folder's name alone."""
    adapter = os.path.exists(os.path.join(folder, "adapter_config.json"))
    if is_reward:
        loader = peft.AutoPeftModelForSequenceClassification if adapter else transformers.AutoModelForSequenceClassification
        return loader.from_pretrained(folder, num_labels=1, dtype=torch.float32).eval()
    loader = peft.AutoPeftModelForCausalLM if adapter else transformers.AutoModelForCausalLM
    return loader.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def difference(runs, folder, is_reward, plain):
    model = load(folder, is_reward)
    rows = runs.log_probabilities(plain if is_reward else folder)
    if is_reward:
        # A text's reward stands after the end of sequence, which logprobs of a text leave out.
        found = []
        for row in rows:
            ids = row["prompt_ids"] + row["completion_ids"] + [model.config.eos_token_id]
            found.append(model(torch.tensor([ids])).logits[0, 0].item())
        return max(abs(a - b) for a, b in zip(found, runs.scores(folder)))
    worst = 0.0
    for row in rows:
        ids, count = row["prompt_ids"] + row["completion_ids"], len(row["completion_ids"])
        log = torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), -1)[:-1]
        picked = log.gather(1, torch.tensor(ids[1:])[:, None])[-count:, 0]
        worst = max(worst, max(abs(a - b) for a, b in zip(picked.tolist(), row["logprobs"])))
    return worst


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--attune", required=True)
    parser.add_argument("--model", default="smollm2")
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    os.environ["HF_HUB_OFFLINE"] = "1"
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        runs = Runs(os.path.abspath(options.attune), work)
        runs.call("export", "--model", options.model, "--output", "whole", "--type", "bfloat16")
        tokenizer = transformers.AutoTokenizer.from_pretrained(work / "whole")
        torch.manual_seed(1)
        tiny = transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=12, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=512, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, initializer_range=0.2))
        tiny.save_pretrained(work / "tiny")
        tokenizer.save_pretrained(work / "tiny")
        names = ["sft", "reward", "dpo", "kto", *ONLINE, "iterate"]
        cases = [(name, "tiny") for name in names] + [("dpo", options.model), ("reward", options.model)]
        for name, start in cases:
            written = runs.train(name, start, f"{start}-{name}")
            worst = difference(runs, written, name == "reward", start)
            good = worst <= TOLERANCE
            failed = failed or not good
            kind = "adapter" if os.path.exists(os.path.join(written, "adapter_config.json")) else "whole"
            print(f"{name:10} from {start:8} {kind:8} worst difference {worst:.2e}{'' if good else '  DIFFERS'}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
