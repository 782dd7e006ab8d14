# SPDX-License-Identifier: Apache-2.0
"""How fast the page answers while a model samples, or trains: annotators who label all at once.

  python3 Benchmarks/page/load.py [--attune PROGRAM] [--model M] [--annotators N] [--seconds S] [--align]

Starts `attune collect` with a model that samples as far ahead as it can, lets N annotators label
with a pause of half a second on average between two labels, and prints how long the answers to
labels took. An answer comes when the label is on the disk. Exit code 1 if the 99th percentile is
100 ms or more, or if a label is not in the store. With --align it waits for questions ahead, and a
policy is then trained on the first labels while people label on; with --pause 3 the questions last
that long, and where a new policy has none ready yet annotators wait. Standard library only.
"""
import argparse
import http.client
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--attune", default=".build/release/attune")
parser.add_argument("--model", default="smollm2")
parser.add_argument("--annotators", type=int, default=20)
parser.add_argument("--seconds", type=float, default=40)
parser.add_argument("--pause", type=float, default=0.5)
parser.add_argument("--align", action="store_true")
options = parser.parse_args()

folder = tempfile.TemporaryDirectory()
prompts = os.path.join(folder.name, "prompts.jsonl")
samples = os.path.join(folder.name, "samples.jsonl")
store = os.path.join(folder.name, "feedback.db")
with open(prompts, "w") as file:
    for i in range(5000):
        file.write(json.dumps({"prompt": [
            {"role": "user", "content": f"Write a short story about the number {i}."}]}) + "\n")
# Enough questions from the start, so that labels and sampling both go on all the time.
with open(samples, "w") as file:
    for i in range(5000):
        answers = [{"text": f"Answer {side} to **{i}**\n\n- one\n- `two`\n", "ids": [1],
                    "logprob": -1, "finish_reason": "stop"} for side in "ab"]
        file.write(json.dumps({"prompt": f"question {i}", "completions": answers,
                               "sampling": {}}) + "\n")

AHEAD = 400
more = (["--align", "dpo", "--align-every", "40", "--ahead", str(AHEAD), "--max-tokens", "8"]
        if options.align else ["--samples", samples, "--ahead", "1000000"])
server = subprocess.Popen(
    [options.attune, "collect", "--model", options.model, "--prompts", prompts, "--store", store,
     "--port", "0", "--json"] + more,
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
port = None
for line in server.stderr:
    if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
        port = int(found.group(1))
        break
if port is None:
    sys.exit("attune collect did not start")
threading.Thread(target=server.stderr.read, daemon=True).start()

times, failures, lock = [], [], threading.Lock()


def annotate(number, end):
    """Labels until the time is over."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    cookie = seal = ""

    def ask(path, body):
        connection.request("POST", path, json.dumps(body), {
            "Content-Type": "application/json", "Cookie": cookie, "X-Attune-Seal": seal})
        response = connection.getresponse()
        return response, json.loads(response.read())

    response, session = ask("/api/session", {"name": f"annotator {number}"})
    cookie, seal = response.getheader("Set-Cookie").split(";")[0], session["seal"]
    _, turn = ask("/api/next", {})
    while time.monotonic() < end:
        time.sleep(random.uniform(0, 2 * options.pause))
        if "question" not in turn:
            _, turn = ask("/api/next", {})
            continue
        label = {"key": f"{random.getrandbits(64):x}", "question": turn["question"],
                 "ranks": random.choice([[1, 2], [2, 1], [1, 1]]), "milliseconds": 500}
        began = time.monotonic()
        response, turn = ask("/api/label", label)
        took = time.monotonic() - began
        with lock:
            (times if response.status == 200 else failures).append(took)


def answers():
    return sqlite3.connect(f"file:{store}?mode=ro", uri=True).execute(
        "SELECT count(*) FROM answer WHERE model <> ''").fetchone()[0]


while options.align and answers() < 2 * AHEAD:
    time.sleep(0.2)
begin = answers()
end = time.monotonic() + options.seconds
threads = [threading.Thread(target=annotate, args=(i, end)) for i in range(options.annotators)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
server.send_signal(signal.SIGINT)
report = json.loads(server.communicate()[0])
database = sqlite3.connect(store)
stored = database.execute("SELECT count(*) FROM comparison").fetchone()[0]
sampled = answers() - begin
times.sort()


def percentile(share):
    return 1000 * times[min(len(times) - 1, int(share * len(times)))]


print(json.dumps({
    "annotators": options.annotators, "labels": len(times), "failures": len(failures),
    "policies": len(report["align"]["policies"]) - 1 if options.align else 0,
    "trained_at_the_end": report["align"].get("training") if options.align else None,
    "stored": stored, "reported": report["labels"], "answers_sampled_meanwhile": sampled,
    "labels_per_second": round(len(times) / options.seconds, 1),
    "milliseconds": {"p50": round(percentile(0.5), 1), "p90": round(percentile(0.9), 1),
                     "p99": round(percentile(0.99), 1), "most": round(1000 * times[-1], 1)}}))
isGood = percentile(0.99) < 100 and not failures and stored == len(times) == report["labels"]
sys.exit(0 if isGood and (sampled > 0 or options.align) else 1)
