# SPDX-License-Identifier: Apache-2.0
"""Writes what transformers computes for a model, for `make agreement` to hold Attune against.

    python write_reference.py --gguf MODEL.gguf --output DIR

DIR receives reference.json (texts' ids and log-probabilities, greedy continuations with the margin
between the two best logits, losses over ten AdamW steps at learning rate 1e-5, and what autocast to bfloat16
and a model held in bfloat16 give in their place) and gradients.safetensors (the gradient of every tensor for
one batch). float32 but for these, one thread setting.
"""
import argparse
import contextlib
import copy
import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

TEXTS = [
    "The capital of France is Paris, and the capital of Italy is Rome.",
    "def add(a, b):\n    return a + b\n\nprint(add(2, 3))",
    "Die Würde des Menschen ist unantastbar.", "12345 + 67890 = 80235",
    "Once upon a time, in a village by the sea, there lived a baker who could not sleep.",
    "私は毎朝コーヒーを飲みます。", "The quick brown fox 🦊 jumps over the lazy dog 🐶.",
    "SELECT name, age FROM users WHERE age > 30 ORDER BY name;",
    "To be, or not to be, that is the question.", "E = mc² was published in 1905.",
]
TOPICS = ["gardening", "the moon", "bread", "taxes", "rivers", "chess", "sleep", "bees", "trains",
          "maps", "salt", "clouds", "glass", "paper", "music", "coffee", "volcanoes", "bicycles",
          "lighthouses", "mathematics"]

arguments = argparse.ArgumentParser()
arguments.add_argument("--gguf", required=True)
arguments.add_argument("--output", required=True)
options = arguments.parse_args()
os.makedirs(options.output, exist_ok=True)
torch.set_num_threads(2)
folder, name = os.path.split(os.path.abspath(options.gguf))
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
model = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=name, dtype=torch.float32, attn_implementation="eager")
model.eval()

texts = TEXTS + [f"Write two sentences about {t}. {t.capitalize()} matters because" for t in TOPICS]
texts += [f"Q: What is {i} times {i + 3}?\nA: {i * (i + 3)}." for i in range(3, 23)]
def log_probabilities(model, ids):
    logits = model(torch.tensor([ids])).logits[0].double()
    log_probability = logits.log_softmax(-1)
    return [log_probability[i - 1, ids[i]].item() for i in range(1, len(ids))]


with torch.no_grad():
    rows = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        rows.append({"text": text, "ids": ids, "log_probabilities": log_probabilities(model, ids)})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = [log_probabilities(model, row["ids"]) for row in rows]
    halves = copy.deepcopy(model).to(torch.bfloat16)
    bf16 = [log_probabilities(halves, row["ids"]) for row in rows]
    del halves
    greedy = []
    for topic in TOPICS:
        ids = tokenizer(f"Tell me about {topic}.", add_special_tokens=False)["input_ids"]
        prompt, margins, past = list(ids), [], None
        feed = torch.tensor([ids])
        for _ in range(64):
            out = model(feed, past_key_values=past, use_cache=True)
            past = out.past_key_values
            top = out.logits[0, -1].topk(2)
            margins.append((top.values[0] - top.values[1]).item())
            ids = ids + [top.indices[0].item()]
            feed = torch.tensor([[ids[-1]]])
        greedy.append({"prompt": prompt, "ids": ids[len(prompt):], "margins": margins})

batch = [row["ids"][:48] for row in rows[:8]]


def mean_loss(model):
    total, count = 0.0, 0
    for ids in batch:
        logits = model(torch.tensor([ids])).logits[0].float()
        total = total - logits.log_softmax(-1)[
            torch.arange(len(ids) - 1), torch.tensor(ids[1:])].sum()
        count += len(ids) - 1
    return total / count


def train(model, context):
    """Losses of ten AdamW steps; the first step's gradients."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.999), eps=1e-8,
                                  weight_decay=0.01)
    losses, gradients = [], {}
    for step in range(10):
        optimizer.zero_grad()
        with context:
            loss = mean_loss(model)
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            gradients = {n: p.grad.clone() for n, p in model.named_parameters()}
        optimizer.step()
    return losses, gradients


start = copy.deepcopy(model)
losses, gradients = train(model, contextlib.nullcontext())
save_file(gradients, os.path.join(options.output, "gradients.safetensors"))
autocast_losses, rounded = train(start, torch.autocast("cpu", dtype=torch.bfloat16))
apart = sum(((rounded[n] - g) ** 2).sum().item() for n, g in gradients.items())
size = sum((g ** 2).sum().item() for g in gradients.values())
json.dump({"rows": rows, "greedy": greedy, "batch": batch, "losses": losses,
           "learning_rate": 1e-5, "weight_decay": 0.01, "autocast": autocast, "bf16": bf16,
           "autocast_losses": autocast_losses, "autocast_gradient_distance": (apart / size) ** 0.5},
          open(os.path.join(options.output, "reference.json"), "w"))
