# SPDX-License-Identifier: Apache-2.0
"""What the comparisons with peers share: where things are, how a side is run, how a row reads."""
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.join(ROOT, "Benchmarks", "peers")
VENV = os.path.join(ROOT, ".build", "peer-venv")
PACKAGES = ["torch==2.13.0+cpu", "transformers==5.23.*", "trl==1.16.0", "gguf", "accelerate", "peft",
            "datasets"]


def attune():
    """The binary that was built."""
    path = os.path.join(ROOT, ".build", "release", "attune")
    if not os.path.exists(path):
        sys.exit("build first: make build")
    return path


def peer_python(venv):
    """The Python of a virtual environment that has the peers' packages."""
    python = os.path.join(venv, "bin", "python")
    note = os.path.join(venv, "packages.txt")
    wanted = "\n".join(PACKAGES) + "\n"
    if os.path.exists(note) and open(note).read() == wanted:
        return python
    subprocess.check_call([sys.executable, "-m", "venv", venv])
    subprocess.check_call([python, "-m", "pip", "install", "-q"] + PACKAGES)
    with open(note, "w") as file:
        file.write(wanted)
    return python


def pulled_model(path=None):
    """The GGUF file that both sides' weights come from."""
    cache = os.environ.get("ATTUNE_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "attune")
    path = path or os.path.join(cache, "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
    if not os.path.exists(path):
        sys.exit(f"{path} is not there: attune pull smollm2")
    return path


def run(command, log=None):
    """Runs a side; what it printed, and the largest resident memory of its process in MB."""
    with open(log, "w") if log else open(os.devnull, "w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors if log else None)
        output = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        if log:
            with open(log) as errors:
                sys.stderr.write(errors.read()[-3000:])
        sys.exit(f"exit status {process.returncode}: {' '.join(command)}")
    return output, usage.ru_maxrss / 1024


def row(name, ours, theirs, ratios, digits=1, aim=""):
    """One line of a table: medians of both sides, the median of the rounds' ratios, each of them."""
    return (f"{name:34}{statistics.median(ours):10.{digits}f}{statistics.median(theirs):10.{digits}f}"
            f"{statistics.median(ratios):8.2f}{aim:>8}   " + " ".join(f"{r:.2f}" for r in ratios))


def head():
    """The line above such lines."""
    return f"{'':34}{'attune':>10}{'peer':>10}{'ratio':>8}{'aim':>8}   (per round)"
