# SPDX-License-Identifier: Apache-2.0
"""Damages files of every kind and reads them: nothing crashes, and what is refused is named."""
import os
import re
import shutil
import struct

# Values that break what trusts a file.
TEXTS = [b"null", b"-1", b"0", b"1e999", b"9223372036854775807", b"18446744073709551616", b"1e-400",
         b"NaN", b"\"\"", b"[]", b"{}", b"true", b"[[[[[[", b"\"\\ud800\"", b"\xff\xfe", b"\x00",
         b"\"" + b"a" * 70000 + b"\"", b"-9223372036854775808", b"0.5", b"{%", b"%}", b"{{", b"\n"]
NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def damage(random, data):
    """One to three changes of a file's bytes."""
    data = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        if not data:
            break
        place = random.randrange(len(data))
        if random.random() < 0.3:
            # Where formats keep their lengths.
            place = random.randrange(min(len(data), 64))
        kind = random.randrange(8)
        if kind == 0:
            data[place] ^= 1 << random.randrange(8)
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            del data[place:place + random.randrange(1, 40)]
        elif kind == 3:
            data[place:place] = data[place:place + random.randrange(1, 200)]
        elif kind == 4:
            data[place:place] = random.choice(TEXTS)
        elif kind == 5:
            data[place:place + 8] = random.choice([
                struct.pack("<Q", value) for value in (0, 1, 1 << 31, 1 << 32, 1 << 62, (1 << 64) - 1)])
        elif kind == 6:
            numbers = list(NUMBER.finditer(bytes(data[:1 << 20])))
            if numbers:
                number = random.choice(numbers)
                data[number.start():number.end()] = random.choice(TEXTS)
        else:
            lines = bytes(data).split(b"\n")
            line = random.randrange(len(lines))
            lines[line:line + 1] = random.choice([[], [lines[line], lines[line]],
                                                  [random.choice(TEXTS)]])
            data = bytearray(b"\n".join(lines))
    return bytes(data)


def text(value):
    return struct.pack("<Q", len(value)) + value


