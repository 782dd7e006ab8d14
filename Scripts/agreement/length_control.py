#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the win rate at equal length of `attune evaluate --judge` against alpaca_eval's own function.

    length_control.py --attune .build/release/attune [--prompts 200]   (needs alpaca_eval 0.6.6, setuptools<80)

Two tiny models of Tests/Fixtures/models answer made-up prompts; the judge is a server of this script whose preference
follows the answers' lengths, their letters and the prompt's difficulty. alpaca_eval gets the same answers and
preferences, with `length_controlled_minimal` and `length_controlled_noreg`. Exit code 1 if a rate is 0.1 points off.
"""
import argparse
import http.server
import json
import math
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from unittest import mock

import pandas as pd
from alpaca_eval.metrics import glm_winrate

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKENIZER = {
    "added_tokens": [{"id": i, "content": text, "special": True} for i, text in enumerate(["<unk>", "<s>", "</s>"])],
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"},
    "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"},
    "model": {"type": "BPE", "unk_token": "<unk>", "vocab": {
        text: i for i, text in enumerate(["<unk>", "<s>", "</s>", "▁", "a", "b", "ab"])}, "merges": ["a b"]}}


def quality(text, difficulty):
    """What the judge makes of an answer: its length, its letters, and luck that belongs to the text."""
    luck = random.Random(text).gauss(0, 1)
    return 0.15 * len(text) + 0.1 * text.count("a") * (1 + difficulty) + 0.5 * luck


def preference(first, second, difficulty):
    """P(the first answer is better), the same in both orders."""
    return 1 / (1 + math.exp(quality(second, difficulty) - quality(first, difficulty)))


class Judge(http.server.BaseHTTPRequestHandler):
    difficulties = {}

    def log_message(self, *_):
        pass

    def reply(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply({"data": [{"id": "made-up"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][-1]["content"]
        prompt = asked.split("Conversation:\n")[1].split("\n\nPrinciple:")[0]
        first = asked.split("\n\nAnswer (A): ")[1].split("\n\nAnswer (B): ")[0]
        second = asked.split("\n\nAnswer (B): ")[1].split("\n\nWhich answer")[0]
        p = preference(first, second, self.difficulties[prompt])
        top = [{"token": "A", "logprob": math.log(p)}, {"token": "B", "logprob": math.log(1 - p)}]
        self.reply({"choices": [{"message": {"role": "assistant", "content": "A"}, "finish_reason": "stop", "logprobs": {
            "content": [{"token": "A", "logprob": math.log(p), "top_logprobs": top}]}}]})


def alpaca(name, rows, folder):
    gamed = pd.DataFrame({"index": range(len(rows)), "model": "gamed",
                          "instruction_difficulty": [row["difficulty"] for row in rows]})
    gamed.to_csv(folder / "df_gamed.csv", index=False)
    frame = pd.DataFrame({
        "preference": [1 + row["p"] for row in rows], "index": range(len(rows)), "generator_1": "start",
        "generator_2": "policy", "annotator": "judge", "output_1": [row["start"] for row in rows],
        "output_2": [row["policy"] for row in rows]})
    with mock.patch.object(glm_winrate, "hf_hub_download", lambda **_: str(folder / "df_gamed.csv")):
        return glm_winrate.get_length_controlled_winrate(frame, name, save_weights_dir=None)["length_controlled_winrate"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attune", required=True)
    parser.add_argument("--prompts", type=int, default=200)
    options = parser.parse_args()
    attune = str(pathlib.Path(options.attune).resolve())
    rng = random.Random(3)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for role, source in (("policy", "llama-tied"), ("start", "gpt2")):
            shutil.copytree(ROOT / "Tests/Fixtures/models" / source, folder / role,
                            ignore=shutil.ignore_patterns("*.gguf", "gradients*", "reference*"))
            (folder / role / "tokenizer.json").write_text(json.dumps(TOKENIZER))
        texts = set()
        while len(texts) < options.prompts:
            texts.add("".join(rng.choice("ab") for _ in range(10)))
        prompts = sorted(texts)
        difficulties = [rng.gauss(0, 1) for _ in prompts]
        Judge.difficulties = dict(zip(prompts, difficulties))
        (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
        (folder / "difficulty.csv").write_text(
            "index,instruction_difficulty\n" + "".join(f"{i},{d!r}\n" for i, d in enumerate(difficulties)))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Judge)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        failed = False
        for glm, more in (("length_controlled_minimal", []),
                          ("length_controlled_noreg", ["--set", f"difficulties={folder / 'difficulty.csv'}"])):
            done = subprocess.run(
                [attune, "evaluate", "--model", "policy", "--against", "start", "--data", "prompts.jsonl", "--n", "1",
                 "--max-tokens", "24", "--judge", f"http://127.0.0.1:{server.server_port}", "--answers",
                 "answers.jsonl", "--json", *more], cwd=folder, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            rate = next(r for r in json.loads(done.stdout)["win_rates"] if r.get("judged"))
            rows = []
            for line, difficulty in zip((folder / "answers.jsonl").read_text().splitlines(), difficulties):
                answers = json.loads(line)["answers"]
                ours, theirs = answers["policy"][0]["text"], answers["start"][0]["text"]
                p = 0.5 if ours == theirs else preference(ours, theirs, difficulty)
                rows.append({"p": p, "policy": ours, "start": theirs, "difficulty": difficulty})
            found, wanted = 100 * rate["judged"]["length_controlled"], alpaca(glm, rows, folder)
            print(f"{glm}: {len(rows)} prompts, plain {100 * rate['value']:.3f}, at equal length {found:.3f}, "
                  f"alpaca_eval {wanted:.3f}")
            failed |= not abs(found - wanted) < 0.1
    sys.exit(failed)


main()
