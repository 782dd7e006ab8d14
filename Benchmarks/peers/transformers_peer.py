# SPDX-License-Identifier: Apache-2.0
"""The peer's half of compare.py: PyTorch and transformers on the same model, shapes and threads.

Prints one JSON object. Run by compare.py in a virtual environment of its own.
"""
import argparse
import contextlib
import json
import os
import resource
import statistics
import sys
import time

arguments = argparse.ArgumentParser()
arguments.add_argument("work", choices=["train", "sample"])
arguments.add_argument("--model", required=True, help="a folder")
arguments.add_argument("--precision", choices=["float32", "autocast", "bf16"], default="float32")
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--shape", default="8x128", help="of a training step: sequences x tokens")
arguments.add_argument("--steps", type=int, default=3)
arguments.add_argument("--sequences", default="1,32", help="how many are sampled side by side")
arguments.add_argument("--sample-tokens", type=int, default=64)
options = arguments.parse_args()

os.environ["OMP_NUM_THREADS"] = str(options.threads)
os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
import transformers  # noqa: E402

torch.set_num_threads(options.threads)
model = transformers.AutoModelForCausalLM.from_pretrained(
    options.model, dtype=torch.bfloat16 if options.precision == "bf16" else torch.float32)
result = {
    "torch": torch.__version__, "transformers": transformers.__version__,
    "options": f"weights {next(model.parameters()).dtype}, attention "
               f"{model.config._attn_implementation}, "
               f"{'autocast to bfloat16' if options.precision == 'autocast' else 'no autocast'}, "
               "no recomputation, AdamW (PyTorch's default)"}


def numbers():
    """The numbers that products are computed in."""
    if options.precision == "autocast":
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def sample_rate(batch):
    prompt = torch.randint(0, model.config.vocab_size, (1, 16)).repeat(batch, 1)

    def seconds(tokens):
        start = time.perf_counter()
        with torch.no_grad(), numbers():
            model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=True,
                           top_k=0, max_new_tokens=tokens, min_new_tokens=tokens,
                           pad_token_id=0)
        return time.perf_counter() - start

    seconds(2)
    short = seconds(2)
    long = seconds(options.sample_tokens + 2)
    return options.sample_tokens * batch / (long - short)


torch.manual_seed(0)
if options.work == "sample":
    model.eval()
    result["sampling"] = {n: sample_rate(n) for n in map(int, options.sequences.split(","))}
else:
    sequences, length = map(int, options.shape.split("x"))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.0)
    ids = torch.randint(0, model.config.vocab_size, (sequences, length))
    times = []
    for _ in range(options.steps + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        with numbers():
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter() - start)
    result["train_tokens_per_second"] = sequences * length / statistics.median(times[1:])
    # As transformers is trained by default; the first step's pages count, as ours do.
    result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
json.dump(result, sys.stdout)
print()
