#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs transformers under .build/, writes its numbers for SmolLM2 once, runs the tests on them, compares tokens,
and has it load what Attune writes of every family's tiny model.

    run.py [MODEL.gguf]    another model in its place
"""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
venv = os.path.join(ROOT, ".build", "peer-venv")
python = os.path.join(venv, "bin", "python")
cache = os.environ.get("ATTUNE_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "attune")
smollm2 = os.path.join(cache, "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
gguf = os.path.abspath((sys.argv[1:] or [smollm2])[0])
if not os.path.exists(gguf):
    sys.exit(f"{gguf} is not there" + (": attune pull smollm2" if gguf == smollm2 else ""))
reference = os.path.join(ROOT, ".build", "agreement", os.path.splitext(os.path.basename(gguf))[0])
if not os.path.exists(python):
    subprocess.check_call([sys.executable, "-m", "venv", venv])
    subprocess.check_call([python, "-m", "pip", "install", "-q", "torch==2.13.0+cpu",
                           "transformers", "gguf", "accelerate"])
script = os.path.join(ROOT, "Scripts", "agreement", "write_reference.py")
written = os.path.join(reference, "reference.json")
if not os.path.exists(written) or os.path.getmtime(written) < os.path.getmtime(script):
    subprocess.check_call([python, script, "--gguf", gguf, "--output", reference])
environment = dict(os.environ, ATTUNE_AGREEMENT=reference, ATTUNE_AGREEMENT_MODEL=gguf)
# Built as `make test` builds: a build by `swift test` has other flags and would begin from nothing.
swift = ["-c", "release", "--explicit-target-dependency-import-check", "error"]
subprocess.check_call(["swift", "build", *swift, "--build-tests"], cwd=ROOT)
tests = subprocess.call(
    ["swift", "test", *swift, "--skip-build", "--filter", "AgreementTests"], cwd=ROOT, env=environment)
# The test build made the tool as well.
tokens = subprocess.call(
    [python, os.path.join(ROOT, "Scripts", "agreement", "compare_tokenizer.py"),
     "--attune", os.path.join(ROOT, ".build", "release", "attune"), "--model", gguf])
families = subprocess.call(
    [python, os.path.join(ROOT, "Scripts", "agreement", "families.py"),
     "--attune", os.path.join(ROOT, ".build", "release", "attune")])
sys.exit(tests or tokens or families)
