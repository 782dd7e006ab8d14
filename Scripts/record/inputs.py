# SPDX-License-Identifier: Apache-2.0
"""Models and data that the cases read: rows of every shape, a model, and what the program made of both."""
import json
import os

from bench import CONFIG, Bench
from mutations import gguf

COMMON = "--threads 2 --seed 3 --template-date 2026-01-02"
WORDS = ["ox", "cat", "bee", "hen", "pig"]


def words(i, count):
    return " ".join(WORDS[(i + k) % 5] for k in range(count))


class Inputs(Bench):
    """The campaign's inputs, a model that has learned to end its answers, and what commands made of it."""
    config = dict(CONFIG, hidden_size=64, intermediate_size=128)
    options = COMMON
    training = "--epochs 30 --set batch_size=8 --set learning_rate=3e-3"
    limit = 600
    # What later commands read, made by the program itself.
    made = [
        "sample --model model --data prompts.jsonl --output samples.jsonl --n 4 --max-tokens 12",
        "label --data samples.jsonl --labeller concise --output labels.jsonl",
        "reward --model model --data pairs.jsonl --output reward --epochs 4 --set learning_rate=3e-3",
        "reward --model model --data soft.jsonl --output reward-2 --epochs 4 --set learning_rate=3e-3",
        "reward --model model --data steps.jsonl --output steps --set loss=pointwise --epochs 4 --set learning_rate=3e-3",
        "dpo --model model --data pairs.jsonl --output policy --epochs 2 --set learning_rate=1e-3",
        "rlhf --model model --data prompts.jsonl --output job --set rounds=2 --set sample.n=3 "
        "--set sample.max_tokens=12 --set reward.epochs=1 --set ppo.rollouts=2 --set ppo.max_tokens=12 "
        "--set ppo.prompts_per_rollout=2 --set ppo.samples_per_prompt=2 --set evaluation.n=2 "
        "--set evaluation.max_tokens=12",
    ]

    def __init__(self, folder, attune, isThere=False):
        if isThere:
            self.folder, self.attune, self.shim = folder, attune, os.path.join(folder, "killer.so")
            return
        super().__init__(folder, attune)
        for line in self.made:
            self.must(f"{line} {COMMON}")

    def data(self):
        super().data()
        rows = range(16)

        def ask(i):
            return f"{i} {WORDS[i % 5]}: "
        self.rows("texts.jsonl", [{"prompt": ask(i), "completion": words(i, 1 + i % 3)} for i in rows])
        self.rows("more-texts.jsonl", [{"prompt": ask(i), "completion": words(i, 2)} for i in range(16, 21)])
        pairs = [{"prompt": ask(i), "chosen": words(i, 1 + i % 3), "rejected": words(i + 2, 1 + (i + 1) % 3)}
                 for i in range(22)]
        self.rows("pairs.jsonl", pairs[:16])
        self.rows("more-pairs.jsonl", pairs[16:])
        self.rows("soft.jsonl", [dict(row, probability=0.55 + 0.02 * i) for i, row in enumerate(pairs[:16])])
        self.rows("ties.jsonl", [dict(row, outcome=["preferred", "tie", "both_bad"][i % 3])
                                 for i, row in enumerate(pairs)])
        self.rows("thumbs.jsonl", [{"prompt": ask(i), "completion": words(i, 1 + i % 3),
                                    "label": i % 3 != 0} for i in rows])
        self.rows("more-thumbs.jsonl", [{"prompt": ask(i), "completion": words(i, 1 + i % 2),
                                         "label": i % 2 == 0} for i in range(16, 22)])
        self.rows("prompts.jsonl", [{"prompt": ask(i), "answer": words(i, 1)} for i in range(9)])
        self.rows("rankings.jsonl", [{
            "prompt": ask(i), "scores": [0.4 * i, 1.5, -1 - i],
            "completions": [words(i, 1), words(i, 2), words(i + 1, 3)]} for i in rows])
        self.rows("steps.jsonl", [{
            "prompt": ask(i), "completions": [words(i, 1), words(i + 1, 2), words(i + 2, 1)],
            "labels": ["ox" not in words(i + k, 1 + k % 2) for k in range(3)]} for i in range(22)])
        self.rows("explored.jsonl", [dict(row, explored=words(i + 3, 2)) for i, row in enumerate(pairs)])
        self.rows("chats.jsonl", [{"messages": [
            {"role": "system", "content": "be brief"}, {"role": "user", "content": f"what is {i}?"},
            {"role": "assistant", "content": words(i, 1)}, {"role": "user", "content": "and then?"},
            {"role": "assistant", "content": words(i, 2)}]} for i in range(10)])
        self.rows("chat-pairs.jsonl", [{
            "prompt": [{"role": "user", "content": ask(i)}],
            "chosen": [{"role": "assistant", "content": words(i, 1)}],
            "rejected": [{"role": "assistant", "content": words(i, 2)}]} for i in range(10)])
        self.rows("comparisons.jsonl", [dict(
            row, chosen_model="abc"[i % 3], rejected_model="abc"[(i + 1) % 3],
            annotator=["anna", "ben"][i % 2]) for i, row in enumerate(pairs * 2)])
        # What trainers say of rows that they can't use: empty, alike, too long.
        self.rows("poor-pairs.jsonl", pairs[:6] + [
            {"prompt": "same: ", "chosen": "ox", "rejected": "ox"},
            {"prompt": "long: " * 40, "chosen": words(0, 3), "rejected": words(1, 60)},
            {"prompt": "empty: ", "chosen": "", "rejected": "hen"}])
        self.write("reviews.csv", "text,source\n" + "".join(
            f"\"{words(i, 3)}, {words(2 * i, 6)}<br />{i}\",imdb\n" for i in range(20)))
        self.write("principles.txt", "Be brief.\nName an animal.\n")
        self.write("recipe.json", json.dumps({"batch_size": 4, "learning_rate": [1e-4, 1e-3],
                                              "seed": [1, 2], "train": "lora", "rank": 4}))
        # How often a row's own answer stands in what was said.
        self.write("check.py", "import json, sys\nfor line in sys.stdin:\n    asked = json.loads(line)\n"
                   "    score = asked['completion'].count(asked['row'].get('answer', 'x'))\n"
                   "    print(json.dumps({'id': asked['id'], 'score': score}), flush=True)\n")
        # A lexicon in the place of VADER's, which attune pull would fetch.
        os.makedirs(self.path("cache", "vader"))
        self.write("cache/vader/vader_lexicon.txt", "ox\t1.5\ncat\t-2.0\nbee\t0.7\nhen\t2.5\npig\t-1.1\n")
        self.write("cache/vader/emoji_utf8_lexicon.txt", "😀\tgrinning face\n")
        self.write("said.txt", "what is 3?\nand 4?\n/reset\nox\n")
        self.write("tiny.gguf", gguf())
