#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds `attune serve` against the clients that people have, and says how fast it is.

    serve.py --attune PROGRAM [--model smollm2] [PART ...]

Parts: `clients` (the openai client, the README's curl line), `lm-eval` (lm-eval's own numbers by transformers in
float32 beside those through the server), `speed` (32 streams at once beside `attune bench --sample-batch 32`, and
the first token of a 200-token prompt), `circle` (60 rated chats, --align dpo, later choices). All by default.
Needs openai, lm-eval[api] 0.4.13, torch and transformers.
"""
import argparse
import atexit
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEY = "a key of the script"


class Server:
    """A server that runs, on a free port."""

    def __init__(self, attune, *arguments, folder):
        self.errors = open(os.path.join(folder, "serve.log"), "w+")
        self.process = subprocess.Popen(
            [attune, "serve", "--port", "0", *arguments], stdout=subprocess.PIPE, stderr=self.errors,
            cwd=folder)
        atexit.register(self.process.kill)
        for _ in range(1200):
            found = re.findall(r"http://127\.0\.0\.1:\d+/", self.log())
            if found:
                self.url = found[0]
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        sys.exit("the server does not listen: " + self.log())

    def log(self):
        with open(self.errors.name) as file:
            return file.read()

    def get(self, path):
        request = urllib.request.Request(self.url + path, headers={"Authorization": "Bearer " + KEY})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=120)


failures = []


def check(holds, words):
    print(("  ok    " if holds else "  FAILS ") + words, flush=True)
    if not holds:
        failures.append(words)


def client(server):
    import openai
    return openai.OpenAI(base_url=server.url + "v1", api_key=KEY, max_retries=0)


# -- clients ----------------------------------------------------------------------------------------------------


def clients(attune, model, folder):
    import openai
    print("The openai client and curl")
    server = Server(attune, "--model", model, "--api-key", KEY, "--store", "clients.db", folder=folder)
    api = client(server)
    name = os.path.basename(model)
    check([each.id for each in api.models.list().data] == [name], "models.list names the model")
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    whole = api.chat.completions.create(model=name, messages=turns, temperature=0, max_tokens=24)
    text = whole.choices[0].message.content
    check("Paris" in text, f"chat: {text!r}")
    usage = whole.usage
    check(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 20, f"usage: {usage.total_tokens} tokens")
    parts, last = [], None
    for piece in api.chat.completions.create(
            model=name, messages=turns, temperature=0, max_tokens=24, stream=True,
            stream_options={"include_usage": True}):
        parts += [choice.delta.content or "" for choice in piece.choices]
        last = piece
    check("".join(parts) == text, f"streamed in {len(parts)} pieces: the same words")
    check(last.usage.completion_tokens == usage.completion_tokens, "stream_options: usage at the end")
    many = api.chat.completions.create(
        model=name, messages=turns, n=3, seed=7, temperature=1.2, top_p=0.9, max_tokens=16, logprobs=True,
        top_logprobs=4)
    again = api.chat.completions.create(
        model=name, messages=turns, n=3, seed=7, temperature=1.2, top_p=0.9, max_tokens=16)
    texts = [choice.message.content for choice in many.choices]
    check(len(set(texts)) == 3 and texts == [choice.message.content for choice in again.choices],
          "n=3 with a seed: three answers, the same again")
    tokens = many.choices[0].logprobs.content
    check(b"".join(bytes(each.bytes) for each in tokens).decode().startswith(texts[0]), "bytes of tokens make the text")
    check(all(len(each.top_logprobs) == 4 for each in tokens), "top_logprobs lists four")
    stopped = api.chat.completions.create(
        model=name, messages=turns, temperature=0, max_tokens=24, stop=["Paris"]).choices[0]
    check(stopped.message.content == text[:text.index("Paris")] and stopped.finish_reason == "stop", "stop ends the text")
    plain = api.completions.create(model=name, prompt=["One, two,", "Red, green,"], temperature=0, max_tokens=6)
    check([choice.index for choice in plain.choices] == [0, 1], f"completions of two prompts: {plain.choices[0].text!r}")
    echo = api.completions.create(
        model=name, prompt="One, two, three", temperature=0, max_tokens=2, echo=True, logprobs=2).choices[0]
    check(echo.text.startswith("One, two, three") and echo.logprobs.token_logprobs[0] is None
          and len(echo.logprobs.tokens) == len(echo.logprobs.token_logprobs), "echo with log-probabilities of the prompt")
    for field, body in [
            ("frequency_penalty", {"frequency_penalty": 0.5}), ("tools", {"tools": [{"type": "function"}]}),
            ("logit_bias", {"logit_bias": {"5": 1}}), ("best_off", {"extra_body": {"best_off": 2}}),
            ("top_logprobs", {"top_logprobs": 2})]:
        try:
            api.chat.completions.create(model=name, messages=turns, max_tokens=1, **body)
            check(False, f"{field} is refused")
        except openai.BadRequestError as error:
            check(error.param == field, f"{field} is refused by name")
    for error, ask in [
            (openai.NotFoundError, lambda: api.chat.completions.create(model="none", messages=turns)),
            (openai.AuthenticationError, lambda: openai.OpenAI(
                base_url=server.url + "v1", api_key="wrong", max_retries=0).models.list())]:
        try:
            ask()
            check(False, error.__name__)
        except error:
            check(True, error.__name__)
    said = api.post("/feedback", body={"id": whole.id, "rating": "up", "reason": "right"}, cast_to=object)
    check(said["stored"], "feedback by the response's id")
    # The client that goes: its answer is not drawn to the end.
    stream = api.chat.completions.create(model=name, messages=turns, temperature=1, max_tokens=1500, stream=True)
    next(iter(stream))
    stream.close()
    time.sleep(1)
    check(server.get("health")["running"] == 0, "a client that goes ends its answer")
    with open(os.path.join(ROOT, "README.md")) as file:
        lines = re.findall(r"^curl (?:[^\n\\]|\\\n|\\.)*", file.read(), re.M)
    for line in lines:
        line = line.replace("http://127.0.0.1:8000/", server.url).replace("curl ", f"curl -sf -H 'Authorization: Bearer {KEY}' ")
        line = line.replace("smollm2", name).replace('"ID"', json.dumps(whole.id))
        run = subprocess.run(line, shell=True, capture_output=True, text=True)
        check(run.returncode == 0 and run.stdout.strip() != "", f"README: {line.split(' -d')[0][:60]} … {run.stdout[:60]!r}")
    check(len(lines) > 0, "the README has a curl line")
    server.stop()


# -- lm-eval ----------------------------------------------------------------------------------------------------

FACTS = [
    ("The capital of France is", ["Paris", "Rome", "Oslo", "Cairo"]), ("The opposite of hot is", ["cold", "red", "loud", "fast"]),
    ("A dog is an", ["animal", "engine", "ocean", "hour"]), ("Two plus two is", ["four", "nine", "zero", "eleven"]),
    ("The sun rises in the", ["east", "west", "night", "sea"]), ("Water freezes into", ["ice", "fire", "glass", "sand"]),
    ("Bees make", ["honey", "bricks", "paper", "oil"]), ("The first month of the year is", ["January", "Friday", "July", "Monday"]),
    ("We hear with our", ["ears", "knees", "hair", "feet"]), ("A triangle has three", ["sides", "wheels", "eyes", "doors"]),
    ("The Earth moves around the", ["Sun", "Moon", "table", "clock"]), ("Cats like to chase", ["mice", "planets", "numbers", "houses"]),
    ("Grass is usually", ["green", "purple", "square", "salty"]), ("A library is full of", ["books", "fish", "tyres", "snow"]),
    ("The largest ocean is the", ["Pacific", "Sahara", "Amazon", "Everest"]), ("People sleep at", ["night", "lunch", "speed", "school"]),
    ("A week has seven", ["days", "years", "hours", "minutes"]), ("Shakespeare wrote", ["plays", "software", "recipes", "laws"]),
    ("The heart pumps", ["blood", "air", "stones", "light"]), ("Bread is made from", ["flour", "iron", "wool", "salt water"]),
    ("In winter it is", ["cold", "triangular", "metallic", "edible"]), ("Rain falls from", ["clouds", "roots", "books", "shoes"]),
    ("A carpenter works with", ["wood", "music", "poems", "clouds"]), ("The colour of the sky is", ["blue", "sour", "heavy", "wooden"]),
]


def tasks(folder):
    """Writes a task of choices, one of texts and one of answers, on local files."""
    os.makedirs(folder)
    with open(os.path.join(folder, "facts.jsonl"), "w") as file:
        for i, (stem, choices) in enumerate(FACTS):
            # The right one is not always the first.
            turned = choices[i % 4:] + choices[:i % 4]
            file.write(json.dumps({"stem": stem, "choices": turned, "answer": turned.index(choices[0]),
                                   "text": f"{stem} {choices[0]}. Everybody knows that, since it was always so."}) + "\n")
    data = f"""dataset_path: json
