# SPDX-License-Identifier: Apache-2.0
"""Has Attune write models as GGUF files and llama.cpp load them: what each type costs.

usage: export.py --attune .build/release/attune [--model smollm2] [--types f32,f16,q4_k_m] [--json FILE]
       export.py --attune .build/release/attune --model smollm2 --adapter FOLDER
(needs xllamacpp, torch, transformers, gguf, peft)

Without --model the tiny models of Tests/Fixtures/models, as f32 and f16, against transformers: families that
llama.cpp has no name for are printed with the reason. With it one model, in every type, against transformers
in float32 on 200 lines of text: the file's size, the largest difference of log-probabilities of the 20 likeliest
tokens, perplexity, and at how many positions both have the same likeliest token (positions where transformers'
two best are closer than the difference are left out, since they say nothing). llama.cpp keeps keys and values in
float32, of f16 in float16. With --adapter the model as f32 with a run's adapters beside it, and with them merged in, against
transformers with peft.
Exit code 1 if f32 is off by more than 1e-3 (1e-2 where llama.cpp takes GELU from a table), or a greedy answer differs.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import gguf
import numpy
import torch
import transformers

import llama_cpp

ROOT = pathlib.Path(__file__).resolve().parents[2]
TYPES = "f32,f16,bf16,q8_0,q6_k,q5_k_m,q5_k_s,q5_1,q5_0,q4_k_m,q4_k_s,q4_1,q4_0"
# llama.cpp's GELU of float32 numbers is a table of float16 ones.
GELU = {"gpt2", "gemma", "gemma2", "gemma3", "pythia"}
# Windows that llama.cpp reads and does not apply: texts that they don't reach.
WINDOWS = {"mistral": 5, "phi3": 6}


def tokenizer(size):
    """Byte-level, of as many tokens as the tiny models have: their ids are what is compared."""
    alphabet = [chr(c) for c in list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))]
    words = ["<unk>", "<s>", "</s>"] + alphabet[:size - 3]
    return {"added_tokens": [{"id": i, "content": text, "special": True} for i, text in enumerate(words[:3])],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
            "decoder": {"type": "ByteLevel"},
            "model": {"type": "BPE", "vocab": {text: i for i, text in enumerate(words)}, "merges": []}}


def lengthen(config):
    """LongRoPE goes by the text's length in transformers, by the context's in llama.cpp, which is 256 at least: the short
    factors are compared, with a model that was trained on more."""
    settings = json.loads(config.read_text())
    rotary = settings.get("rope_parameters") or {}
    if rotary.get("rope_type") != "longrope":
        return
    for place in (settings, rotary):
        place["original_max_position_embeddings"] = 1024
    settings["max_position_embeddings"] = 2048
    config.write_text(json.dumps(settings))


def export(options, source, target, kind, to="gguf"):
    return subprocess.run([options.attune, "export", "--model", str(source), "--to", to, "--type", kind,
                           "--output", str(target)], capture_output=True, text=True)


def pretrained(model):
    """What transformers reads: a folder, a GGUF file, or the one that `attune pull` fetched under this name."""
    path = pathlib.Path(model)
    if not path.exists():
        cache = os.environ.get("ATTUNE_CACHE") or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "attune")
        path = pathlib.Path(cache) / model
    if path.is_dir() and not (path / "config.json").exists():
        path = next(path.glob("*.gguf"), path)
    if path.suffix == ".gguf":
        return {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    return {"pretrained_model_name_or_path": path}


def reference(pretrained_model_name_or_path, adapter=None, **more):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        pretrained_model_name_or_path, dtype=torch.float32, attn_implementation="eager", **more).eval()
    if adapter:
        import peft
        model = peft.PeftModel.from_pretrained(model, adapter).eval()

    def log_probabilities(ids):
        with torch.no_grad():
            return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1).numpy()
    return log_probabilities


class Figures:
    def __init__(self):
        self.apart, self.loss, self.own_loss, self.tokens, self.same, self.counted = 0.0, 0.0, 0.0, 0, 0, 0

    def add(self, ids, ours, theirs):
        best = numpy.argsort(ours, axis=1)[:, -20:]
        rows = numpy.arange(len(ids))[:, None]
        difference = numpy.abs(ours - theirs)[rows, best]
        self.apart = max(self.apart, float(difference.max()))
        for place in range(len(ids) - 1):
            self.loss -= theirs[place, ids[place + 1]]
            self.own_loss -= ours[place, ids[place + 1]]
            self.tokens += 1
        for place in range(len(ids)):
            first, second = ours[place, best[place, -1]], ours[place, best[place, -2]]
            if first - second > 2 * difference[place].max():
                self.counted += 1
                self.same += int(theirs[place].argmax() == best[place, -1])


def tiny(options):
    failed = 0
    for source in sorted((ROOT / "Tests/Fixtures/models").iterdir()):
        with tempfile.TemporaryDirectory() as folder:
            given = pathlib.Path(folder) / "given"
            shutil.copytree(source, given, ignore=shutil.ignore_patterns("*.gguf", "gradients*", "reference*"))
            (given / "tokenizer.json").write_text(json.dumps(tokenizer(96)))
            (given / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
            lengthen(given / "config.json")
            theirs = reference(given)
            for kind in ("f32", "f16"):
                target = pathlib.Path(folder) / f"{kind}.gguf"
                done = export(options, given, target, kind)
                if done.returncode:
                    print(f"{source.name:14s} {done.stderr.strip().split(': ', 2)[-1]}")
                    break
                try:
                    model = llama_cpp.Model(target, cache=0 if kind == "f32" else 1)
                except RuntimeError as error:
                    print(source.name, error)
                    failed += 1
                    break
                figures = Figures()
                for ids in json.loads((source / "reference.json").read_text())["input_ids"]:
                    ids = ids[:WINDOWS.get(source.name)]
                    figures.add(ids, theirs(ids), model.log_probabilities(ids))
                model.close()
                limit = {"f32": 1e-2 if source.name in GELU else 1e-3, "f16": 0.1}[kind]
                is_bad = figures.apart > limit or figures.same < figures.counted
                failed += is_bad
                print(f"{source.name:14s} {kind}: off by {figures.apart:.1e}, same likeliest token "
                      f"{figures.same}/{figures.counted}{'  FAILED' if is_bad else ''}", flush=True)
    return failed


def texts(options, names):
    """Lines of text, each with its ids."""
    pages = [pathlib.Path(options.text)] if options.text else sorted((ROOT / "Documentation").glob("*.md"))
    lines = [line for page in pages for line in page.read_text().splitlines() if 40 < len(line) and line[0].isalpha()]
    return {line: names(line)["input_ids"][:options.longest] for line in lines[:options.lines]}


def adapted(options):
    given = pretrained(options.model)
    given_ids = texts(options, transformers.AutoTokenizer.from_pretrained(**given)).values()
    theirs = reference(**given, adapter=options.adapter)
    expected = [theirs(ids) for ids in given_ids]
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        base, beside, merged = (pathlib.Path(place) / f"{name}.gguf" for name in ("base", "beside", "merged"))
        for made, target, to in ((options.model, base, "gguf"), (options.adapter, beside, "adapter-gguf"), (options.adapter, merged, "gguf")):
            done = export(options, made, target, "f32", to)
            if done.returncode:
                sys.exit(done.stderr)
        for name, path, adapter in (("beside", base, beside), ("merged", merged, None), ("left out", base, None)):
            model = llama_cpp.Model(path, longest=options.longest, adapter=adapter)
            figures = Figures()
            for ids, ours in zip(given_ids, expected):
                figures.add(ids, ours, model.log_probabilities(ids))
            model.close()
            print(f"adapters {name}: off by {figures.apart:.2g}, same likeliest token {figures.same} of {figures.counted}", flush=True)
            # Without them it is another model.
            failed += (figures.apart > 1e-3) != (name == "left out")
    return failed


def whole(options):
    given = pretrained(options.model)
    ids_of_lines = texts(options, transformers.AutoTokenizer.from_pretrained(**given))
    theirs = reference(**given)
    expected = [theirs(ids) for ids in ids_of_lines.values()]
    failed, rows = 0, []
    print(f"{len(ids_of_lines)} lines, {sum(map(len, ids_of_lines.values()))} tokens of {options.model}")
    print("| type | MB | bits a weight | off by at most | perplexity | same likeliest token |\n| --- | --- | --- | --- | --- | --- |")
    for kind in options.types.split(","):
        with tempfile.TemporaryDirectory() as place:
            target = pathlib.Path(place) / f"{kind}.gguf"
            done = export(options, options.model, target, kind)
            if done.returncode:
                print(kind, done.stderr.strip())
                failed += 1
                continue
            count = sum(math.prod(t.shape) for t in gguf.GGUFReader(target).tensors)
            model = llama_cpp.Model(target, longest=options.longest, cache=1 if kind == "f16" else 0)
            figures = Figures()
            for (line, ids), ours in zip(ids_of_lines.items(), expected):
                if model.encode(line) != ids[:len(model.encode(line))] and len(ids) < options.longest:
                    print(f"llama.cpp makes other tokens of {line!r}")
                    failed += 1
                figures.add(ids, ours, model.log_probabilities(ids))
            model.close()
            size = target.stat().st_size
            if not rows:
                print(f"| transformers | | 32 | | {math.exp(figures.own_loss / figures.tokens):.3f} | |")
            row = {"type": kind, "megabytes": size / 1e6, "bits": 8 * size / count, "apart": figures.apart,
                   "perplexity": math.exp(figures.loss / figures.tokens), "same": figures.same,
                   "counted": figures.counted}
            rows.append(row)
            print(f"| {kind} | {size / 1e6:.1f} | {8 * size / count:.2f} | {figures.apart:.2g} | {row['perplexity']:.3f} | "
                  f"{figures.same} of {figures.counted} |", flush=True)
            failed += kind == "f32" and figures.apart > 1e-3
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attune", required=True)
    parser.add_argument("--model")
    parser.add_argument("--adapter", help="a run's folder of adapters of --model")
    parser.add_argument("--types", default=TYPES)
    parser.add_argument("--text", help="lines of text (default: the pages of Documentation)")
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--longest", type=int, default=128)
    parser.add_argument("--json")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit((adapted(options) if options.adapter else whole(options) if options.model else tiny(options)) > 0)


main()
