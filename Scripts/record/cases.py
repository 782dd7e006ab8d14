# SPDX-License-Identifier: Apache-2.0
"""What is recorded: every command, every trainer with every value of every knob, one case each.

Which commands, knobs and values there are is asked of the program, so that a new one is recorded by
itself. What a person has to say stands in the tables: what a command reads (BASES), a value for a knob
that is a number (VALUES), and what a knob needs beside it to be read at all (COMPANY).
"""
import json
import re

from inputs import COMMON

# The first checkpoint of a run.
CHECKPOINT = "*checkpoint.safetensors"

# What each command reads, and the knobs that keep it small. None drops what a case has from elsewhere.
PAIRS = {"--model": "model", "--data": "pairs.jsonl", "--eval-data": "more-pairs.jsonl", "--output": "out"}
SMALL = {"batch_size": 4, "epochs": 2}
ONLINE = ({"--model": "model", "--data": "prompts.jsonl", "--output": "out", "--reward": "length:2-3",
           "--watch": "labeller:concise"},
          {"rollouts": 3, "prompts_per_rollout": 3, "samples_per_prompt": 4, "max_tokens": 12})
# PPO's knobs are those of the job's own method: other methods drop them.
PPO = {"ppo.rollouts": 2, "ppo.prompts_per_rollout": 3, "ppo.samples_per_prompt": 2, "ppo.max_tokens": 12,
       "ppo.checkpoint_seconds": 0}
JOB = {"sample.n": 4, "sample.max_tokens": 12, "evaluation.max_tokens": 12, "evaluation.n": 2,
       "reward.checkpoint_seconds": 0, "reward.batch_size": 2, **PPO}
POINTS = {"rollouts": 2, "prompts_per_rollout": 2, "samples_per_prompt": 2, "evaluation.n": 2,
          "start_answers": 4, "max_tokens": 12}
HACKED = {f"policy.{knob}": value for knob, value in {**POINTS, "rollouts": 4, "rloo.minibatches": 1}.items()}
BASES = {
    "sft": (dict(PAIRS, **{"--data": "texts.jsonl", "--eval-data": "more-texts.jsonl"}), SMALL),
    "reward": (PAIRS, SMALL),
    "dpo": (PAIRS, SMALL),
    "kto": (dict(PAIRS, **{"--data": "thumbs.jsonl", "--eval-data": "more-thumbs.jsonl"}), SMALL),
    "iterate": (ONLINE[0],
                {"rounds": 2, "samples_per_prompt": 4, "max_tokens": 12, "dpo.batch_size": 3}),
    "sample": ({"--model": "model", "--data": "prompts.jsonl", "--output": "out.jsonl"},
               {"n": 3, "max_tokens": 12}),
    "generate": ({"--model": "model", "--prompt": "3 hen: ", "--raw": True}, {"max_tokens": 12}),
    "chat": ({"--model": "model", "--system": "be brief"}, {"max_tokens": 12}),
    "label": ({"--data": "samples.jsonl", "--labeller": "concise", "--output": "out.jsonl"}, {}),
    "judge": ({"--data": "samples.jsonl", "--judge": "model", "--output": "out.jsonl"},
              {"pairs_per_prompt": 2}),
    "revise": ({"--model": "model", "--data": "samples.jsonl", "--output": "out.jsonl"},
               {"critique_tokens": 6, "max_tokens": 8}),
    "prompts": ({"--data": "pairs.jsonl", "--output": "out.jsonl", "--held-out": "held-out.jsonl"},
                {"held_out_share": 0.25}),
    "tasks": ({"": "sums", "--output": "out.jsonl", "--held-out": "held-out.jsonl"}, {"count": 6}),
    "reviews": ({"--data": "reviews.csv", "--output": "out"}, {"texts": 6, "prompts": 4}),
    "evaluate": ({"--model": "policy", "--against": "model", "--data": "prompts.jsonl", "--output": "out",
                  "--reward": ["labeller:concise", "model:reward"]}, {"n": 3, "max_tokens": 12}),
    "rlhf": ({"--model": "model", "--data": "prompts.jsonl", "--output": "out"}, JOB),
    "distill": ({**ONLINE[0], "--teacher-system": "be brief"}, ONLINE[1]),
    "frontier": ({"--run": "job", "--methods": "rloo,dpo", "--betas": "0.1", "--output": "out"}, POINTS),
    "hacking": ({"--run": "job", "--output": "out"},
                {"members": 2, **HACKED}),
}
# Commands that no case runs but for their help: they fetch, are the work of minutes, or say what is the
# machine's own.
HELP_ALONE = {"pull", "quickstart", "plan"}
# Knobs that are the same in every case: kills need checkpoints, and every line names its seed.
FIXED = {"checkpoint_seconds", "dpo.checkpoint_seconds", "seed"}

