# SPDX-License-Identifier: Apache-2.0
"""What the comparisons with peers share: where things are, how a side is run, how a row reads."""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.join(ROOT, "Benchmarks", "peers")
VENV = os.path.join(ROOT, ".build", "peer-venv")
PACKAGES = ["torch==2.13.0+cpu", "transformers==5.23.*", "trl==1.16.0", "gguf", "accelerate", "peft",
            "datasets", "xllamacpp==2026.10.*"]


def parser(description):
    """The options that every comparison has."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--rounds", type=int, default=3)
    result.add_argument("--threads", type=int, default=2, help="of both sides")
    result.add_argument("--precision", default="float32", choices=["float32", "high", "bf16"],
                        help="Attune's (default: float32)")
    result.add_argument("--attune-options", default="", metavar='"--x y"',
                        help="more options of Attune's")
    result.add_argument("--sampling-options", default="", metavar='"--x y"',
                        help="more of them, where Attune samples")
    result.add_argument("--json", metavar="FILE", help="write every number there")
    result.add_argument("--venv", default=VENV, help="the peers' virtual environment")
    result.add_argument("--gguf",
                        help="the model; default: the one that `attune pull smollm2` fetched")
    return result


def attune_options(options, samples=True):
    """What Attune is run with, whatever the command."""
    return (["--threads", str(options.threads), "--precision", options.precision]
            + shlex.split(options.attune_options)
            + shlex.split(getattr(options, "trainer_options", ""))
            + (shlex.split(options.sampling_options) if samples else []))


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


def enter(venv, threads):
    """Goes on in the peers' Python, where this one is another: the script starts again there."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["HF_HUB_OFFLINE"] = "1"
    if os.path.realpath(sys.prefix) != os.path.realpath(venv):
        python = peer_python(venv)
        os.execv(python, [python] + sys.argv)


def processor():
    """The processor's name, and which of the instruction sets that matter here it has."""
    with open("/proc/cpuinfo") as file:
        lines = dict(line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines())
    about = {key.strip(): value.strip() for key, value in lines.items()}
    flags = about.get("flags", "").split()
    sets = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"]
    return (f"{about.get('model name', 'a processor without a name')} (family "
            f"{about.get('cpu family', '?')}, model {about.get('model', '?')}), {os.cpu_count()} "
            f"cores; has {', '.join(s for s in sets if s in flags) or 'none of these'}; has not "
            f"{', '.join(s for s in sets if s not in flags) or 'nothing'}")


def pulled_model(path=None):
    """The GGUF file that both sides' weights come from."""
    cache = os.environ.get("ATTUNE_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "attune")
    path = path or os.path.join(cache, "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
    if not os.path.exists(path):
        sys.exit(f"{path} is not there: attune pull smollm2")
    return path


def scratch_folder():
    """Where the comparisons keep models, rows and logs."""
    folder = os.path.join(ROOT, ".build", "peer-runs")
    os.makedirs(folder, exist_ok=True)
    return folder


def dense_models(options):
    """The pulled model's weights as a folder of float32 numbers, which peers load as any model (from
    GGUF transformers may keep the codes), and the same with an end token that is never said."""
    folder = scratch_folder()
    model, endless = os.path.join(folder, "model"), os.path.join(folder, "endless")
    if not os.path.exists(os.path.join(endless, "model.safetensors")):
        run([peer_python(options.venv), os.path.join(HERE, "trl_peer.py"), "prepare", "--gguf",
             pulled_model(options.gguf), "--model", model, "--endless", endless],
            log=os.path.join(folder, "prepare.log"))
    return model, endless


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


def last_object(command, log=None):
    """Runs a side; the JSON object that its last line is."""
    return json.loads(run(command, log)[0].strip().splitlines()[-1])


def row(name, ours, theirs, ratios, digits=1, aim=""):
    """One line of a table: medians of both sides, the median of the rounds' ratios, each of them."""
    return (f"{name:46}{statistics.median(ours):10.{digits}f}{statistics.median(theirs):10.{digits}f}"
            f"{statistics.median(ratios):8.2f}{aim:>9}   " + " ".join(f"{r:.2f}" for r in ratios))


def head():
    """The line above such lines."""
    return f"{'':46}{'attune':>10}{'peer':>10}{'ratio':>8}{'aim':>9}   (per round)"


def conditions(options, *versions):
    """What a table was made on and with: printed above it."""
    print(processor())
    print(f"{', '.join(versions)}; {options.threads} threads a side; Attune with "
          + " ".join(attune_options(options)), flush=True)
