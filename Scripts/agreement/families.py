# SPDX-License-Identifier: Apache-2.0
"""Has Attune write every tiny model of Tests/Fixtures/models and transformers load it: logits must be equal.

usage: families.py --attune .build/release/attune   (needs torch, transformers)

The models get a tokenizer of seven tokens, so that they can be opened.
Exit code 1 if a logit differs.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKENIZER = {
    "added_tokens": [{"id": id, "content": text, "special": True} for id, text in enumerate(["<unk>", "<s>", "</s>"])],
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"},
    "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"},
    "model": {"type": "BPE", "unk_token": "<unk>", "vocab": {
        text: id for id, text in enumerate(["<unk>", "<s>", "</s>", "▁", "a", "b", "ab"])}, "merges": ["a b"]}}


def logits(folder, sequences):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits for ids in sequences]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attune", required=True)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    failed = 0
    for source in sorted((ROOT / "Tests/Fixtures/models").iterdir()):
        with tempfile.TemporaryDirectory() as folder:
            given, written = pathlib.Path(folder) / "given", pathlib.Path(folder) / "written"
            shutil.copytree(source, given, ignore=shutil.ignore_patterns("*.gguf", "gradients*", "reference*"))
            (given / "tokenizer.json").write_text(json.dumps(TOKENIZER))
            done = subprocess.run([options.attune, "export", "--model", str(given), "--output", str(written)],
                                  capture_output=True, text=True)
            if done.returncode:
                print(source.name, done.stderr.strip())
                failed += 1
                continue
            sequences = json.loads((source / "reference.json").read_text())["input_ids"]
            apart = max((a - b).abs().max().item()
                        for a, b in zip(logits(source, sequences), logits(written, sequences)))
            print(f"{source.name:14s} largest difference of logits {apart:.1e}")
            failed += apart != 0
    sys.exit(failed > 0)


main()
