#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills, damaged files and strange requests against attune, for so many minutes from a seed.

MINUTES (default 10) and SEED (default 1) in the environment; ATTUNE names the program. What fails is
told as it happens, its input is kept in .build/campaign/failures, and the exit code is then 1. Refusals
that are right but name neither file nor knob are told and counted apart: the exit code is not theirs.
"""
import collections
import os
import random
import shutil
import sys
import time

sys.dont_write_bytecode = True
from bench import ROOT, Bench  # noqa: E402
from kills import Kills  # noqa: E402
from knobs import Knobs  # noqa: E402
from mutations import Mutations  # noqa: E402
from page import Page  # noqa: E402


class Report:
    """Counts what was tried, and keeps what failed."""

    def __init__(self, folder):
        self.folder = folder
        self.tried = collections.Counter()
        self.failed = collections.Counter()

    def count(self, what):
        self.tried[what] += 1

    def fail(self, kind, words, content=None, name=None):
        self.failed[kind] += 1
        place = ""
        if content is not None:
            os.makedirs(self.folder, exist_ok=True)
            path = os.path.join(self.folder, f"{sum(self.failed.values())}-{name}")
            with open(path, "wb") as file:
                file.write(content)
            place = f" ({os.path.relpath(path, ROOT)})"
        print(f"FAILED {kind}: {words}{place}", flush=True)


def main():
    minutes = float(os.environ.get("MINUTES", "10"))
    seed = int(os.environ.get("SEED", "1"))
    attune = os.path.abspath(os.environ.get("ATTUNE", os.path.join(ROOT, ".build/release/attune")))
    if not os.access(attune, os.X_OK):
        sys.exit(f"{attune} is not there: make build")
    work = os.path.join(ROOT, ".build", "campaign")
    shutil.rmtree(work, ignore_errors=True)
    report = Report(os.path.join(work, "failures"))
    print(f"{minutes:g} minutes, seed {seed}: {attune}", flush=True)
    bench = Bench(os.path.join(work, "work"), attune)
    kills = Kills(bench, random.Random(f"kills {seed}"), report)
    mutations = Mutations(bench, random.Random(f"mutations {seed}"), report)
    knobs = Knobs(bench, random.Random(f"knobs {seed}"), report)
    page = Page(bench, random.Random(f"page {seed}"), report)
    end = time.monotonic() + 60 * minutes
    try:
        while time.monotonic() < end:
            # About the same time for each: requests are quick.
            kills.trial()
            for _ in range(4):
                mutations.trial()
            knobs.trial()
            for _ in range(40):
                page.trial()
    finally:
        page.close()
    for what, count in sorted(report.tried.items()):
        print(f"{count:6} {what}")
    print(f"{sum(report.failed.values()):6} failures " + ", ".join(
        f"{kind} {count}" for kind, count in sorted(report.failed.items())))
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
