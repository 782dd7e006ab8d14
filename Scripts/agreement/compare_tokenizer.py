# SPDX-License-Identifier: Apache-2.0
"""Compares `attune tokenize` with Hugging Face's `tokenizers` on varied text, id by id.

usage: compare_tokenizer.py --attune .build/release/attune --model MODEL [--oracle DIR] [--lines N] [--seed S]

MODEL is what attune is given: a directory with tokenizer.json, or a GGUF file. The oracle is the tokenizer.json
in DIR (by default MODEL); for a GGUF file it is built from the metadata by hand, as SmolLM2's or Qwen2's own is.
Needs `tokenizers`, and `gguf` for GGUF files. Exit code 1 if a line differs.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from varied_text import lines


def from_gguf(path):
    """SmolLM2's tokenizer: digits one by one, then GPT-2's pattern. Or Qwen2's: NFC, then a pattern of its own.
    Or SentencePiece's (Gemma, Llama 2): the merges that the scores make."""
    import gguf

    fields = gguf.GGUFReader(path).fields
    if fields["tokenizer.ggml.model"].contents() == "llama":
        return from_scores(fields)
    tokens, merges, types = (fields[f"tokenizer.ggml.{k}"].contents() for k in ("tokens", "merges", "token_type"))
    pre = fields["tokenizer.ggml.pre"].contents()
    assert pre in ("smollm", "qwen2"), pre
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=[tuple(m.split(" ")) for m in merges]))
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
        pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                   r"|\s*[\r\n]+|\s+(?!\S)|\s+")
        first = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        then = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    else:
        first = pre_tokenizers.Digits(individual_digits=True)
        then = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first, then])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, y in zip(tokens, types) if y == 3])
    return tokenizer


def from_scores(fields):
    read = lambda key, otherwise=None: (f := fields.get(f"tokenizer.ggml.{key}")) and f.contents() or otherwise
    types, scores = read("token_type"), read("scores")
    prefix = fields["tokenizer.ggml.add_space_prefix"].contents() if "tokenizer.ggml.add_space_prefix" in fields else True
    # llama.cpp's converter writes the spaces of user-defined tokens as spaces, and takes away their scores.
    tokens = [t.replace(" ", "▁") if y == 4 else t for t, y in zip(read("tokens"), types)]
    vocabulary, control = {t: i for i, t in enumerate(tokens)}, {t for t, y in zip(tokens, types) if y == 3}
    merges = []
    for token, score, kind in zip(tokens, scores, types):
        cuts = [] if kind in (2, 3, 6) else [(token[:i], token[i:]) for i in range(1, len(token))]
        cuts = [c for c in cuts if c[0] in vocabulary and c[1] in vocabulary and not control & set(c)]
        cuts.sort(key=lambda c: (vocabulary[c[0]], vocabulary[c[1]]))
        merges += [(*c, 0 if kind == 4 else score) for c in cuts]
    merges.sort(key=lambda c: (c[2], len(c[0]), len(c[1])), reverse=True)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[c[:2] for c in merges], unk_token="<unk>",
                                     fuse_unk=True, byte_fallback=6 in types))
    if prefix:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in tokens if t in control])
    # SentencePiece finds them where spaces are marks already.
    tokenizer.add_tokens([AddedToken(t, normalized=not prefix) for t, y in zip(tokens, types) if y == 4])
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attune", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--oracle")
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=10, help="how many differing lines to print")
    options = parser.parse_args()
    oracle = pathlib.Path(options.oracle or options.model)
    if oracle.is_dir():
        tokenizer = Tokenizer.from_file(str(oracle / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
    else:
        tokenizer = from_gguf(oracle)
    special = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    text = lines(options.lines, options.seed, special or ["<|endoftext|>"])
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "lines.txt"
        data.write_bytes("".join(line + "\n" for line in text).encode())
        run = subprocess.run([options.attune, "tokenize", "--model", options.model, "--data", str(data)],
                             capture_output=True, check=False)
    if run.returncode:
        sys.exit(f"attune tokenize failed: {run.stderr.decode()}")
    ours = [json.loads(line) for line in run.stdout.splitlines()]
    if len(ours) != len(text):
        sys.exit(f"{len(text)} lines went in, {len(ours)} came out")
    theirs = [e.ids for e in tokenizer.encode_batch(text, add_special_tokens=False)]
    different = [i for i in range(len(text)) if ours[i] != theirs[i]]
    for i in different[: options.show]:
        a, b = ours[i], theirs[i]
        k = next((k for k in range(min(len(a), len(b))) if a[k] != b[k]), min(len(a), len(b)))
        around = [tokenizer.id_to_token(t) for t in b[max(0, k - 2): k + 4]]
        print(f"line {i + 1}: {ascii(text[i][:200])}\n  differs at {k}: attune {a[k:k + 4]}, tokenizers {b[k:k + 4]} {around}")
    total = sum(map(len, theirs))
    print(f"{len(text)} lines, {total} tokens, {len(different)} lines differ (seed {options.seed})")
    sys.exit(1 if different else 0)


main()