# Another value for a knob that is a number, a list or a text, where its default's neighbour says little.
VALUES = {
    "layers": 1, "rank": 4, "projections": ["q", "v"], "max_steps": 2, "max_length": 24, "piece_tokens": 24,
    "trunk_megabytes": 0, "evaluate_every": 2, "warmup_steps": 2, "learning_rate": 1e-3, "weight_decay": 0.1,
    "temperature": 0.7, "gamma": 0.9, "discount": 0.5, "jsd_beta": 0.2, "own_share": 0.7,
    "kl_budget": 1e-4, "kl_target": 0.01, "overlong_cache": 3,
    "adam_epsilon": 1e-3,
    "max_gradient_norm": 0.1, "evaluation_share": 0.3, "evaluation_groups": 3, "missing_end_reward": -3,
    "top_k": 5, "top_p": 0.8, "min_p": 0.02, "stop": ["e"], "repetition_penalty": 1.3, "count": 7, "batch": 2,
    "max_tokens": 5, "prompts_per_rollout": 4, "side_by_side": 1, "reviews:texts": 5, "reviews:prompts": 3,
    "revise:critique_tokens": 9, "revise:max_tokens": 12,
    "smoothing": 0.2, "divergence_alpha": 0.3, "fixed_length": 6, "early_rollouts": 1,
    "held_out_share": 0.5, "constitution": "principles.txt", "words": 2, "greedy": 2, "betas": [0.2],
    "rules": ["mean"], "methods": ["raft"], "method": "grpo:dapo", "members": 3, "refresh_every": 2,
    "reasoning_tokens": 6, "mix_share": 0.3, "max_draws": 2, "importance_cap": 1.0, "teacher": "policy",
    "teacher_system": "in short", "constraints": ["words<=2"], "step_separator": "; ",
}
# What else a case has where it changes a knob: "COMMAND:KNOB=VALUE", "COMMAND:KNOB", "KNOB=VALUE" or "KNOB".
LORA, REFERENCE = {"train": "lora"}, {"--against": None}
RANKINGS = {"--data": "rankings.jsonl", "--eval-data": None}
TIES = {"--data": "ties.jsonl", "--eval-data": None}
SOFT = {"--data": "soft.jsonl", "--eval-data": None}
KL_LOSS = {"kl": "loss", "kl_estimator": "k3"}
COMPANY = {
    "train=last_layers": {"layers": 1},
    "sft:layers": {"train": "last_layers"}, "sft:rank": LORA, "sft:alpha": LORA, "sft:projections": LORA,
    "sft:merge": LORA, "sft:answers": {"--data": "chats.jsonl"}, "warmup_steps": {"epochs": 5},
    "too_long": {"max_length": 24},
    "evaluation_share": {"--eval-data": None}, "evaluation_groups": {"--eval-data": None},
    "soft_labels": SOFT, "missing_end_reward": {"penalise_missing_end": True},
    "reward:loss=k_wise": RANKINGS, "reward:loss=plackett_luce": RANKINGS, "reward:loss=regression": RANKINGS,
    "reward:loss=pointwise": {"--data": "thumbs.jsonl", "--eval-data": "more-thumbs.jsonl"},
    "reward:loss=rao_kupper": TIES, "reward:loss=davidson": TIES, "ties": TIES,
    "reward:harden": dict(SOFT, loss="rao_kupper"), "dpo:harden": dict(SOFT, loss="robust"),
    "reward:head": {"--model": "reward"},
    "reward:step_separator": {"--data": "steps.jsonl", "--eval-data": None, "loss": "pointwise"},
    "ppo:step_rewards": {"--reward": "model:steps:min"},
    "dpo:divergence_alpha": {"divergence": "alpha"}, "dpo:lambda": {"loss": "dpop"},
    "dpo:length_price": {"loss": "rdpo"}, "dpo:gamma": {"loss": "simpo"}, "dpo:tau": {"loss": "discopop"},
    "dpo:length_normalised": {"loss": "ipo"},
    "nll_reduction": {"sft_weight": 0.5}, "nll_over": {"sft_weight": 0.5},
    "ppo:value=separate": {"--value-model": "reward"}, "ppo:value_learning_rate": {"value": "separate"},
    "ppo:ptx_weight": {"--ptx-data": "texts.jsonl"},
    "ppo:ptx_batch_size": {"--ptx-data": "texts.jsonl", "ptx_weight": 0.5},
    "reinforce:kl_target": {"adaptive_kl": True}, "rloo:kl_target": {"adaptive_kl": True},
    "reinforce:kl_estimator": {"kl": "loss"}, "reinforce:kl_per_sequence": {"kl": "loss"},
    "reinforce:kl_ratio_weighted": KL_LOSS, "reinforce:value_coefficient": {"baseline": "value"},
    "rloo:clip": {"epochs": 2}, "raft:beta": {"selection": "rejection"}, "dpg:divergence": {"method": "fdpg"},
    "distill:discount": {"tokens": "sampled"},
    "distill:teacher_system": {"--teacher-system": None},
    "distill:beta": {"tokens": "sampled", "discount": 1}, "distill:jsd_beta": {"method": "gkd"},
    "distill:own_share": {"method": "gkd"},
    "grpo:fixed_length": {"variant": "dr_grpo"}, "grpo:max_draws": {"variant": "dapo"},
    "grpo:overlong_cache": {"variant": "dapo"},
    "iterate:mix_share": {"--mix": "pairs.jsonl@0.3", "mix_share": None},
    "iterate:dpo.train=last_layers": {"dpo.layers": 1},
    "dpo:xpo_alpha": {"--data": "explored.jsonl", "--eval-data": None},
    "reinforce:warmup_steps": {"rollouts": 20},
    "label:labeller=positive": {"labeller": None, "--labeller": "positive"},
    "judge:shape": {"by": "rubric", "pairs_per_prompt": None}, "judge:reasoning": {"reasoning_tokens": 6},
    "judge:reasoning_tokens": {"reasoning": True, "pairs_per_prompt": 1},
    "importance_weights": {"sampler": "int8"}, "importance_cap": {"sampler": "int8"},
    "rlhf:early_rollouts": {"rounds": 2},
    "frontier:methods": {"--methods": None, "methods": ["raft"]},
    "frontier:betas": {"--betas": None},
}