dataset_kwargs:
  data_files:
    test: {os.path.join(folder, 'facts.jsonl')}
test_split: test
"""
    with open(os.path.join(folder, "choices.yaml"), "w") as file:
        file.write("task: facts_choices\noutput_type: multiple_choice\n" + data + """doc_to_text: "{{stem}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list:
  - metric: acc
  - metric: acc_norm
""")
    with open(os.path.join(folder, "texts.yaml"), "w") as file:
        file.write("task: facts_texts\noutput_type: loglikelihood_rolling\n" + data + """doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - metric: word_perplexity
""")
    for name, words in [("answers", "{{stem}}"), ("chat", "Finish the sentence in a few words: {{stem}}")]:
        with open(os.path.join(folder, f"{name}.yaml"), "w") as file:
            file.write(f"task: facts_{name}\noutput_type: generate_until\n" + data + f"""doc_to_text: "{words}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs:
  until: ["\\n"]
  max_gen_toks: 12
  do_sample: false
  temperature: 0.0
metric_list:
  - metric: exact_match
""")


def lm_eval(attune, model, folder):
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["OPENAI_API_KEY"] = KEY
    import lm_eval as evaluator
    import torch
    from lm_eval.tasks import TaskManager
    print(f"lm-eval {evaluator.__version__}")
    exported = os.path.join(folder, "float32")
    subprocess.check_call([attune, "export", "--model", model, "--output", exported], stdout=subprocess.DEVNULL)
    tasks(os.path.join(folder, "tasks"))
    manager = TaskManager(include_path=os.path.join(folder, "tasks"), include_defaults=False)
    plain = ["facts_choices", "facts_texts", "facts_answers"]

    def run(kind, arguments, names, **more):
        return evaluator.simple_evaluate(
            model=kind, model_args=arguments, tasks=names, task_manager=manager, log_samples=True,
            bootstrap_iters=0, verbosity="ERROR", **more)

    server = Server(attune, "--model", "served=" + exported, "--api-key", KEY, folder=folder)
    common = dict(model="served", tokenizer=exported, tokenizer_backend="huggingface", num_concurrent=8,
                  max_retries=1, max_length=2048, eos_string="<|im_end|>")
    ours = run("local-completions", dict(common, base_url=server.url + "v1/completions"), plain)
    chat = run("local-chat-completions", dict(
        model="served", base_url=server.url + "v1/chat/completions", num_concurrent=8, max_retries=1,
        eos_string="<|im_end|>"),
        ["facts_chat"], apply_chat_template=True)
    server.stop()
    peer = dict(pretrained=exported, dtype="float32", device="cpu", max_length=2048)
    torch.set_num_threads(2)
    theirs = run("hf", peer, plain, batch_size=1)
    their_chat = run("hf", peer, ["facts_chat"], batch_size=1, apply_chat_template=True)

    def numbers(result, task):
        return {name: value for name, value in result["results"][task].items()
                if isinstance(value, (int, float)) and "stderr" not in name}

    def answers(result, task):
        return [sample["resps"] for sample in sorted(result["samples"][task], key=lambda each: each["doc_id"])]

    gaps = []
    for mine, other in zip(answers(ours, "facts_choices"), answers(theirs, "facts_choices")):
        for (a,), (b,) in zip(mine, other):
            gaps.append(abs(float(a[0]) - float(b[0])))
            if bool(a[1]) != bool(b[1]):
                gaps.append(float("inf"))
    check(max(gaps) < 2e-3, f"likelihoods of {len(gaps)} choices: {max(gaps):.2g} nats apart at most, the same are greedy")
    for task in plain:
        a, b = numbers(ours, task), numbers(theirs, task)
        near = all(abs(a[name] - b[name]) <= 1e-3 * max(1, abs(b[name])) for name in b)
        check(near, f"{task}: {a} by the server, {b} by transformers")
    for task, mine, other in [("facts_answers", ours, theirs), ("facts_chat", chat, their_chat)]:
        pairs = list(zip(answers(mine, task), answers(other, task)))
        same = sum(str(a[0][0]).strip() == str(b[0][0]).strip() for a, b in pairs)
        check(same == len(pairs), f"{task}: {same} of {len(pairs)} greedy answers are the same")


# -- speed ------------------------------------------------------------------------------------------------------


def speed(attune, model, folder):
    print("Speed")
    bench = json.loads(subprocess.run(
        [attune, "bench", "--model", model, "--sample-batch", "32", "--json"], capture_output=True, text=True,
        check=True).stdout)
    server = Server(attune, "--model", model, "--api-key", KEY, folder=folder)
    api, name = client(server), os.path.basename(model)
    words = "The quick brown fox jumps over the lazy dog and runs away. "
    # Some 200 tokens, each time others: nothing is kept of them.
    delays = []
    for i in range(12):
        turns = [{"role": "user", "content": f"{i * 7919} " + words * 12 + "Go on."}]
        began = time.monotonic()
        stream = api.chat.completions.create(
            model=name, messages=turns, max_tokens=2, temperature=0, stream=True,
            stream_options={"include_usage": True})
        first, tokens = None, 0
        for piece in stream:
            if piece.choices and piece.choices[0].delta.content and first is None:
                first = time.monotonic() - began
            if piece.usage:
                tokens = piece.usage.prompt_tokens
        delays.append(first)
    # The first has the model's pages to touch.
    delays = delays[1:]
    middle = statistics.median(delays)
    check(middle < 0.3, f"first token of a {tokens}-token prompt: {middle:.3f} s (median of {len(delays)}: "
          + ", ".join(f"{each:.3f}" for each in delays) + ")")
    gate = threading.Barrier(32)
    ends = []

    def stream_one(place):
        gate.wait()
        stream = api.completions.create(
            model=name, prompt=[[(place * 97 + j * 31) % 40000 + 20 for j in range(16)]][0], max_tokens=129,
            temperature=1, seed=place, stream=True, logprobs=0, stop=None)
        times = [time.monotonic() for piece in stream if piece.choices and piece.choices[0].logprobs]
        ends.append(times)

    threads = [threading.Thread(target=stream_one, args=(place,)) for place in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # As bench counts: from the first token of all to the last one.
    begun = max(times[0] for times in ends)
    ended = max(times[-1] for times in ends)
    tokens = sum(sum(1 for each in times if each > begun) for times in ends)
    rate = tokens / (ended - begun)
    full = [times for times in ends if len(times) >= 129]
    if full:
        # While all 32 run: until the first of them ends.
        until = min(times[-1] for times in ends)
        count = sum(sum(1 for each in times if begun < each <= until) for times in ends)
        rate = max(rate, count / (until - begun)) if until > begun else rate
    wanted = bench["sample_tokens_per_second"]
    check(rate >= 0.8 * wanted, f"32 streams at once: {rate:.0f} tokens/s, {rate / wanted:.2f} of bench's {wanted:.0f}")
    server.stop()


# -- circle -----------------------------------------------------------------------------------------------------


def circle(attune, model, folder):
    print("A circle: serve, rate, align, serve")
    server = Server(
        attune, "--model", model, "--api-key", KEY, "--store", "circle.db", "--align", "dpo",
        "--align-every", "60", "--set", "align.versus=1", "--set", "align.dpo.learning_rate=5e-4", folder=folder)
    api, name = client(server), os.path.basename(model)
    things = ["a river", "the moon", "an old clock", "bread", "a lighthouse", "winter", "a violin", "bees", "a map",
              "the sea", "tea", "a bridge", "paper", "a garden", "glass"]
    asks = ["What is {}?", "Tell me about {}.", "Why do people like {}?", "Describe {} to a child.", "Write a line about {}.",
            "What is {} good for?", "How would you draw {}?", "Give me a fact about {}."]
    # Answers that end by themselves, or all would be as long as they may be.
    asks = [ask + " Answer in a sentence." for ask in asks]
    prompts = [ask.format(thing) for thing in things for ask in asks]

    def chat(prompt):
        """A user who likes the shorter of two drafts."""
        answer = api.chat.completions.create(
            model=name, messages=[{"role": "user", "content": prompt}], n=2, max_tokens=96, temperature=1,
            extra_body={"compare": True})
        texts = [choice.message.content for choice in answer.choices]
        lengths = [len(text.split()) for text in texts]
        best = "tie" if lengths[0] == lengths[1] else lengths.index(min(lengths))
        if texts[0] != texts[1]:
            api.post("/feedback", body={"id": answer.id, "preferred": best}, cast_to=object)

    def several(prompts):
        left = list(prompts)
        lock = threading.Lock()

        def work():
            while True:
                with lock:
                    if not left:
                        return
                    prompt = left.pop()
                chat(prompt)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    began = time.monotonic()
    told, at = server.get("v1/policies"), 0
    while told["current"] == 0 and told.get("training") is None:
        # Ties don't count: as many chats as 60 choices need.
        several(prompts[at:at + 10])
        at = (at + 10) % len(prompts)
        told = server.get("v1/policies")
        time.sleep(0.5)
        told = server.get("v1/policies")
    rated = time.monotonic() - began
    while server.get("v1/policies")["current"] == 0:
        time.sleep(1)
    trained = time.monotonic() - began - rated
    several(prompts[60:] + prompts[:20])
    told = server.get("v1/policies")
    policy = told["policies"][1]
    wins = policy["wins"]
    low, high = wins["interval"]["low"], wins["interval"]["high"]
    print(f"  rating took {rated:.0f} s, training {trained:.0f} s; policy 1 of {policy['labels']} choices; "
          f"held-out accuracy {policy.get('accuracy')} of {policy['held_out']}")
    check(low > 0.5, f"policy 1 won {wins['value']:.2f} ({low:.2f} to {high:.2f}) of {wins['won'] + wins['lost'] + wins['tied']} later "
          "choices against its start")
    server.stop()
    back = Server(
        attune, "--model", model, "--api-key", KEY, "--store", "circle.db", "--align", "dpo", "--policy", "0",
        folder=folder)
    told = back.get("v1/policies")
    check(told["current"] == 0, "--policy 0 goes back to the model")
    names = [each["id"] for each in back.get("v1/models")["data"]]
    check(names[:3] == [name, f"{name}@0", f"{name}@1"], f"by name: {names}")
    back.stop()


PARTS = {"clients": clients, "lm-eval": lm_eval, "speed": speed, "circle": circle}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--attune", required=True)
parser.add_argument("--model", default="smollm2")
parser.add_argument("parts", nargs="*", metavar="PART")
given = parser.parse_args()
if unknown := set(given.parts) - set(PARTS):
    parser.error(f"there is no part {sorted(unknown)[0]}")
work = tempfile.mkdtemp(prefix="attune-serve-")
try:
    for part in given.parts or PARTS:
        PARTS[part](os.path.abspath(given.attune), given.model, work)
finally:
    shutil.rmtree(work, ignore_errors=True)
sys.exit(f"{len(failures)} checks failed" if failures else 0)
