#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How speed and memory grow with a model's size and with the length of its rows.

    python3 Benchmarks/growth.py [--precision bf16] [--plot Documentation/pictures/growth.svg]

Models of four shapes that people run, from 135 million to 3 billion parameters, are written with random
weights in bfloat16 (speed does not depend on what weights say). Of each `attune bench` takes a step of
LoRA with rank 16 on 4 x 256 tokens, with the base as its file has it and in 4-bit codes; the smallest
also takes full steps of 1,024 tokens, or one row if that is longer, in rows of 128 to 4,096 tokens.
Memory is the process's peak up to the end of training: reading and quantising the model are in it.

The limit is what the step's products and attention would take at the best rate of products alone that
any of the runs saw.
"""
import argparse
import json
import os
import random
import shlex
import sys
from math import log10

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "Benchmarks", "peers"))
import side_by_side  # noqa: E402
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
    "vocab_size": 128256, "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
    "max_position_embeddings": 131072, "tie_word_embeddings": True,
    "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
                     "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}
SHAPES = {
    "SmolLM2-135M": {
        **LLAMA, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64, "vocab_size": 49152,
        "rope_theta": 100000.0, "rope_scaling": None, "max_position_embeddings": 8192},
    "Qwen2.5-0.5B": {
        **LLAMA, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 896,
        "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
        "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 151936, "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0, "rope_scaling": None, "max_position_embeddings": 32768},
    "Llama-3.2-1B": {
        **LLAMA, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
        "num_attention_heads": 32, "head_dim": 64},
    "Llama-3.2-3B": {
        **LLAMA, "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28,
        "num_attention_heads": 24, "head_dim": 128},
}


def tensors(config):
    """Names and shapes of a model's tensors, as Hugging Face has them."""
    width, middle, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    result = {"model.embed_tokens.weight": [config["vocab_size"], width]}
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for name, rows in [("q", queries), ("k", keys), ("v", keys)]:
            result[f"{at}self_attn.{name}_proj.weight"] = [rows, width]
            if config["model_type"] == "qwen2":
                result[f"{at}self_attn.{name}_proj.bias"] = [rows]
        result[at + "self_attn.o_proj.weight"] = [width, queries]
        for name in ["gate", "up"]:
            result[f"{at}mlp.{name}_proj.weight"] = [middle, width]
        result[at + "mlp.down_proj.weight"] = [width, middle]
        for name in ["input_layernorm", "post_attention_layernorm"]:
            result[f"{at}{name}.weight"] = [width]
    result["model.norm.weight"] = [width]
    return result


def size(shape):
    count = 1
    for side in shape:
        count *= side
    return count


