# SPDX-License-Identifier: Apache-2.0
"""TRL's half of compare_trl.py: one of its trainers on the same weights, rows, shapes and threads.

Prints one JSON object. Run by compare_trl.py in a virtual environment of its own. `prepare` writes
the folders that both sides load instead.
"""
import argparse
import dataclasses
import json
import os
import statistics
import sys
import time

arguments = argparse.ArgumentParser()
arguments.add_argument("method", choices=["sft", "dpo", "kto", "reward", "rloo", "grpo", "prepare"])
arguments.add_argument("--model", required=True)
arguments.add_argument("--endless", help="prepare: the folder of the model that no answer ends for")
arguments.add_argument("--gguf", help="prepare: what is read")
arguments.add_argument("--data")
arguments.add_argument("--scratch", help="a folder that is empty at the start of every run")
arguments.add_argument("--batch", type=int, help="rows (of rloo and grpo: samples) of a step")
arguments.add_argument("--steps", type=int, default=4)
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--learning-rate", type=float, default=1e-5)
arguments.add_argument("--lora", action="store_true")
arguments.add_argument("--live-reference", action="store_true")
arguments.add_argument("--column", default="defaults", help="what is set of TRL's options",
                       choices=["defaults", "no-checkpointing", "float32"])
options = arguments.parse_args()

os.environ["OMP_NUM_THREADS"] = str(options.threads)
os.environ["HF_HUB_OFFLINE"] = "1"
if options.scratch:
    # What one run computed must not make the next one shorter.
    os.environ["HF_DATASETS_CACHE"] = os.path.join(options.scratch, "datasets")
import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback  # noqa: E402

torch.set_num_threads(options.threads)


def prepare():
    """The GGUF's weights as a folder, and beside it one whose end token is one that is never said,
    so that all answers are as long as they may be."""
    folder, name = os.path.split(os.path.abspath(options.gguf))
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    # One that was read from GGUF says that it is quantised, and can't be saved.
    if hasattr(read.config, "quantization_config"):
        del read.config.quantization_config
    model = AutoModelForCausalLM.from_config(read.config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    tokenizer.pad_token = "<|endoftext|>"
    model.save_pretrained(options.model)
    tokenizer.save_pretrained(options.model)
    os.makedirs(options.endless, exist_ok=True)
    tokenizer.eos_token = "<repo_name>"
    model.config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.config.save_pretrained(options.endless)
    model.generation_config.save_pretrained(options.endless)
    tokenizer.save_pretrained(options.endless)
    weights = os.path.join(options.endless, "model.safetensors")
    if not os.path.exists(weights):
        os.symlink(os.path.join(os.path.abspath(options.model), "model.safetensors"), weights)


if options.method == "prepare":
    prepare()
    sys.exit()

import trl  # noqa: E402
from datasets import Dataset  # noqa: E402
from peft import LoraConfig  # noqa: E402


class Watch(TrainerCallback):
    """When each step ended, and what was logged of it."""

    def __init__(self):
        self.ends, self.logs = [], []

    def on_step_end(self, args, state, control, **others):
        self.ends.append(time.perf_counter())

    def on_log(self, args, state, control, logs=None, **others):
        if logs and "loss" in logs:
            self.logs.append(logs)


def near_twenty_words(completions, **others):
    return [-abs(len(text.split()) - 20) for text in completions]


with open(options.data) as file:
    rows = [json.loads(line) for line in file]
# What makes it this benchmark; all else is TRL's, the optimiser too. Its defaults are a float32 model
# under autocast to bfloat16, and activations that are computed again in the backward pass.
settings = {
    "output_dir": options.scratch, "use_cpu": True, "max_steps": options.steps,
    "per_device_train_batch_size": options.batch, "learning_rate": options.learning_rate,
    "lr_scheduler_type": "constant", "logging_steps": 1, "report_to": [], "save_strategy": "no",
    "disable_tqdm": True}
if options.column != "defaults":
    settings["gradient_checkpointing"] = False
if options.column == "float32":
    settings["bf16"] = False
watch = Watch()
common = {
    "processing_class": AutoTokenizer.from_pretrained(options.model), "callbacks": [watch],
    "train_dataset": Dataset.from_list(rows)}
if options.lora:
    common["peft_config"] = LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")


online = {
    "num_generations": 4, "max_completion_length": 64, "temperature": 1.0}
# The trainer, its options, and what this benchmark sets of them.
make, config, own = {
    "sft": (trl.SFTTrainer, trl.SFTConfig, {"completion_only_loss": True}),
    "dpo": (trl.DPOTrainer, trl.DPOConfig,
            {"beta": 0.1, "precompute_ref_log_probs": not options.live_reference}),
    "kto": (trl.KTOTrainer, trl.KTOConfig, {"beta": 0.1, "precompute_ref_log_probs": True}),
    "reward": (trl.RewardTrainer, trl.RewardConfig, {}),
    "rloo": (trl.RLOOTrainer, trl.RLOOConfig, {"beta": 0.05, **online}),
    "grpo": (trl.GRPOTrainer, trl.GRPOConfig, {"beta": 0.04, "loss_type": "grpo", **online}),
}[options.method]
if own.keys() & online.keys():
    common["reward_funcs"] = near_twenty_words
# Made before the trainer, which keeps state that another set of options would reset. Without use_cpu
# TRL's bfloat16 is refused on a machine that has no accelerator.
defaults = config(output_dir=options.scratch, use_cpu=True)
args = config(**own, **settings)
trainer = make(options.model, args=args, **common)
if options.method == "reward":
    # From zero as ours: another start would be another loss.
    torch.nn.init.zeros_(trainer.model.get_submodule("score").weight)
# The options that decide speed and memory, and after them all that were set.
names = ["bf16", "gradient_checkpointing", "optim", "per_device_train_batch_size",
         "gradient_accumulation_steps", "max_grad_norm", "torch_compile", "use_cpu"]
names += [field.name for field in dataclasses.fields(args)
          if getattr(args, field.name) != getattr(defaults, field.name) and field.name not in names
          and field.name not in ("output_dir", "logging_dir", "run_name")]
said = {"weights": str(next(trainer.model.parameters()).dtype),
        "attention": trainer.model.config._attn_implementation,
        **{name: str(getattr(args, name)) for name in names}}
trainer.train()

result = {
    "options": said,
    "seconds": [b - a for a, b in zip(watch.ends, watch.ends[1:])],
    "losses": [float(log["loss"]) for log in watch.logs],
    "tokens": float(watch.logs[-1]["num_tokens"]) / options.steps,
    "trl": trl.__version__, "torch": torch.__version__, "transformers": transformers.__version__}
lengths = [float(log["completions/mean_length"]) for log in watch.logs
           if "completions/mean_length" in log]
if lengths:
    result["length"] = statistics.mean(lengths)
json.dump(result, sys.stdout)
print()
