# SPDX-License-Identifier: Apache-2.0
"""Kills trainers and stages, goes on with them, and compares with the unbroken run."""
import os
import signal

TRAIN = "--model model --threads 1 --set checkpoint_seconds=0 --seed 3 "
ONLINE = (TRAIN + "--data prompts.jsonl --reward labeller:concise --set rollouts=3 "
          "--set prompts_per_rollout=2 --set samples_per_prompt=3 --set max_tokens=5 "
          "--set layers=1 --output ")
ITERATE = ("--model model --threads 1 --seed 3 --data prompts.jsonl --reward labeller:concise "
           "--rounds 2 --n 4 --max-tokens 5 --set dpo.checkpoint_seconds=0 --output ")
JOB = ("--model model --threads 1 --seed 3 --data prompts.jsonl --set sample.n=3 "
       "--set sample.max_tokens=5 --set evaluation.max_tokens=5 --set evaluation.n=2 "
       "--set reward.checkpoint_seconds=0 --set reward.batch_size=2 "
       "--set ppo.checkpoint_seconds=0 --set ppo.rollouts=2 --set ppo.prompts_per_rollout=2 "
       "--set ppo.max_tokens=5 --output ")

# Each command's name in the campaign, and the command without its output folder.
COMMANDS = {
    "sft": "sft " + TRAIN + "--data texts.jsonl --eval-data texts.jsonl --set batch_size=4 "
           "--epochs 2 --output ",
    "sft adapters": "sft " + TRAIN + "--data texts.jsonl --set train=lora --set batch_size=4 "
                    "--set learning_rate=1e-3 --output ",
    "reward": "reward " + TRAIN + "--data pairs.jsonl --set batch_size=4 --output ",
    "dpo": "dpo " + TRAIN + "--data pairs.jsonl --set batch_size=4 --output ",
    "kto": "kto " + TRAIN + "--data thumbs.jsonl --set batch_size=4 --output ",
    "ppo": "ppo " + ONLINE, "reinforce": "reinforce " + ONLINE, "rloo": "rloo " + ONLINE,
    "grpo": "grpo " + ONLINE, "raft": "raft " + ONLINE, "dpg": "dpg " + ONLINE,
    "brain": "brain " + ONLINE, "distill": "distill --teacher-system brief " + ONLINE,
    "iterate": "iterate " + ITERATE, "iterate online": "iterate --online " + ITERATE,
    "rlhf": "rlhf " + JOB,
}


class Kills:
    """Runs each command unbroken once, then breaks it in every way."""

    def __init__(self, bench, random, report):
        self.bench, self.random, self.report = bench, random, report
        self.whole = {}

    def reference(self, name):
        """The unbroken run: what it leaves, how long it takes, how many calls it makes."""
        if name not in self.whole:
            count = self.bench.path("count.txt")
            self.bench.remove("whole", "count.txt")
            run = self.bench.run(COMMANDS[name] + "whole",
                                 {"LD_PRELOAD": self.bench.shim, "CAMPAIGN_COUNT": count})
            if run.code != 0:
                raise SystemExit(f"{name}: {run.errors}")
            with open(count) as file:
                calls = max(int(line) for line in file)
            self.whole[name] = (self.bench.digests("whole"), run.seconds, calls)
        return self.whole[name]

    def kill(self, line, seconds, calls):
        """One run that is killed: at a moment, or at a call that changes a file."""
        if self.random.random() < 0.5:
            moment = self.random.uniform(0, seconds * 1.1)
            return self.bench.run(line, kill_after=moment), f"after {moment:.3f} s"
        call = self.random.randint(1, calls)
        environment = {"LD_PRELOAD": self.bench.shim, "CAMPAIGN_KILL": str(call)}
        return self.bench.run(line, environment), f"at call {call} of {calls}"

    def trial(self):
        name = self.random.choice(sorted(COMMANDS))
        digests, seconds, calls = self.reference(name)
        self.bench.remove("broken")
        line = COMMANDS[name] + "broken"
        restarts = "rlhf" not in name and self.random.random() < 0.3
        places = []
        if restarts:
            # A run that is there, finished or not, is discarded, and that is broken too.
            self.bench.run(line, kill_after=self.random.choice([seconds * 0.6, 99]))
        for attempt in range(self.random.choice([1, 1, 2, 3])):
            run, place = self.kill(line + (" --restart" if restarts and attempt == 0 else ""),
                                   seconds, calls)
            places.append(place)
            if run.code != -signal.SIGKILL and not self.is_finished(run):
                self.fail("kill", name, places, run.trouble() or run.failure)
                return
        run = self.bench.run(line)
        if not self.is_finished(run):
            self.fail("kill", name, places, "does not go on: " + (run.trouble() or run.failure))
            return
        self.report.count("kills")
        left = self.bench.leftovers("broken")
        if left:
            self.fail("kill", name, places, "leaves " + ", ".join(left))
        found = self.bench.digests("broken")
        if found != digests:
            other = sorted(key for key in set(found) | set(digests)
                           if found.get(key) != digests.get(key))
            self.fail("kill", name, places, "other results: " + ", ".join(other))

    def is_finished(self, run):
        return run.code == 0 or (run.code == 1 and "holds this run, finished" in run.failure)

    def fail(self, kind, name, places, what):
        self.report.fail(kind, f"{name}, killed {' and '.join(places)}: {what}")