def write_model(folder, config):
    """A model directory of random bfloat16 weights, a tensor at a time, and nothing else beside it."""
    if os.path.exists(os.path.join(folder, "config.json")):
        return
    os.makedirs(folder, exist_ok=True)
    print(f"writing {folder}", file=sys.stderr, flush=True)
    header, end = {}, 0
    for name, shape in tensors(config).items():
        begin, end = end, end + 2 * size(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # A bfloat16 has its sign and seven bits of exponent in the upper byte: +-(0.0078 ... 0.031).
    upper = bytes(0x3C | byte & 0x80 for byte in range(256))
    source = random.Random(1)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors(config).items():
            left = size(shape)
            while left:
                count = min(left, 1 << 22)
                left -= count
                if "norm" in name:
                    file.write(b"\x80\x3f" * count)  # ones
                    continue
                numbers = bytearray(source.randbytes(2 * count))
                numbers[1::2] = numbers[1::2].translate(upper)
                file.write(numbers)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({key: value for key, value in config.items() if value is not None}, file, indent=1)


def operations(config, length, full):
    """Floating-point operations of a step for each token, in rows of so many tokens."""
    matrices = sum(size(shape) for shape in tensors(config).values() if len(shape) == 2)
    queries = config["num_attention_heads"] * config["head_dim"]
    # Half of the scores lie behind a token: two products forward, five backward.
    attention = 7 * 2 * (length / 2) * queries * config["num_hidden_layers"]
    return (6 if full else 4) * matrices + attention


class Growth:
    def __init__(self, options):
        self.options, self.rows = options, []

    def run(self, name, sequences, length, *more):
        config = SHAPES[name]
        folder = os.path.join(self.options.folder, name)
        write_model(folder, config)
        line = [side_by_side.attune(), "bench", "--model", folder,
                "--train-shape", f"{sequences}x{length}", "--sample-batch", "1",
                "--sample-tokens", "8", "--steps", str(self.options.steps), "--json",
                "--precision", self.options.precision, *more, *shlex.split(self.options.attune_options)]
        result = side_by_side.last_object(line)
        row = {"model": name, "parameters": sum(map(size, tensors(config).values())),
               "sequences": sequences, "length": length, "options": " ".join(more),
               "tokens_per_second": result["train_tokens_per_second"],
               "step_seconds": result["train_step_seconds"], "memory_mb": result["peak_memory_mb"],
               "gemm_gflops": result["gemm_gflops"],
               "operations": operations(config, length, result.get("rank") is None)}
        self.rows.append(row)
        print(f"{name} {sequences}x{length} {row['options']}: {row['tokens_per_second']:.1f} tokens/s, "
              f"{row['memory_mb']:.0f} MB", file=sys.stderr, flush=True)

    def finish(self):
        best = max(row["gemm_gflops"] for row in self.rows) * 1e9
        for row in self.rows:
            row["limit"] = best / row["operations"]
        print(side_by_side.processor())
        print(f"the best rate of products alone: {best * 1e-9:.0f} GFLOP/s\n")
        print("| model | parameters | step | options | tokens/s | limit | seconds a step | peak MB |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for row in self.rows:
            print(f"| {row['model']} | {row['parameters'] / 1e6:,.0f} M "
                  f"| {row['sequences']} × {row['length']:,} | {row['options'] or 'all weights'} "
                  f"| {row['tokens_per_second']:,.1f} | {row['limit']:,.1f} "
                  f"| {row['step_seconds']:.2f} | {row['memory_mb']:,.0f} |")


def panel(left, top, title, axis, lines, labels):
    """Lines over an axis, both logarithmic, as SVG: lines are (name, colour, dashes, [(x, y)])."""
    width, height = 380, 240
    xs = [log10(x) for *_, points in lines for x, _ in points]
    ys = [log10(y) for *_, points in lines for _, y in points]
    low_x, high_x = min(xs) - 0.05, max(xs) + 0.05
    low_y, high_y = min(ys) - 0.1, max(ys) + 0.1

    def place(x, y):
        return (left + width * (log10(x) - low_x) / (high_x - low_x),
                top + height * (high_y - log10(y)) / (high_y - low_y))
    out = [f'<text x="{left}" y="{top - 16}" font-weight="bold">{title}</text>',
           f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>']
    for x, label in labels:
        at = place(x, 10 ** low_y)[0]
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{top + height}" stroke="#eee"/>'
                   f'<text x="{at:.1f}" y="{top + height + 16}" text-anchor="middle">{label}</text>')
    out.append(f'<text x="{left + width / 2}" y="{top + height + 34}" text-anchor="middle">{axis}</text>')
    for y in [a * 10 ** b for b in range(-1, 5) for a in (1, 2, 5)]:
        if low_y < log10(y) < high_y:
            at = place(10 ** low_x, y)[1]
            out.append(f'<line x1="{left}" x2="{left + width}" y1="{at:.1f}" y2="{at:.1f}" '
                       f'stroke="#eee"/><text x="{left - 6}" y="{at + 4:.1f}" '
                       f'text-anchor="end">{y:g}</text>')
    for number, (name, colour, dashes, points) in enumerate(lines):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        at = top + height + 54 + 16 * number
        for shape in [f'<polyline points="{path}"',
                      f'<polyline points="{left},{at - 4} {left + 24},{at - 4}"']:
            out.append(f'{shape} fill="none" stroke="{colour}" stroke-width="2" '
                       f'stroke-dasharray="{dashes}"/>')
        out.append(f'<text x="{left + 30}" y="{at}">{name}</text>')
    return "\n".join(out)


def plot(path, rows):
    adapters = [row for row in rows if "--rank" in row["options"]]
    full = [row for row in rows if "--rank" not in row["options"]]
    panels = []
    for column, (title, axis, key, chosen) in enumerate([
            ("LoRA, 4 × 256", "parameters", "parameters", adapters),
            ("SmolLM2-135M, all weights", "tokens a row", "length", full)]):
        if not chosen:
            continue
        labels = [(value, f"{value / 1e9:.2g}B" if value > 1e6 else f"{value:,}")
                  for value in sorted({row[key] for row in chosen})]
        for number, (name, value) in enumerate([("Tokens a second", "tokens_per_second"),
                                                ("Peak memory, MB", "memory_mb")]):
            lines = []
            for words, colour in zip(dict.fromkeys(row["options"] for row in chosen),
                                     ["#0b6", "#06c", "#c60"]):
                lines.append((words or "activations kept", colour, "none",
                              [(r[key], r[value]) for r in chosen if r["options"] == words]))
            if value == "tokens_per_second":
                lines.append(("arithmetic limit", "#555", "5 4",
                              sorted({row[key]: row["limit"] for row in chosen}.items())))
            panels.append(panel(60 + 460 * column, 40 + 370 * number, f"{name}, {title}", axis, lines,
                                labels))
    with open(path, "w") as file:
        file.write('<svg xmlns="http://www.w3.org/2000/svg" width="920" height="760" '
                   'font-family="sans-serif" font-size="12">\n<rect width="920" height="760" '
                   'fill="white"/>\n' + "\n".join(panels) + "\n</svg>\n")


arguments = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--folder", default=os.path.join(ROOT, ".build", "growth"),
                       help="where the models lie, 11 GB of them")
arguments.add_argument("--models", default=",".join(SHAPES), help="default: %(default)s")
arguments.add_argument("--lengths", default="128,256,512,1024,2048,4096", help="default: %(default)s")
arguments.add_argument("--precision", default="bf16", choices=["float32", "high", "bf16"])
arguments.add_argument("--steps", type=int, default=2, help="steps that are timed, after the first")
arguments.add_argument("--attune-options", default="", metavar='"--x y"', help="more options of Attune's")
arguments.add_argument("--json", metavar="FILE", help="write every number there")
arguments.add_argument("--plot", metavar="FILE", help="draw it there, as SVG")
options = arguments.parse_args()
unknown = set(filter(None, options.models.split(","))) - set(SHAPES)
if unknown:
    sys.exit(f"--models: there is no {', '.join(unknown)}; there are {', '.join(SHAPES)}")

growth = Growth(options)
for name in filter(None, options.models.split(",")):
    for base in ["as-is", "q4"]:
        growth.run(name, 4, 256, "--rank", "16", "--base-precision", base)
for length in map(int, filter(None, options.lengths.split(","))):
    for more in [[], ["--recompute"]]:
        growth.run("SmolLM2-135M", max(1, 1024 // length), length, *more)
growth.finish()
if options.plot:
    plot(options.plot, growth.rows)
if options.json:
    with open(options.json, "w") as file:
        json.dump(growth.rows, file, indent=1)
