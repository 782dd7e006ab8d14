# SPDX-License-Identifier: Apache-2.0
"""The peer's half of compare.py: PyTorch and transformers on the same model, shapes and threads.

Prints one JSON object. Run by compare.py in a virtual environment of its own.
"""
import argparse
import json
import os
import resource
import statistics
import sys
import time

arguments = argparse.ArgumentParser()
arguments.add_argument("--gguf", required=True)
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--sequences", type=int, default=8)
arguments.add_argument("--length", type=int, default=128)
arguments.add_argument("--steps", type=int, default=3)
arguments.add_argument("--sample-batch", type=int, default=32)
arguments.add_argument("--sample-tokens", type=int, default=64)
arguments.add_argument("--only", choices=["train", "sample"])
options = arguments.parse_args()

os.environ["OMP_NUM_THREADS"] = str(options.threads)
os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

torch.set_num_threads(options.threads)
folder, name = os.path.split(os.path.abspath(options.gguf))
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
result = {"torch": torch.__version__, "threads": torch.get_num_threads()}


def sample_rate(batch):
    prompt = torch.randint(0, model.config.vocab_size, (1, 16)).repeat(batch, 1)

    def seconds(tokens):
        start = time.perf_counter()
        with torch.no_grad():
            model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=True,
                           top_k=0, max_new_tokens=tokens, min_new_tokens=tokens,
                           pad_token_id=0)
        return time.perf_counter() - start

    seconds(2)
    short = seconds(2)
    long = seconds(options.sample_tokens + 2)
    return options.sample_tokens * batch / (long - short)


if options.only != "train":
    model.eval()
    torch.manual_seed(0)
    result["sample_tokens_per_second_single"] = sample_rate(1)
    result["sample_tokens_per_second"] = sample_rate(options.sample_batch)
if options.only != "sample":
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.0)
    ids = torch.randint(0, model.config.vocab_size, (options.sequences, options.length))
    times = []
    for _ in range(options.steps + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter() - start)
    result["train_tokens_per_second"] = (
        options.sequences * options.length / statistics.median(times[1:]))
    # As transformers is trained by default; the first step's pages count, as ours do.
    result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
json.dump(result, sys.stdout)
print()
