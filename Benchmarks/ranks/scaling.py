#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a second process brings, and what a network takes: DPO and RLOO with adapters on SmolLM2.

    python3 Benchmarks/ranks/scaling.py [--rounds 3] [--steps 2]
    sudo python3 Benchmarks/ranks/scaling.py --network [--rates 100mbit,1gbit] [--delays 1,10]

On one machine of two cores, in turn: one process of one thread, two ranks of one thread, one process of
two threads; and two processes of one thread that know nothing of one another, each with half of the
rollout: what the machine gives at most. Seconds a step are the median without the first.

With --network two network namespaces stand for two hosts, joined by a bridge whose ends `tc tbf` limits to a
rate, or by relay.py, which delays every packet; mpirun starts its daemon in each. The time that a step takes
longer than without either is held against the cost model: bytes that a rank sends over the rate, and MESSAGES
that wait for one another times the delay.

Needs a build with MPI=1, and SmolLM2 pulled.
"""
import argparse
import json
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUILT = os.path.abspath(os.path.join(HERE, "..", "..", ".build", "release", "attune"))
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
WORDS = """the of and to in is that for it as was with be by on not he his but at are this have from or had an
    they which one you were all her she there would their we him been has when who will no more if out""".split()
LORA = ["train=lora", "rank=16", "alpha=32", "layers=0", "piece_tokens=256", "decay=constant", "warmup_steps=0",
        "checkpoint_seconds=86400"]


def texts(count, length, seed):
    draw = random.Random(seed)
    return ["".join(" " + draw.choice(WORDS) for _ in range(length)) for _ in range(count)]


def write(folder, options):
    """8 pairs of 32 + 32 tokens behind 32, four pieces; and prompts."""
    pairs = zip(texts(8, 32, 1), texts(8, 31, 2), texts(8, 31, 3))
    with open(os.path.join(folder, "pairs.jsonl"), "w") as file:
        for prompt, chosen, rejected in pairs:
            file.write(json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}) + "\n")
    with open(os.path.join(folder, "prompts.jsonl"), "w") as file:
        file.writelines(json.dumps({"prompt": prompt}) + "\n" for prompt in texts(8, 32, 4))
    with open(os.path.join(folder, "half.jsonl"), "w") as file:
        file.writelines(json.dumps({"prompt": prompt}) + "\n" for prompt in texts(4, 32, 4))


def command(method, folder, options, half=False):
    knobs = list(LORA)
    if method == "dpo":
        data, more = "pairs", []
        knobs += [f"epochs={options.steps + 1}", "batch_size=8", "evaluation_share=0"]
    else:
        data, more = ("half" if half else "prompts"), ["--reward", "labeller:concise"]
        knobs += [f"rollouts={options.steps + 1}", f"prompts_per_rollout={4 if half else 8}",
                  "samples_per_prompt=4", "max_tokens=24", "show_every=0"]
    line = [options.attune, method, "--model", "smollm2", "--data", os.path.join(folder, data + ".jsonl"), *more]
    return line + [part for knob in knobs for part in ("--set", knob)] + shlex.split(options.attune_options)


def seconds(output):
    """Of the steps but the first: seconds a step, of which for sampling."""
    with open(os.path.join(output, "metrics.jsonl")) as file:
        lines = [json.loads(line) for line in file]
    steps = [line for line in lines if "seconds/step" in line][1:]
    return (statistics.median(line["seconds/step"] for line in steps),
            statistics.median(line.get("seconds/rollout", 0) for line in steps))


def run(folder, lines):
    """Runs command lines side by side; the largest time of a step, and of its sampling."""
    outputs = [os.path.join(folder, f"out-{i}") for i in range(len(lines))]
    for output in outputs:
        subprocess.run(["rm", "-rf", output], check=True)
    started = [subprocess.Popen(line + ["--output", output], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                text=True)
               for line, output in zip(lines, outputs)]
    for process in started:
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(errors)
    times = [seconds(output) for output in outputs]
    return max(time[0] for time in times), max(time[1] for time in times)


def scaling(folder, options):
    one, two = ["--threads", "1"], ["--threads", "2"]
    ranks = MPIRUN + ["-n", "2"]
    sides = {
        "1 process of 1 thread": lambda method: [command(method, folder, options) + one],
        "2 ranks of 1 thread": lambda method: [ranks + command(method, folder, options) + one],
        "1 process of 2 threads": lambda method: [command(method, folder, options) + two],
        "2 apart, half each": lambda method: [command(method, folder, options, half=True) + one] * 2,
    }
    for method in ("dpo", "rloo"):
        times = {side: [] for side in sides}
        for _ in range(options.rounds):
            for side, lines in sides.items():
                if method == "dpo" and "apart" in side:
                    continue
                times[side].append(run(folder, lines(method)))
        print(f"{method}, seconds a step ({options.rounds} rounds; median, smallest, largest)")
        for side, values in times.items():
            if values:
                steps = sorted(value[0] for value in values)
                rest = f", of which sampling {statistics.median(value[1] for value in values):.2f}" \
                    if method == "rloo" else ""
                print(f"  {side:24} {statistics.median(steps):6.2f} ({steps[0]:.2f}, {steps[-1]:.2f}){rest}")
        median = {side: statistics.median(value[0] for value in values)
                  for side, values in times.items() if values}
        alone, many, threads = (median[side] for side in list(sides)[:3])
        print(f"  two ranks: {alone / many / 2:.2f} of twice one of one thread, "
              f"{threads / many:.2f} of one of two threads")
        if method == "rloo":
            samples = {side: statistics.median(value[1] for value in values) for side, values in times.items()}
            print("  sampling by two ranks: "
                  f"{samples['2 apart, half each'] / samples['2 ranks of 1 thread']:.2f} of two processes apart")


AGENT = """#!/bin/sh
# As ssh would: a host's name, then what is run there.
host=$1; shift
exec ip netns exec attune-$host unshare -u sh -c "hostname $host; $*"
"""


def shell(line):
    subprocess.run(line, shell=True, check=True)


# Messages of a DPO step that wait for one another: sizes and contents of the results, of the sums' places, of
# the block of gradients (in parts, and the sum), of metrics and of signals.
MESSAGES = 12
NETWORK = "10.77.0"
CLEAR = ("for n in b1 b2; do ip netns del attune-$n 2>/dev/null; done; ip link del attune-br 2>/dev/null; "
         "ip link del attune-tun 2>/dev/null; true")


def bridge():
    """Two namespaces, b1 and b2, on a bridge."""
    shell(f"ip link add attune-br type bridge && ip addr add {NETWORK}.254/24 dev attune-br "
          "&& ip link set attune-br up")
    for i in (1, 2):
        shell(f"ip netns add attune-b{i} && ip link add attune-v{i} type veth peer name eth0 netns attune-b{i}"
              f" && ip link set attune-v{i} master attune-br up"
              f" && ip -n attune-b{i} addr add {NETWORK}.{i}/24 dev eth0"
              f" && ip -n attune-b{i} link set eth0 up && ip -n attune-b{i} link set lo up")


def limit(rate):
    for i in (1, 2):
        shell(f"tc qdisc del dev attune-v{i} root 2>/dev/null; "
              f"ip netns exec attune-b{i} tc qdisc del dev eth0 root 2>/dev/null; true")
        if rate != "none":
            shell(f"ip netns exec attune-b{i} tc qdisc add dev eth0 root tbf rate {rate} burst 256kb latency 400ms")


def delayed(milliseconds):
    """The same two behind the relay, until its input ends."""
    for i in (1, 2):
        shell(f"ip netns add attune-b{i} && ip -n attune-b{i} link set lo up")
    relay = subprocess.Popen(
        [sys.executable, os.path.join(HERE, "relay.py"), NETWORK, str(milliseconds), "attune-b1", "attune-b2"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    relay.stdout.readline()
    return relay


def network(folder, options):
    """The time of a step at each rate and delay."""
    agent = os.path.join(folder, "agent.sh")
    with open(agent, "w") as file:
        file.write(AGENT)
    os.chmod(agent, 0o755)
    launch = ["env", "OMPI_MCA_plm_rsh_agent=" + agent, *MPIRUN, "--mca", "plm_rsh_no_tree_spawn", "1",
              "--mca", "oob_tcp_if_include", NETWORK + ".0/24", "--mca", "btl", "tcp,self",
              "--mca", "btl_tcp_if_include", NETWORK + ".0/24", "--host", "b1:1,b2:1", "-n", "2"]

    def measure():
        """Seconds of a step, and bytes that a rank sends in it."""
        times, before = [], counter()
        for _ in range(options.rounds):
            times.append(run(folder, [launch + command("dpo", folder, options) + ["--threads", "1"]])[0])
        return statistics.median(times), (counter() - before) / options.rounds / (options.steps + 1)

    def say(name, seconds, model, sent):
        print(f"  {name:12} {seconds:6.2f}  model {model:6.2f} ({seconds / model - 1:+.1%})  "
              f"{sent / 1e6:.1f} MB sent by a rank a step", flush=True)

    print(f"network, dpo: seconds a step (median of {options.rounds} rounds)")
    shell(CLEAR)
    try:
        bridge()
        free = None
        for rate in ["none", *filter(None, options.rates.split(","))]:
            limit(rate)
            seconds, sent = measure()
            free = free or seconds
            bits = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
            say(rate, seconds,
                free if rate == "none" else free + sent * 8 / (float(rate[:-4]) * bits[rate[-4:]]), sent)
        free = None
        for delay in ["0", *filter(None, options.delays.split(","))]:
            shell(CLEAR)
            relay = delayed(delay)
            seconds, sent = measure()
            free = free or seconds
            say(f"relay {delay} ms", seconds, free + MESSAGES * float(delay) / 1000, sent)
            relay.stdin.close()
            relay.wait()
    finally:
        shell(CLEAR)


def counter():
    text = subprocess.check_output(
        ["ip", "netns", "exec", "attune-b1", "cat", "/sys/class/net/eth0/statistics/tx_bytes"], text=True)
    return int(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attune", default=BUILT, help="the program; default: %(default)s")
    parser.add_argument("--steps", type=int, default=2, help="steps that are timed, after one")
    parser.add_argument("--attune-options", default="", help='more of attune\'s options: "--precision bf16"')
    parser.add_argument("--network", action="store_true", help="two namespaces, as root")
    parser.add_argument("--rates", default="100mbit,1gbit")
    parser.add_argument("--delays", default="1,10", help="milliseconds")
    options = parser.parse_args()
    if not os.access(options.attune, os.X_OK):
        sys.exit(f"{options.attune} is not there: make build MPI=1")
    with tempfile.TemporaryDirectory() as folder:
        write(folder, options)
        (network if options.network else scaling)(folder, options)


if __name__ == "__main__":
    main()
