# SPDX-License-Identifier: Apache-2.0
"""A folder with tiny inputs, and how the campaign runs attune in it."""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 320, "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5, "rope_theta": 10000, "hidden_act": "silu", "tie_word_embeddings": True,
}
TEMPLATE = ("{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}"
            "{% if add_generation_prompt %}<assistant>{% endif %}")
# Seconds after which a command of tiny inputs hangs.
LIMIT = 60


class Run:
    """What a command came to."""

    def __init__(self, code, errors, output, seconds):
        self.code, self.errors, self.output, self.seconds = code, errors, output, seconds

    @property
    def failure(self):
        lines = [line for line in self.errors.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def trouble(self):
        """What no command may do, whatever it is given; None: nothing."""
        if self.code is None:
            return f"hangs (over {LIMIT} s)"
        if self.code < 0:
            return f"ends by signal {signal.Signals(-self.code).name}"
        if self.code not in (0, 1, 64):
            return f"exit code {self.code}"
        if self.code and not self.failure.startswith("error: "):
            return f"exit code {self.code} without an error: {self.failure!r}"
        return None


class Bench:
    """Inputs, the program and the shim that kills it."""
    # The model's configuration, how it is trained, and what every command is told that makes inputs.
    config = CONFIG
    training = "--set max_steps=1"
    options = ""
    limit = LIMIT

    def __init__(self, folder, attune):
        self.folder, self.attune = folder, attune
        os.makedirs(folder, exist_ok=True)
        self.shim = self.path("killer.so")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "killer.c")
        subprocess.check_call([os.environ.get("CC", "cc"), "-O1", "-shared", "-fPIC", "-o",
                               self.shim, source, "-ldl"])
        self.write("config.json", json.dumps(self.config))
        self.data()
        self.must(f"sft --init config.json --data texts.jsonl --output model {self.training} {self.options}")
        settings = self.path("model", "tokenizer_config.json")
        with open(settings) as file:
            tokenizer = json.load(file)
        tokenizer["chat_template"] = TEMPLATE
        self.write("model/tokenizer_config.json", json.dumps(tokenizer, indent=1))
        self.must("sample --model model --data prompts.jsonl --output samples.jsonl --n 3 "
                  f"--max-tokens 6 {self.options}")

    def data(self):
        """Writes a file of every shape of rows."""
        words = ["red", "green", "blue", "grey", "pink"]
        rows = range(12)
        self.rows("texts.jsonl", [{"prompt": f"{i} is ", "completion": words[i % 5]} for i in rows])
        self.rows("pairs.jsonl", [{"prompt": f"say {i}: ", "chosen": words[i % 5],
                                   "rejected": words[(i + 2) % 5] + "!"} for i in rows])
        self.rows("thumbs.jsonl", [{"prompt": f"say {i}: ", "completion": words[i % 5],
                                    "label": i % 2 == 0} for i in rows])
        self.rows("prompts.jsonl", [{"prompt": f"a {words[i % 5]} {i}"} for i in rows])
        self.rows("chats.jsonl", [{"messages": [
            {"role": "user", "content": f"what is {i}?"},
            {"role": "assistant", "content": words[i % 5]}]} for i in rows])

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())

    def rows(self, name, rows):
        self.write(name, "".join(json.dumps(row) + "\n" for row in rows))

    def must(self, line):
        run = self.run(line)
        if run.code != 0:
            raise SystemExit(f"attune {line}: {run.errors}")
        return run

    def start(self, line, environment=None, out=None, said=os.devnull):
        """Starts a command in a group of its own, its words in files: a full pipe would stop it.

        The file `said` is its standard input."""
        out = out or self.path("out.txt")
        variables = dict(os.environ, ATTUNE_CACHE=self.path("cache"), **(environment or {}))
        arguments = line if isinstance(line, list) else line.split()
        with open(out, "wb") as output, open(out + ".err", "wb") as errors, open(said, "rb") as words:
            return subprocess.Popen([self.attune, *arguments], cwd=self.folder, env=variables,
                                    stdin=words, stdout=output, stderr=errors,
                                    start_new_session=True)

    def run(self, line, environment=None, kill_after=None, said=os.devnull):
        """Runs a command to its end, or kills it after so many seconds."""
        began = time.monotonic()
        process = self.start(line, environment, said=said)
        try:
            code = process.wait(self.limit if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None if kill_after is None else -signal.SIGKILL
        seconds = time.monotonic() - began
        with open(self.path("out.txt"), errors="replace") as output:
            words = output.read()
        with open(self.path("out.txt.err"), errors="replace") as errors:
            return Run(code, errors.read(), words, seconds)

    def remove(self, *names):
        for name in names:
            path = self.path(name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.remove(path)

    def files(self, folder):
        """Every file below a folder by its path from there."""
        top = self.path(folder)
        return sorted(os.path.relpath(os.path.join(place, name), top)
                      for place, _, names in os.walk(top) for name in names)

    def digests(self, folder):
        """What must be the same after a kill: weights as bytes, metrics without the clock's."""
        found = {}
        for name in self.files(folder):
            path = self.path(folder, name)
            if name.endswith(".safetensors"):
                with open(path, "rb") as file:
                    found[name] = hashlib.sha256(file.read()).hexdigest()
            elif name.endswith("metrics.jsonl"):
                with open(path) as file:
                    found[name] = [timeless(line) for line in file]
        return found

    def leftovers(self, folder):
        """Files that no finished run leaves."""
        return [name for name in self.files(folder)
                if re.fullmatch(r"\..*\.(part|partial|tmp)", os.path.basename(name))
                or os.path.basename(name) == "checkpoint.safetensors"]


def timeless(line):
    """A line of metrics without what depends on the clock."""
    try:
        values = json.loads(line)
    except ValueError:
        return line
    return {key: value for key, value in values.items()
            if key != "time" and not key.startswith(("speed/", "seconds/", "memory/"))}