class Case:
    """Commands that run one after the other in a folder of their own, and what may kill the last one.

    Each of `kills` is a pattern: once a file is in place whose path fits it, one of the next calls that
    change a file ends the process, and the same command goes on. HALF counts the calls of the whole run.
    With a person the first command serves a page: the arguments of Person.label and of Person.end.
    """
    HALF = "half"

    def __init__(self, name, lines, kills, said, person):
        self.name, self.lines, self.kills, self.said, self.person = name, lines, kills, said, person


class Program:
    """What the program says of its commands and knobs."""

    def __init__(self, bench):
        self.bench = bench
        self.help = json.loads(bench.must("--experimental-dump-help").output)["command"]
        self.commands, self.discussions, self.known = [], {}, {}
        self.walk(self.help, [])

    def walk(self, command, path):
        for inner in command.get("subcommands", []):
            if inner["commandName"] != "help":
                name = " ".join([*path, inner["commandName"]])
                self.commands.append(name)
                self.discussions[name] = inner.get("discussion", "")
                self.walk(inner, [*path, inner["commandName"]])

    def knobs(self, command):
        """Every knob as `--knobs --json` lists it; none of a command that has none."""
        if command not in self.known:
            run = self.bench.run(f"{command} --knobs --json")
            self.known[command] = json.loads(run.output)["knobs"] if run.code == 0 else []
        return self.known[command]


def others(command, knob, now):
    """Values of a knob that are not what it is now."""
    name, kind = knob["knob"].split(".")[-1], knob["type"]
    if kind == "choice":
        return [value for value in knob["choices"] if value != now]
    if kind == "boolean":
        return [not now]
    for key in (f"{command}:{name}", name):
        if key in VALUES:
            return [VALUES[key]]
    if kind == "integer":
        return [now + 1]
    if kind == "number":
        return [0.3 if now is None else now / 2 if now else 0.1]
    return []


