# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's half of compare_llama.py: its server, in this process, answering parallel requests.

Prints one JSON object. Run by compare_llama.py in a virtual environment of its own. With --write-q8
it writes the model again in 8-bit codes instead (Q8_0, every matrix), for both sides to load.
"""
import argparse
import json
import os
import sys
import threading
import time

arguments = argparse.ArgumentParser()
arguments.add_argument("--gguf", required=True)
arguments.add_argument("--write-q8", metavar="FILE")
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--sequences", default="1,8,32", help="how many are sampled side by side")
arguments.add_argument("--tokens", type=int, default=64, help="sampled of each")
options = arguments.parse_args()
os.environ["OMP_NUM_THREADS"] = str(options.threads)


def write_q8():
    import gguf
    read = gguf.GGUFReader(options.gguf)
    beside = options.write_q8 + ".part"
    architecture = read.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(beside, architecture)
    for field in read.fields.values():
        # The writer counts for itself, and has said the architecture.
        if field.name == "general.architecture" or field.name.startswith("GGUF."):
            continue
        value = field.contents()
        if field.name == "general.file_type":
            value = int(gguf.LlamaFileType.MOSTLY_Q8_0)
        writer.add_key_value(
            field.name, value, field.types[0],
            sub_type=field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None)
    for tensor in read.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if values.ndim == 1:
            writer.add_tensor(tensor.name, values)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(beside, options.write_q8)


if options.write_q8:
    write_q8()
    sys.exit()

import xllamacpp  # noqa: E402

SETTINGS = {"ignore_eos": True, "cache_prompt": False, "temperature": 1.0}
# The prompt of one sequence, and what is sampled: 128 tokens hold both.
PROMPT, CONTEXT = [1 + 97 * i for i in range(16)], 128
CACHE_TYPES = {0: "float32", 1: "float16", 30: "bfloat16", 8: "Q8_0"}


def rate(count):
    """Tokens a second of so many requests at once; two lengths, so that prompts cancel."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = options.gguf
    parameters.n_parallel = count
    parameters.n_ctx = count * CONTEXT
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)

    def seconds(tokens):
        answers = [None] * count

        def ask(number):
            answers[number] = server.handle_completions(
                {"prompt": PROMPT, "n_predict": tokens, "seed": number, **SETTINGS})

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - start
        for answer in answers:
            answer = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
            if answer["usage"]["completion_tokens"] != tokens:
                sys.exit(f"llama.cpp gave not {tokens} tokens: {answer}")
        return elapsed

    seconds(2)
    short = seconds(2)
    long = seconds(options.tokens + 2)
    types = [int(parameters.cache_type_k), int(parameters.cache_type_v)]
    return options.tokens * count / (long - short), " and ".join(
        CACHE_TYPES.get(type_, f"type {type_}") for type_ in types)


result = {"sampling": {}, "xllamacpp": xllamacpp.__version__}
for number in map(int, options.sequences.split(",")):
    result["sampling"][number], result["cache"] = rate(number)
result["options"] = (f"cache (keys and values) {result['cache']}, sampling chain its default but for "
                     f"{SETTINGS}; built with {xllamacpp.get_system_info().strip().strip('|')}")
print(json.dumps(result))
