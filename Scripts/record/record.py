#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must not change when code moves: makes a record of what a binary computes, and compares two.

    python3 Scripts/record/record.py make --attune BINARY --output DIR [--only PATTERN] [--inputs RECORD]
                                          [--smollm2]
    python3 Scripts/record/record.py compare BEFORE AFTER [--only PATTERN]

Every command and trainer runs on tiny inputs with every value of every knob (cases.py). A trainer is also
killed in the middle, and the same command then has to end as the unbroken run did. Of a case are kept: exit
code, standard output and error, and every file that was written; of weights the SHA-256. PATTERN is a case's
name with * and ?, as 'dpo/*'.

Both records have to be made on one machine. With --inputs the models and data are those of an earlier
record, so that a number that changes in a trainer does not change all that is made from its model.
"""
import argparse
import fcntl
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(os.path.dirname(HERE), "campaign"))
from cases import Cases, Program  # noqa: E402
from differences import compare  # noqa: E402
from inputs import Inputs  # noqa: E402
from place import Place  # noqa: E402


def make(options):
    """Makes a record."""
    attune = os.path.abspath(options.attune)
    if not os.access(attune, os.X_OK):
        sys.exit(f"{attune} is not there: make build")
    if os.path.exists(options.output) and os.listdir(options.output):
        sys.exit(f"{options.output}: holds other files; give a new folder")
    # Always the same place, for adapters hold the path of what they were trained from.
    work = os.path.join(tempfile.gettempdir(), "attune-record")
    os.makedirs(work, exist_ok=True)
    with open(os.path.join(work, ".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"{work}: another record is being made")
        try:
            return fill(options, attune, work)
        finally:
            for name in ("inputs", "case", "bases"):
                shutil.rmtree(os.path.join(work, name), ignore_errors=True)


def fill(options, attune, work):
    began = time.monotonic()
    folder = os.path.join(work, "inputs")
    shutil.rmtree(folder, ignore_errors=True)
    if options.inputs:
        shutil.copytree(os.path.join(options.inputs, "inputs"), folder)
    inputs = Inputs(folder, attune, isThere=bool(options.inputs))
    shutil.copytree(folder, os.path.join(options.output, "inputs"))
    smollm2 = None
    if options.smollm2:
        # It says where the model's file is; the cache has its folder.
        smollm2 = os.path.dirname(subprocess.check_output([attune, "pull", "smollm2"], text=True).strip())
    cases = Cases(Program(inputs), options.smollm2).all
    place = Place(os.path.join(work, "case"), inputs, smollm2)
    names = [name for name in cases if fnmatch.fnmatchcase(name, options.only)]
    seconds, wrong, refused = {}, 0, []
    for count, name in enumerate(names):
        start = time.monotonic()
        case = cases[name]
        whole, calls = place.unbroken(case)
        found = place.troubles(case, whole, calls)
        for trouble in found:
            print(f"{name}: {trouble}", flush=True)
        wrong += bool(found)
        if any(said["exit"] for said in whole["commands"]):
            refused.append(name)
        file = os.path.join(options.output, "cases", name + ".json")
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "w") as out:
            json.dump(whole, out, ensure_ascii=False, indent=1)
        seconds[name] = round(time.monotonic() - start, 3)
        if sys.stderr.isatty():
            print(f"\r{count + 1}/{len(names)} {name:70.70}", end="", file=sys.stderr)
    with open(os.path.join(options.output, "record.json"), "w") as out:
        json.dump({"attune": hashlib.sha256(open(attune, "rb").read()).hexdigest(), "machine": machine(),
                   "seconds": seconds, "refused": refused}, out, ensure_ascii=False, indent=1)
    killed = sum(bool(cases[name].kills) and name not in refused for name in names)
    print(f"{len(names)} cases in {time.monotonic() - began:.0f} s: {killed} were also killed and gone on "
          f"with, {len(refused)} are refusals, {wrong} have trouble")
    return 1 if wrong else 0


def machine():
    """What the last bits of a number depend on beside the program."""
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {len(names)} cores"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("make", help="make a record")
    one.add_argument("--attune", required=True, help="the binary")
    one.add_argument("--output", required=True, help="a new folder")
    one.add_argument("--inputs", help="a record whose models and data are taken")
    one.add_argument("--smollm2", action="store_true", help="also a few steps on SmolLM2, once pulled")
    one.set_defaults(run=make)
    two = commands.add_parser("compare", help="say what differs between two records; exit code 1 if any does")
    two.add_argument("before")
    two.add_argument("after")
    two.set_defaults(run=compare)
    for command in (one, two):
        command.add_argument("--only", default="*", help="cases of such names: 'dpo/*'")
    options = parser.parse_args()
    sys.exit(options.run(options))


if __name__ == "__main__":
    main()
