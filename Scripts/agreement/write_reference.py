# SPDX-License-Identifier: Apache-2.0
"""Writes what transformers computes for SmolLM2, for `make agreement` to hold Attune against.

    python write_reference.py --gguf MODEL.gguf --output DIR

DIR receives reference.json (texts' ids and log-probabilities, greedy continuations with the margin
between the two best logits, losses over ten AdamW steps at learning rate 1e-5) and
gradients.safetensors (the gradient of every tensor for one batch). float32, one thread setting.
"""
import argparse
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
rows = []
with torch.no_grad():
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        logits = model(torch.tensor([ids])).logits[0].double()
        log_probability = logits.log_softmax(-1)
        rows.append({"text": text, "ids": ids, "log_probabilities": [
            log_probability[i - 1, ids[i]].item() for i in range(1, len(ids))]})
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


def mean_loss():
    total, count = 0.0, 0
    for ids in batch:
        logits = model(torch.tensor([ids])).logits[0]
        total = total - logits.log_softmax(-1)[
            torch.arange(len(ids) - 1), torch.tensor(ids[1:])].sum()
        count += len(ids) - 1
    return total / count


model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.999), eps=1e-8,
                              weight_decay=0.01)
losses = []
for step in range(10):
    optimizer.zero_grad()
    loss = mean_loss()
    loss.backward()
    losses.append(loss.item())
    if step == 0:
        save_file({n: p.grad.contiguous() for n, p in model.named_parameters()},
                  os.path.join(options.output, "gradients.safetensors"))
    optimizer.step()
json.dump({"rows": rows, "greedy": greedy, "batch": batch, "losses": losses,
           "learning_rate": 1e-5, "weight_decay": 0.01},
          open(os.path.join(options.output, "reference.json"), "w"))
