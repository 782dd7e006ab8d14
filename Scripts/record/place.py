# SPDX-License-Identifier: Apache-2.0
"""Runs a case: once as nobody disturbs it, once killed and gone on with."""
import json
import os
import re
import shutil
import signal
import zlib

from bench import Bench
from cases import Case
from differences import files
from people import Person
from reading import NEAR, RESUMED, RESUMED_WORDS, SAID, digest, fits, normal, read

# What the bench writes into the folder itself.
OWN = ["out.txt*", "count.txt", "page.txt*"]


class Place(Bench):
    """The folder in which a case runs, with the inputs that its commands name."""

    limit = 600

    def __init__(self, folder, inputs, smollm2):
        self.folder, self.attune, self.shim = folder, inputs.attune, inputs.shim
        self.inputs, self.smollm2 = inputs.folder, smollm2
        self.places = [(folder, "HERE"), (inputs.folder, "INPUTS")]

    def begin(self, case):
        """Empties the folder and puts there what the case reads."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        words = [word for line in case.lines for word in line]
        named = re.split(r"[\s:,=@/]+", " ".join(words))
        for name in os.listdir(self.inputs):
            if name in ("model", "cache", case.said) or name in named:
                source = os.path.join(self.inputs, name)
                (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, self.path(name))
        if self.smollm2 and ("smollm2" in words or "quickstart" in words):
            # As links, behind which nothing is the case's own: half a gigabyte each.
            bases = os.path.join(os.path.dirname(self.folder), "bases")
            os.makedirs(bases, exist_ok=True)
            os.symlink(self.smollm2, self.path("cache", "smollm2"))
            os.symlink(bases, self.path("cache", "bases"))
        self.there = self.contents()

    def contents(self):
        return {name: digest(self.path(name)) for name in self.files(".") if not fits(name, OWN)}

    def written(self):
        """Every file that is new or other than it was."""
        return {name: read(self.path(name), name, self.places) for name, now in self.contents().items()
                if self.there.get(name) != now}

    def said(self, line, run):
        """What a command said, and how it ended."""
        errors = [text for text in run.errors.splitlines() if not self.is_passing(text)]
        output = json.loads(run.output) if "--json" in line and run.code == 0 and run.output else \
            run.output.splitlines()
        return {"command": " ".join(["attune", *line]), "exit": run.code,
                "output": normal(output, self.places), "errors": normal(errors, self.places)}

    @staticmethod
    def is_passing(text):
        """Whether a line tells how far something is that goes on: how many there are is the clock's."""
        found = re.search(r"  (\d+)/(\d+) \w+", text)
        return bool(found) and found.group(1) != found.group(2)

    def unbroken(self, case):
        """What a case is recorded as, and how many calls of its last command change a file."""
        self.begin(case)
        said, calls = [], 0
        for line in case.lines:
            count = {"LD_PRELOAD": self.shim, "CAMPAIGN_COUNT": self.path("count.txt")}
            counts = Case.HALF in case.kills and line is case.lines[-1]
            if case.person and line is case.lines[0]:
                person = Person(self, line)
                person.label(**case.person[0])
                run = person.end(**case.person[1])
            else:
                run = self.run(line, count if counts else None,
                               said=self.path(case.said) if case.said else os.devnull)
            said.append(self.said(line, run))
            if counts and run.code == 0:
                with open(self.path("count.txt")) as file:
                    calls = int(file.read())
        files = normal(self.written(), (), SAID) if case.person else self.written()
        return {"commands": said, "files": files}, calls

    def broken(self, case, calls):
        """The same killed and gone on with: its files, with what it printed; or what went wrong."""
        self.begin(case)
        for line in case.lines[:-1]:
            self.run(line)
        line = case.lines[-1]
        for pattern in case.kills:
            # Which of the next calls it is differs from case to case and is the same for each.
            call = calls // 2 if pattern == Case.HALF else 1 + zlib.crc32(case.name.encode()) % 8
            environment = {"LD_PRELOAD": self.shim, "CAMPAIGN_KILL": str(call)}
            if pattern != Case.HALF:
                environment["CAMPAIGN_AFTER"] = pattern
            run = self.run(line, environment)
            if run.code != -signal.SIGKILL:
                return None, f"was not killed at call {call} behind {pattern} but ended: {run.failure}"
        run = self.run(line)
        if run.code != 0 and "holds this run, finished" not in run.failure:
            return None, f"does not go on: {run.failure}"
        left = self.leftovers(".")
        if left:
            return None, f"leaves {', '.join(left)}"
        files = self.written()
        if run.code == 0:
            files["standard output"] = self.said(line, run)["output"]
        return files, None

    def troubles(self, case, whole, calls):
        """What is wrong with a case, whatever it computes."""
        found = [f"ends with exit code {said['exit']}: {said['command']}" for said in whole["commands"]
                 if said["exit"] not in (0, 1, 64)]
        last = whole["commands"][-1]
        if not case.kills or last["exit"] != 0:
            return found
        again, trouble = self.broken(case, calls)
        if trouble:
            return found + [trouble]
        before = dict(whole["files"])
        if "standard output" in again:
            before["standard output"] = last["output"]
        before, again = (normal(what, (), RESUMED, RESUMED_WORDS) for what in (before, again))
        near = max((NEAR[one] for one in NEAR if fits(case.name, [one])), default=0)
        return found + [f"killed and gone on with, it has another {name}: {lines[0]}"
                        for name, lines in files(before, again, near)]
