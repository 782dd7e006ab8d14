# SPDX-License-Identifier: Apache-2.0
"""What is kept of a command's words and files: everything but what depends on clock, machine and place."""
import fnmatch
import hashlib
import json
import os
import re

# Names of what is measured: that it is there is recorded, not what it is.
MEASURED = ["time", "date", "seconds", "reference_seconds", "seconds/*", "speed/*", "memory/*", "peak_mb",
            "peak_memory_mb", "*tokens_per_second*", "train_step_seconds", "sgemm_*", "metricsBytes"]
# The same in texts: where the page is, what it could ask, dates, rates, durations, sizes.
WORDS = [(r"of \d+ questions finished", "of QUESTIONS finished"),
         (r"http://127\.0\.0\.1:\d+", "PAGE"), (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "DATE"),
         (r"  [\d.]+ (s/\w+|\w+/s)", "  RATE"), (r"\b([\d.]+ (h|min|s) ?)+\b", "TIME"),
         (r"[\d.]+ GFLOP/s at the start(,| and) \d+", "RATE"),
         (r"(?<= %)  +\d+  +\d+$|(?<=\.\d\d)  +\d+  +\d+$", "  TIME  MEMORY"),
         (r"(?<=<td class=\"n\">)\d+</td><td class=\"n\">\d+</td></tr>$", "TIME, MEMORY")]
# Digests of what people said, which holds when they said it.
SAID = ["fingerprint", "inputs"]
# What a run that was gone on with may say otherwise than one that nobody broke.
RESUMED = ["reused", "asked", "remembered"]
RESUMED_WORDS = [(r"<small>in an earlier run</small>", "")]
# Cases whose last digits may differ then too: what is left to ask a local judge is asked in other batches.
NEAR = {"judge/*": 1e-3, "iterate/*judge*": 1e-3}
# What is read, by a file's name; of all others, and of large ones, there is a digest.
ROWS, OBJECTS = ["*.jsonl", "*.answers", "*.answers.?", "*.judged"], ["*.json"]
TEXTS = ["*.html", "*.txt", "*.jinja", "*.csv"]
LARGE = 500_000
# Objects whose keys the program writes in any order.
UNORDERED = ["*.answers", "*.answers.?", "*.judged", "*/round.json", "*/sampled.json"]
# A store's pages hold times; what is in it is exported.
STORES = ["*.db", "*.db-wal", "*.db-shm"]


def fits(name, patterns):
    """Whether a name is as one of some patterns with * and ? has it."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def normal(value, places=(), names=MEASURED, words=WORDS):
    """A value without what is measured; places are folders whose names don't matter."""
    if isinstance(value, dict):
        return {normal(name, places, names, words): "MEASURED" if fits(name, names)
                else normal(inner, places, names, words) for name, inner in value.items()}
    if isinstance(value, list):
        return [normal(inner, places, names, words) for inner in value]
    if isinstance(value, str):
        for place, name in places:
            value = value.replace(place, name)
        for pattern, name in words:
            value = re.sub(pattern, name, value)
    return value


def ordered(value):
    """Keys in the order of the alphabet, also names that stand in one list with their values."""
    if isinstance(value, dict):
        return {name: ordered(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        if value and len(value) % 2 == 0 and all(isinstance(name, str) for name in value[::2]):
            return ordered(dict(zip(value[::2], value[1::2])))
        return [ordered(inner) for inner in value]
    return value


def digest(path):
    """What tells a file's bytes from others."""
    with open(path, "rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": os.path.getsize(path)}


def read(path, name, places):
    """What is kept of a file."""
    if fits(name, STORES):
        return "a store"
    if fits(name, ROWS + OBJECTS + TEXTS) and os.path.getsize(path) <= LARGE:
        try:
            with open(path, encoding="utf-8", newline="") as file:
                text = file.read()
            if fits(name, TEXTS):
                return normal(text.split("\n"), places)
            lines = [row for row in text.split("\n") if row] if fits(name, ROWS) else [text]
            values = [ordered(json.loads(row)) if fits(name, UNORDERED) else json.loads(row) for row in lines]
            return normal(values if fits(name, ROWS) else values[0], places)
        except ValueError:
            pass
    return digest(path)
