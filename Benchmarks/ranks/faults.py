#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What faults leave of a run of many: RLOO and DPO with adapters on SmolLM2.

    python3 Benchmarks/ranks/faults.py kills [--kills 10]
    sudo python3 Benchmarks/ranks/faults.py link

kills: a trainer whose samplers are elsewhere, and two samplers, are killed (-9) in random turn, `--kills` times each, and started
again. Each rollout has to be trained on once, the folder has to be clean at the end, and the reward of held-out prompts
is held against the runs of three seeds that nothing disturbs.

link: two network namespaces stand for two hosts (scaling.py). Once a run has a checkpoint the link is cut: `mpirun` has
to end within 30 s, not with 0, and the same command on one process has to give the weights of a run that nothing disturbs.

Needs a build with MPI=1, and SmolLM2 pulled.
"""
import argparse
import filecmp
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import scaling


def trainer(folder, options, output, seed):
    line = [options.attune, "rloo", "--model", "smollm2", "--data", f"{folder}/prompts.jsonl", "--eval-data",
            f"{folder}/half.jsonl", "--reward", "labeller:concise", "--learning-rate", "1e-3", "--seed", str(seed),
            "--threads", "1", "--samplers", "folder", "--max-staleness", "1", "--output", output]
    for knob in (f"rollouts={options.rollouts}", f"evaluation_every={options.rollouts}", "prompts_per_rollout=4",
                 "samples_per_prompt=4", "max_tokens=24", "show_every=0", "checkpoint_seconds=0", "lease_seconds=6"):
        line += ["--set", knob]
    return line


def sampler(options, output, name):
    return [options.attune, "rollouts", "--run", output, "--worker", name, "--threads", "1"]


def start(line, log):
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=open(log, "a"))


def follow(folder, options, output, seed, kills):
    """One run to its end, with so many kills of each kind; how often each was killed."""
    log, draw = output + ".log", random.Random(seed)
    lines = {"trainer": trainer(folder, options, output, seed), "a": sampler(options, output, "a"),
             "b": sampler(options, output, "b")}
    running = {name: start(line, log) for name, line in lines.items()}
    due = ["trainer"] * kills + [draw.choice("ab") for _ in range(kills)]
    draw.shuffle(due)
    done, next_kill = [], time.monotonic() + draw.uniform(3, 9)
    while running["trainer"].poll() is None or due:
        time.sleep(0.1)
        if running["trainer"].poll() is not None:
            if running["trainer"].returncode == 0:
                break
            sys.exit(open(log).read()[-3000:])
        for name in "ab":
            if running[name].poll() is not None:
                running[name] = start(lines[name], log)
        if due and time.monotonic() >= next_kill:
            name = due.pop()
            running[name].send_signal(signal.SIGKILL)
            running[name].wait()
            done.append(name)
            running[name] = start(lines[name], log)
            next_kill = time.monotonic() + draw.uniform(3, 9)
    for name in "ab":
        try:
            running[name].wait(60)
        except subprocess.TimeoutExpired:
            running[name].kill()
            sys.exit(f"sampler {name} did not end with the run")
    return done


def held_out(output):
    with open(os.path.join(output, "metrics.jsonl")) as file:
        lines = [json.loads(line) for line in file]
    rollouts = [line["step"] for line in lines if "reward/mean" in line]
    return [line["held_out/reward"] for line in lines if "held_out/reward" in line], rollouts


def kills(folder, options):
    undisturbed = []
    for seed in (1, 2, 3):
        output = os.path.join(folder, f"seed-{seed}")
        follow(folder, options, output, seed, 0)
        undisturbed.append(held_out(output)[0])
        print(f"undisturbed, seed {seed}: held-out reward " + " → ".join(f"{x:.3f}" for x in undisturbed[-1]), flush=True)
    output = os.path.join(folder, "killed")
    done = follow(folder, options, output, 1, options.kills)
    reward, rollouts = held_out(output)
    print(f"killed {len(done)} times ({done.count('trainer')} the trainer): held-out reward "
          + " → ".join(f"{x:.3f}" for x in reward))
    ends = [values[-1] for values in undisturbed]
    mean, spread = statistics.mean(ends), 2 * statistics.stdev(ends)
    print(f"  undisturbed {mean:.3f} ± {spread:.3f} (two standard deviations of three seeds)")
    # That the run is over stays, for samplers that ask later.
    left = [name for name in os.listdir(os.path.join(output, "samplers")) if name != "current.json"]
    once = rollouts == list(range(1, options.rollouts + 1))
    print(f"  every rollout trained on once: {once}; left in the samplers' folder: {left or 'nothing'}")
    if not once or left or len(done) < 2 * options.kills or abs(reward[-1] - mean) > spread:
        sys.exit(1)


def link(folder, options):
    agent = os.path.join(folder, "agent.sh")
    with open(agent, "w") as file:
        file.write(scaling.AGENT)
    os.chmod(agent, 0o755)
    options.steps = 7
    line = [word.replace("checkpoint_seconds=86400", "checkpoint_seconds=0")
            for word in scaling.command("dpo", folder, options)] + ["--threads", "1", "--seed", "1", "--output"]
    whole, cut = os.path.join(folder, "whole"), os.path.join(folder, "cut")
    launch = ["env", "OMPI_MCA_plm_rsh_agent=" + agent, *scaling.MPIRUN, "--mca", "plm_rsh_no_tree_spawn", "1",
              *options.mpi.split(), "--mca", "oob_tcp_if_include", scaling.NETWORK + ".0/24", "--mca", "btl", "tcp,self",
              "--mca", "btl_tcp_if_include", scaling.NETWORK + ".0/24", "--host", "b1:1,b2:1", "-n", "2"]
    subprocess.run(line + [whole], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    scaling.shell(scaling.CLEAR)
    try:
        scaling.bridge()
        started = subprocess.Popen(launch + line + [cut], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while not os.path.exists(os.path.join(cut, "checkpoint.safetensors")) and started.poll() is None:
            time.sleep(0.05)
        time.sleep(2)
        scaling.shell("ip link set attune-v2 down")
        began = time.monotonic()
        try:
            _, errors = started.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            started.kill()
            sys.exit("mpirun did not end within two minutes of the cut")
        seconds = time.monotonic() - began
        print(f"link cut: mpirun ended after {seconds:.1f} s with {started.returncode}; it said:")
        print("\n".join("  " + text for text in errors.strip().splitlines()[-12:]))
        time.sleep(1)
        left = subprocess.run(["pgrep", "-f", cut], capture_output=True, text=True).stdout.split()
        print(f"  processes left: {len(left)}")
        for process in left:
            os.kill(int(process), signal.SIGKILL)
    finally:
        scaling.shell(scaling.CLEAR)
    subprocess.run(line + [cut], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    same = filecmp.cmp(*(os.path.join(run, "adapter_model.safetensors") for run in (whole, cut)), shallow=False)
    print(f"  gone on with one process: weights of the undisturbed run: {same}")
    if not same or seconds > 30 or started.returncode == 0:
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fault", choices=["kills", "link"])
    parser.add_argument("--attune", default=scaling.BUILT, help="the program; default: %(default)s")
    parser.add_argument("--kills", type=int, default=10, help="of the trainer, and of samplers")
    parser.add_argument("--rollouts", type=int, default=28)
    parser.add_argument("--mpi", default="--mca oob_tcp_keepalive_time 5 --mca oob_tcp_keepalive_intvl 3 "
                        "--mca oob_tcp_keepalive_probes 3", help="what mpirun is given; default: %(default)s")
    parser.add_argument("--attune-options", default="", help='more of attune\'s options: "--precision bf16"')
    options = parser.parse_args()
    if not os.access(options.attune, os.X_OK):
        sys.exit(f"{options.attune} is not there: make build MPI=1")
    with tempfile.TemporaryDirectory() as folder:
        scaling.write(folder, options)
        (kills if options.fault == "kills" else link)(folder, options)


if __name__ == "__main__":
    main()