def line(command, changes):
    """A command's words: options, then knobs. None drops one, True is a flag, a list repeats an option; what
    has no name stands before them all."""
    options, knobs = [], []
    for name, value in changes.items():
        if value is None or value is False and name.startswith("--"):
            continue
        if name == "":
            options.insert(0, value)
        elif not name.startswith("--"):
            text = value if isinstance(value, str) else json.dumps(value)
            knobs += ["--set", f"{name}={text}"]
        elif value is True:
            options.append(name)
        else:
            for one in value if isinstance(value, list) else [value]:
                options += [name, str(one)]
    return [*command.split(), *options, *knobs, *COMMON.split()]


class Cases:
    """All cases of a program."""

    def __init__(self, program, smollm2=False):
        self.program = program
        self.all = {}
        for command in program.commands:
            lists = [[*command.split(), "--knobs", "--json"]] if program.knobs(command) else []
            self.add(f"help/{command}", [*command.split(), "--help"], *lists)
        self.add("help/attune", ["--help"], ["--version"], ["--knobs"])
        for command in program.commands:
            self.sweep(command)
        self.trainers()
        self.jobs()
        self.stages()
        self.feedback()
        if smollm2:
            self.smollm2()
        done = {name.split("/")[0] for name in self.all} | HELP_ALONE
        for command in program.commands:
            if command.split()[0] not in done - {"help"}:
                print(f"attune {command} has no case but its help: say in cases.py what it reads", flush=True)

    def add(self, name, *lines, kills=(), said=None, person=None):
        if name in self.all:
            raise SystemExit(f"two cases are called {name}")
        self.all[name] = Case(name, lines, kills, said, person)

    def base(self, command, knobs):
        """Options, knobs and kills of a command; None where nothing says what it reads."""
        names = {knob["knob"] for knob in knobs}
        if command.split()[0] in HELP_ALONE:
            return None
        if command in BASES:
            options, small = BASES[command]
        elif {"rollouts", "checkpoint_seconds"} <= names:
            options, small = ONLINE
        else:
            return None
        changes = {**options, **small}
        kills = ()
        if "checkpoint_seconds" in names:
            changes["checkpoint_seconds"] = 0
            kills = (CHECKPOINT,)
        elif command == "iterate":
            changes["dpo.checkpoint_seconds"] = 0
            kills = ("*out/round-2/policy/checkpoint.safetensors",)
        elif command in ("judge", "revise"):
            kills = (Case.HALF,)
        return changes, kills

    def of(self, command, changes=None, name="", kills=None, text=False):
        """Adds a case of a command with changes to its base."""
        base, own = self.base(command, self.program.knobs(command))
        whole = {**base, **(changes or {})}
        if not text:
            whole["--json"] = True
        self.add(f"{command}/{name}", line(command, whole), kills=own if kills is None else kills,
                 said="said.txt" if command == "chat" else None)

    def sweep(self, command):
        """A command as it is, in words, and with every other value of every knob."""
        knobs = self.program.knobs(command)
        base = self.base(command, knobs)
        if base is None:
            return
        self.of(command, name="plain")
        if command == "chat":
            return
        self.of(command, name="text", text=True, kills=())
        for knob in knobs:
            name = knob["knob"]
            # Of what is inside of another command only what changes its course: the command has the others.
            if name in FIXED or "." in name and not (command == "iterate" and knob["type"] == "choice"):
                continue
            for value in others(command, knob, base[0].get(name, knob["default"])):
                told = value if isinstance(value, str) else json.dumps(value)
                company = next((COMPANY[key] for key in (
                    f"{command}:{name}={told}", f"{command}:{name}", f"{name}={told}", name)
                    if key in COMPANY), {})
                if name.startswith("judge."):
                    company = {"--judge": "model", "--reward": None}
                kills = None
                if command == "iterate" and name == "online":
                    kills = (CHECKPOINT,)
                elif command in ("rlhf", "frontier", "hacking"):
                    kills = ()
                    if name == "method" and command == "rlhf":
                        continue
                elif name == "kl_budget":
                    # It ends the run before its first checkpoint.
                    kills = ()
                self.of(command, {name: value, **company}, f"{name}={told}".replace("/", "-"), kills)

    def variants(self):
        """Every method of a frontier with each of its variants, as the program's help lists them."""
        methods = next(knob["choices"] for knob in self.program.knobs("rlhf") if knob["knob"] == "method")
        listed = dict(re.findall(r"^  (\w+)(?:: (.*))?$", self.program.discussions["frontier"], re.MULTILINE))
        return {method: [f"{method}:{name}" for name in listed[method].split(", ") if name] or [method]
                for method in methods}

    def trainers(self):
        """What no single knob tells: other starts, data and rewards."""
        self.of("sft", {"--model": None, "--init": "config.json"}, "init")
        self.of("sft", {"--data": "chats.jsonl", "--eval-data": None}, "chats")
        self.of("sft", {"--model": "tiny.gguf", "train": "lora"}, "gguf")
        self.of("sft", {"--model": "policy"}, "adapters")
        self.of("sft", {"--eval-data": None}, "nothing held out")
        self.of("reward", {"--data": "ties.jsonl"}, "ties")
        for command in ("reward", "dpo", "kto"):
            self.of(command, {"--eval-data": None}, "held out by itself")
            self.of(command, {"--data": "chat-pairs.jsonl", "--eval-data": None}, "chats")
            self.of(command, {"--data": "poor-pairs.jsonl", "max_length": 40}, "rows left out")
            self.of(command, {"--model": "policy"}, "adapters")
        for command in ("dpo", "kto"):
            self.of(command, {"--reference": "policy"}, "reference")
            self.of(command, {"--reference": "policy", "precompute_reference": False}, "reference on the way")
        for name in self.program.commands:
            names = {knob["knob"] for knob in self.program.knobs(name)}
            if not {"rollouts", "checkpoint_seconds"} <= names or name in BASES or name.split()[0] in HELP_ALONE:
                continue
            self.of(name, {"--reward": "model:reward", "--data": "chats.jsonl"}, "reward model, chats")
            self.of(name, {"--reward": ["ensemble:mean-1std:reward,reward-2", "regex:[aeiou]{2}@0.5",
                                        "implicit:policy@0.1"], "--watch": None}, "several rewards")
            if "samples" in self.program.discussions[name]:
                self.of(name, {"--data": "samples.jsonl", "samples_per_prompt": None}, "recorded answers")
        self.of("grpo", {"--reward": ["exec:python3 check.py"]}, "program")
        self.of("ppo", {"value": "separate", "--value-model": "reward", "whiten_rewards": True,
                        "ptx_weight": 0.5, "--ptx-data": "texts.jsonl"}, "separate value, text mixed in")
        online = {"online": True, "rounds": 4}
        rounds = next(knob for knob in self.program.knobs("iterate") if knob["knob"] == "dpo.loss")
        for loss in rounds["choices"]:
            self.of("iterate", {**online, "dpo.loss": loss}, f"online, dpo.loss={loss}", (CHECKPOINT,))
        for name, changes in {
                "judge": {"--judge": "model", "--reward": None}, "moving reference": {"move_reference": True},
                "exploring": {"dpo.xpo_alpha": 0.1}, "mixed": {"--mix": "pairs.jsonl@0.3"},
                "all layers": {"dpo.train": "full"},
                "last layer": {"dpo.train": "last_layers", "dpo.layers": 1},
                "several rewards": {"--reward": ["model:reward", "length:2-3@0.5"]}}.items():
            self.of("iterate", changes, name)
            if name != "moving reference":
                self.of("iterate", {**changes, **online}, f"online, {name}", (CHECKPOINT,))

    def jobs(self):
        """The whole loop with every method, and what is made of a finished one."""
        for method in self.variants():
            knobs = {knob["knob"] for knob in self.program.knobs(method)}
            own = {"checkpoint_seconds": 0, "dpo.checkpoint_seconds": 0, **ONLINE[1], **BASES["iterate"][1]}
            if "rounds" not in knobs:
                own["batch_size"] = 3
            small = {**dict.fromkeys(PPO), **{f"{method}.{knob}": own[knob] for knob in own if knob in knobs}}
            self.of("rlhf", {"method": None, "--method": method, **small}, f"method={method}",
                    ("*/reward/checkpoint.safetensors", "*/policy/*checkpoint.safetensors"))
        self.of("rlhf", {"rounds": 3, "early_rollouts": 1}, "three rounds",
                ("*/round-2/policy/checkpoint.safetensors", "*out/reward/checkpoint.safetensors"))
        self.of("rlhf", {"--labeller": "judge", "--judge": "model"}, "judge")
        self.of("rlhf", {"--model": "policy", "--eval-data": "samples.jsonl", "--data": "chats.jsonl",
                         "--labeller": "positive"}, "adapters, chats")
        again = {"--json": True, **BASES["rlhf"][0], **BASES["rlhf"][1]}
        self.add("rlhf/from policy", line("rlhf", again), line("rlhf", {**again, "--from": "policy"}))
        # Every method with every variant, a few points each.
        for method, names in self.variants().items():
            self.of("frontier", {"--methods": ",".join(names)}, f"variants of {method}", ())
        small = {f"{method}.checkpoint_seconds": 0 for method in ("rloo", "dpo")}
        self.of("frontier", small, "killed",
                ("*points/rloo*checkpoint.safetensors", "*points/dpo*checkpoint.safetensors"))
        self.of("hacking", {"policy.rloo.checkpoint_seconds": 0}, "killed",
                ("*points/one/policy/checkpoint.safetensors", "*points/min/policy/checkpoint.safetensors"))

    def stages(self):
        """Stages without knobs, and what their knobs don't tell."""
        sources = ["model:reward", "ensemble:mean:reward,reward-2", "ensemble:min:reward,reward-2",
                   "implicit:policy", "labeller:concise", "labeller:positive", "regex:ox|hen", "length:2-3",
                   "words", "model:steps:min", "model:steps:prod",
                   "answer:exact,column=chosen,partial=0.5", "likelihood:chosen,model=model",
                   "exec:python3 check.py"]
        for source in sources:
            name = source.split(" ")[0].replace("/", "-")
            self.one("score", {"--reward": source, "--data": "pairs.jsonl", "--output": "out.jsonl"}, name)
        self.one("score", {"--reward": ["model:reward@2", "length:2-3"], "--data": "samples.jsonl",
                           "--output": "out.jsonl"}, "several")
        self.one("logprobs", {"--model": "policy", "--data": "texts.jsonl", "--output": "out.jsonl"}, "plain")
        for data in ("texts", "pairs", "thumbs", "chats", "chat-pairs", "rankings", "samples", "prompts"):
            self.one("inspect", {"--model": "model", "--data": f"{data}.jsonl", "--row": 2}, data)
            self.one("split", {"--data": f"{data}.jsonl", "--train": "train.jsonl",
                               "--held-out": "held-out.jsonl", "--share": 0.3}, data)
        self.add("inspect/text", line("inspect", {"--model": "model", "--data": "chats.jsonl"}))
        self.one("tokenize", {"--model": "model", "--data": "reviews.csv"}, "plain")
        self.of("sample", {"--model": ["model", "policy"]}, "two models")
        self.of("sample", {"--data": "chats.jsonl", "temperature": 0}, "chats, greedy")
        self.of("label", {"shape": "rankings", "sharpness": 9}, "rankings")
        self.of("judge", {"--judge": ["model", "policy"], "by": "rubric"}, "two judges, rubric")
        self.of("judge", {"--data": None, "--output": None, "pairs_per_prompt": None,
                          "--check": "pairs.jsonl", "--answers": "said.answers"}, "check")
        self.of("evaluate", {"--data": "more-pairs.jsonl"}, "pairs")
        self.of("evaluate", {"--judge": "model", "--reward": None}, "judge")
        self.of("evaluate", {"--against": None, "--reference": "model", "--answers": "answers.jsonl",
                             "--output": None}, "reference alone")
        for name, model in {"adapters": "policy", "gguf": "tiny.gguf", "reward": "reward"}.items():
            self.one("export", {"--model": model, "--output": "out"}, name)
        for name in self.values("export", "type"):
            self.one("export", {"--model": "policy", "--output": "out", "--type": name}, name)
        two = ["compare", "policy", "job", "--output", "out.html"]
        self.add("compare/two runs", two, [*two, "--json"])
        self.add("compare/one run", ["compare", "policy"], ["compare", "policy", "--json"])
        grid = {"--model": "model", "--data": "texts.jsonl", "--output": "out", "--config": "recipe.json"}
        self.add("sft/grid", [word for word in line("sft", grid) if word not in ("--seed", "3")],
                 kills=("*learning_rate=0.0001,seed=2/checkpoint.safetensors",))
        self.add("exactness/plain", ["exactness", "--json", "--html", "out.html"])
        self.add("exactness/staleness", ["exactness", "--json", "--staleness"])
        self.one("bench", {"--model": "model", "--train-shape": "2x16", "--sample-batch": 2,
                           "--sample-tokens": 8, "--steps": 2}, "plain")

    def one(self, command, options, name):
        self.add(f"{command}/{name}", line(command, {**options, "--json": True}))

    def feedback(self):
        """A store: what comes in, what goes out, who agrees."""
        store = "--store feedback.db --json --seed 3".split()
        take = ["feedback", "import", "comparisons.jsonl", "thumbs.jsonl", "rankings.jsonl", *store]
        for name in self.values("feedback export", "format"):
            self.add(f"feedback/export {name}", take,
                     ["feedback", "export", "--format", name, "--output", "out.jsonl", *store])
        self.add("feedback/stats", take, ["feedback", "stats", *store],
                 ["feedback", "stats", "--store", "feedback.db", "--all"])
        export = ["feedback", "export", "--output", "out.jsonl", *store]
        page = {"--store": "feedback.db", "--port": 0, "--json": True}
        answers = {**page, "--samples": "samples.jsonl", "pairs_per_prompt": 2}
        self.add("collect/answers", line("collect", answers), export, person=({}, {}))
        # One policy of the first labels; what the page then asks next depends on the clock.
        self.add("collect/align", line("collect", {
            **page, "--json": None, "--model": "model", "--prompts": "prompts.jsonl", "--n": 3,
            "--temperature": 1, "--max-tokens": 12, "--align": "dpo", "--align-every": 6,
            "align.dpo.learning_rate": 0.01}), export, person=({"most": 6}, {"words": "policy 1 answers"}))
        people = {**BASES["rlhf"][0], **BASES["rlhf"][1], "--labeller": "human", "--port": 0, "--json": True,
                  "people.labels": 6, "people.held_out_labels": 2}
        self.add("rlhf/people", line("rlhf", people), person=({}, {"interrupts": False}))
        self.add("rank/file", ["rank", "comparisons.jsonl", "--json"], ["rank", "comparisons.jsonl"])
        self.add("rank/store", take, ["rank", "feedback.db", "--json"])

    def smollm2(self):
        """Three steps of some trainers on SmolLM2, whose sizes take other kernels than the tiny model's."""
        few = {"--model": "smollm2", "train": "lora", "layers": 2, "batch_size": 2, "epochs": None,
               "max_steps": 3, "--eval-data": None}
        self.of("sft", {**few, "--data": "chats.jsonl"}, "smollm2")
        for command in ("reward", "dpo", "kto"):
            self.of(command, few, "smollm2")
        online = {"--model": "smollm2", "layers": 2, "prompts_per_rollout": 2, "samples_per_prompt": 2,
                  "max_tokens": 8}
        for command in ("ppo", "grpo", "raft", "dpg", "brain", "distill"):
            self.of(command, online, "smollm2")
        self.of("generate", {"--model": "smollm2", "--raw": None}, "smollm2")
        job = {"sample.n": 2, "sample.max_tokens": 4, "evaluation.n": 2, "evaluation.max_tokens": 4,
               "rounds": 1, "reward.max_steps": 3, "reward.evaluation_groups": 2,
               "reward.checkpoint_seconds": 0, **PPO, "ppo.max_tokens": 4}
        self.add("quickstart/smollm2", line("quickstart", {"--output": "out", "--json": True, **job}),
                 kills=("*/reward/checkpoint.safetensors", "*/policy/checkpoint.safetensors"))

    def values(self, command, option):
        """What an option takes, as the program lists it."""
        found = self.program.help
        for word in command.split():
            found = next(inner for inner in found["subcommands"] if inner["commandName"] == word)
        return next(argument["allValues"] for argument in found["arguments"]
                    if any(name["name"] == option for name in argument.get("names", [])))