def gguf():
    """A tiny GGUF: words, a tokenizer and a model's tensors, all float32."""
    width, inner, vocabulary = 32, 64, 320
    # Two characters and what a merge makes of them come first, or no tokenizer is read.
    names = [text(name.encode()) for name in ["<", "1", "<1", *(f"<{i}>" for i in range(3, vocabulary))]]
    u32, string = (lambda v: struct.pack("<II", 4, v)), (lambda v: struct.pack("<I", 8) + text(v))
    values = {
        "general.architecture": string(b"llama"), "llama.embedding_length": u32(width),
        "llama.block_count": u32(1), "llama.feed_forward_length": u32(inner),
        "llama.attention.head_count": u32(4), "llama.attention.head_count_kv": u32(2),
        "llama.context_length": u32(128), "llama.vocab_size": u32(vocabulary),
        "llama.attention.layer_norm_rms_epsilon": struct.pack("<If", 6, 1e-5),
        "llama.rope.freq_base": struct.pack("<If", 6, 1e4),
        "llama.rope.dimension_count": u32(8), "general.alignment": u32(32),
        "tokenizer.ggml.model": string(b"gpt2"), "tokenizer.ggml.pre": string(b"smollm"),
        "tokenizer.ggml.tokens": struct.pack("<IIQ", 9, 8, vocabulary) + b"".join(names),
        "tokenizer.ggml.merges": struct.pack("<IIQ", 9, 8, 1) + text(b"< 1"),
        "tokenizer.ggml.token_type": struct.pack("<IIQ", 9, 5, vocabulary)
        + struct.pack("<i", 1) * vocabulary,
        "tokenizer.ggml.bos_token_id": u32(1), "tokenizer.ggml.eos_token_id": u32(2),
    }
    shapes = {"token_embd.weight": (width, vocabulary), "output_norm.weight": (width,)}
    for name, shape in [("attn_norm", (width,)), ("ffn_norm", (width,)), ("attn_q", (width, width)),
                        ("attn_k", (width, width // 2)), ("attn_v", (width, width // 2)),
                        ("attn_output", (width, width)), ("ffn_gate", (width, inner)),
                        ("ffn_up", (width, inner)), ("ffn_down", (inner, width))]:
        shapes[f"blk.0.{name}.weight"] = shape
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(values))
    head += b"".join(text(key.encode()) + value for key, value in values.items())
    offset, body = 0, b""
    for name, shape in shapes.items():
        count = 1
        for size in shape:
            count *= size
        head += text(name.encode()) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", 0, offset)
        part = b"".join(struct.pack("<f", ((i * 7919) % 101 - 50) / 500) for i in range(count))
        part += bytes(-len(part) % 32)
        body += part
        offset += len(part)
    return head + bytes(-len(head) % 32) + body


class Mutations:
    """Every kind of file that attune reads."""

    def __init__(self, bench, random, report):
        self.bench, self.random, self.report = bench, random, report
        one = "--threads 1 --set max_steps=1 --output out"
        ask = "--raw --prompt a --max-tokens 2 --threads 1"
        bench.write("tiny.gguf", gguf())
        bench.write("recipe.json", '{"epochs": 1, "max_steps": 1, "learning_rate": 1e-4, '
                    '"batch_size": 2, "checkpoint_seconds": 10, "seed": 1, "train": "lora", '
                    '"rank": 4, "alpha": 8.0, "decay": "linear", "max_length": 64}')
        bench.must("feedback import --store store.db pairs.jsonl")
        bench.must("sft --model model --data texts.jsonl --output adapters --set train=lora "
                   "--set max_steps=1 --threads 1")
        self.unfinished()
        # What is damaged, and the commands that read it; {} is the damaged copy.
        chat = "inspect --model damaged --data chats.jsonl --threads 1"
        self.kinds = {
            "texts": ("texts.jsonl", ["sft --model model --data {} " + one]),
            "pairs": ("pairs.jsonl", ["dpo --model model --data {} " + one,
                                      "reward --model model --data {} " + one]),
            "thumbs": ("thumbs.jsonl", ["kto --model model --data {} " + one]),
            "conversations": ("chats.jsonl", ["sft --model model --data {} " + one]),
            "samples": ("samples.jsonl", ["label --data {} --output labels.jsonl",
                                          "score --reward length:1-3 --data {} --output scores.jsonl"]),
            "imported rows": ("pairs.jsonl", ["feedback import --store new.db {}"]),
            "recipe": ("recipe.json", ["sft --model model --data texts.jsonl --config {} --output out"]),
            "configuration": ("model/config.json", ["generate --model damaged " + ask]),
            "initial configuration": ("config.json", [
                "sft --init {} --data texts.jsonl " + one]),
            "tokenizer": ("model/tokenizer.json", ["generate --model damaged " + ask]),
            "tokenizer settings": ("model/tokenizer_config.json", [chat]),
            "weights": ("model/model.safetensors", ["generate --model damaged " + ask]),
            "adapters": ("adapters/adapter_model.safetensors", ["generate --model damaged " + ask]),
            "adapter settings": ("adapters/adapter_config.json", ["generate --model damaged " + ask]),
            "note": ("adapters/attune.json", ["generate --model damaged " + ask]),
            "gguf": ("tiny.gguf", ["generate --model {} " + ask]),
            "store": ("store.db", ["feedback stats --store {}",
                                   "feedback export --store {} --output out.jsonl"]),
            "run": ("unfinished/run.json", [self.resume]),
            "checkpoint": ("unfinished/checkpoint.safetensors", [self.resume]),
            "metrics": ("unfinished/metrics.jsonl", [self.resume]),
        }

    resume = ("sft --model model --data texts.jsonl --threads 1 --set checkpoint_seconds=0 "
              "--set batch_size=2 --epochs 2 --output damaged")

    def unfinished(self):
        """A run with a checkpoint that is not finished."""
        line = self.resume.replace("damaged", "unfinished")
        for call in range(40, 400, 3):
            self.bench.remove("unfinished")
            self.bench.run(line, {"LD_PRELOAD": self.bench.shim, "CAMPAIGN_KILL": str(call)})
            if os.path.exists(self.bench.path("unfinished", "checkpoint.safetensors")):
                return
        raise SystemExit("no kill leaves a checkpoint")

    def trial(self):
        bench, random = self.bench, self.random
        kind = random.choice(sorted(self.kinds))
        source, lines = self.kinds[kind]
        line = random.choice(lines)
        bench.remove("damaged", "out", "new.db", "labels.jsonl", "scores.jsonl", "out.jsonl")
        with open(bench.path(source), "rb") as file:
            content = damage(random, file.read())
        name = os.path.basename(source)
        if "{}" in line:
            os.makedirs(bench.path("damaged"))
            # Not a name that a message has of itself.
            target = os.path.join("damaged", name)
            line = line.replace("{}", target)
        else:
            shutil.copytree(bench.path(os.path.dirname(source)), bench.path("damaged"))
            target = os.path.join("damaged", name)
        bench.write(target, content)
        run = bench.run(line)
        self.report.count("mutated files")
        what = run.trouble()
        # The file, or the model's or run's folder that was given.
        named = name in run.failure or "damaged" in run.failure
        if what is None and run.code == 1 and not named:
            what = f"names no file: {run.failure}"
        if what is None and run.code == 0 and "out" in line.split():
            left = bench.leftovers("out")
            what = "leaves " + ", ".join(left) if left else None
        if what:
            self.report.fail(
                "mutation", f"{kind}: {line}: {what}", content, name)
