#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Takes the README's picture of the labelling page: Documentation/pictures/page.png.

    python3 Scripts/pictures/page.py [--attune .build/release/attune] [--output FILE]

Serves a few answers from a store of its own, has two people label some of them, and has a headless
Chromium (what `make test` installs) show the page to a third.
"""
import argparse
import json
import pathlib
import re
import subprocess
import tempfile
import urllib.request

from browser import small_picture

ROOT = pathlib.Path(__file__).resolve().parents[2]

GUIDELINES = """\
Prefer the answer that is **right**. Of two that are right, prefer the shorter.

- Tone does not matter.
- An answer that makes something up is *both bad* at best.
"""

COUNTING = """\
Read the file once and count as you go:

```python
from collections import Counter

with open("notes.txt") as file:
    words = Counter(file.read().split())
print(words.most_common(3))
```

This takes time that grows with the length of the file.
"""

ANSWERS = [
    ("Which three words are the most frequent in notes.txt?", [
        COUNTING,
        "You can sort the words and look which ones repeat:\n\n1. Open `notes.txt`.\n2. Sort its words.\n"
        "3. Count by hand which of them come up most often.",
    ]),
    ("Why is the sky blue?", [
        "Air scatters short waves more than long ones, so blue light reaches us from everywhere.",
        "Because it mirrors the sea.",
    ]),
    ("Name a prime above 20.", ["23", "21 = 3*7 is one."]),
    ("How do I say thank you in Norwegian?", ["*Takk*, or *tusen takk*.", "*Tack så mycket*."]),
]


def serve(attune, folder):
    """Starts the page and returns its process and address."""
    rows = [
        {"prompt": prompt, "completions": [{"text": text, "finish_reason": "stop"} for text in texts]}
        for prompt, texts in ANSWERS
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "guidelines.md").write_text(GUIDELINES)
    process = subprocess.Popen(
        [attune, "collect", "--samples", "samples.jsonl", "--store", "feedback.db", "--port", "0",
         "--votes", "3", "--guidelines", "guidelines.md"],
        cwd=folder, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if found := re.search(r"http://\S+/", line):
            return process, found.group()
    raise SystemExit("attune collect did not start")


def ask(url, path, body, headers):
    data = json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(url + path, data, headers))


def label(url, name, count, skipping=None):
    """Has somebody label so many questions; one whose prompt begins so is passed over, not answered."""
    headers = {"Content-Type": "application/json"}
    with ask(url, "api/session", {"name": name}, headers) as answer:
        headers["Cookie"] = answer.headers["Set-Cookie"].split(";")[0]
        headers["X-Attune-Seal"] = json.load(answer)["seal"]
    turn = json.load(ask(url, "api/next", {}, headers))
    while turn["state"] == "question" and count > 0:
        if skipping and skipping in turn["prompt"][0]["html"]:
            return
        body = {"key": str(count), "question": turn["question"], "ranks": [1, 2], "milliseconds": 5000}
        turn = json.load(ask(url, "api/label", body, headers))
        count -= 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--attune", default=ROOT / ".build/release/attune", type=pathlib.Path)
    parser.add_argument(
        "--output", default=ROOT / "Documentation/pictures/page.png", type=pathlib.Path)
    given = parser.parse_args()
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        process, url = serve(given.attune.resolve(), pathlib.Path(folder))
        try:
            for name, count in [("bert", 3), ("carla", 2)]:
                label(url, name, count)
            # Until the question with code is the one before her.
            label(url, "anna", len(ANSWERS), skipping="notes.txt")
            given.output.write_bytes(small_picture(f"{url}#name=anna", 1160, 760))
        finally:
            process.terminate()
            process.wait()
    print(f"{given.output}: {given.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
