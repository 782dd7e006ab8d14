# SPDX-License-Identifier: Apache-2.0
"""Sets knobs to what nobody means: a value is taken, or refused by the knob's name."""
import json

from kills import COMMANDS

VALUES = ["-1", "0", "1", "2", "1000000", "1000001", "1000000000", "1000000001",
          "4611686018427387904", "9223372036854775807", "9223372036854775808",
          "18446744073709551616", "-9223372036854775808", "1e300", "1e-300", "-1e300", "1e999",
          "0.5", "-5", "null", "true", '"x"', "[]", "[1e308]", "{}", ""]
# What is taken may take its time: a million epochs.
SECONDS = 4


class Knobs:
    """Every knob of every trainer, by the record of a run."""

    def __init__(self, bench, random, report):
        self.bench, self.random, self.report = bench, random, report
        self.names = {}

    def of(self, command):
        if command not in self.names:
            self.bench.remove("knobs")
            self.bench.must(COMMANDS[command] + "knobs")
            with open(self.bench.path("knobs", "run.json")) as file:
                self.names[command] = sorted(leaves(json.load(file)["record"]["settings"]))
        return self.names[command]

    def trial(self):
        command = self.random.choice(sorted(name for name in COMMANDS if name != "rlhf"))
        knob = self.random.choice(self.of(command))
        value = self.random.choice(VALUES)
        self.bench.remove("knobs")
        line = f"{COMMANDS[command]}knobs".split() + ["--set", f"{knob}={value}"]
        run = self.bench.run(line, kill_after=SECONDS)
        self.report.count("knobs")
        if run.seconds >= SECONDS:
            return
        what = run.trouble()
        # Losses name their knobs in their own spelling.
        name = knob.split(".")[-1].replace("_", "")
        words = run.failure.lower().replace("_", "").replace("-", "")
        # A rate or decay that is allowed and makes a model diverge is told as that, and a list of values
        # is a grid, whose last word is how many of its runs have no result.
        told = "not finite" in run.failure or "have no result" in run.failure or name in words
        if what is None and run.code != 0 and not told:
            what = f"does not name the knob: {run.failure}"
        if what:
            self.report.fail("knob", f"{command} --set {knob}={value}: {what}")


def leaves(value, path=""):
    """The paths of everything that is no object."""
    if not isinstance(value, dict):
        return [path]
    return [leaf for key, inner in value.items()
            for leaf in leaves(inner, f"{path}.{key}" if path else key)]
