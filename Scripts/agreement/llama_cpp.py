# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's own functions, by ctypes from the library of PyPI's xllamacpp: what its server does not give,
the logits of every position. Loaded by export.py.

Parameters are passed in room that is larger than they are; of those that are set the place is checked by
the defaults that llama.cpp writes there.
"""

import ctypes
import pathlib
import struct

import numpy
import xllamacpp

LIBRARY = ctypes.CDLL(next(str(path) for path in pathlib.Path(xllamacpp.__file__).parent.glob("xllamacpp*.so")))
NAMES = {0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 12: "q4_K", 13: "q5_K", 14: "q6_K"}


class Room(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_ubyte * 512)]


class Batch(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int32), ("tokens", ctypes.POINTER(ctypes.c_int32)), ("embeddings", ctypes.c_void_p),
                ("places", ctypes.POINTER(ctypes.c_int32)), ("sequence_counts", ctypes.POINTER(ctypes.c_int32)),
                ("sequences", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("wanted", ctypes.POINTER(ctypes.c_int8))]


LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
messages = []


@LOG
def _log(level, text, _):
    if level >= 3:
        messages.append(text.decode(errors="replace").strip())


def _function(name, result, *arguments):
    function = getattr(LIBRARY, name)
    function.restype, function.argtypes = result, arguments
    return function


P = ctypes.c_void_p
_function("llama_log_set", None, LOG, P)(_log, None)
_function("llama_backend_init", None)()
_model_defaults = _function("llama_model_default_params", Room)
_context_defaults = _function("llama_context_default_params", Room)
_load = _function("llama_model_load_from_file", P, ctypes.c_char_p, Room)
_free_model = _function("llama_model_free", None, P)
_context = _function("llama_init_from_model", P, P, Room)
_free = _function("llama_free", None, P)
_decode = _function("llama_decode", ctypes.c_int32, P, Batch)
_logits = _function("llama_get_logits", ctypes.POINTER(ctypes.c_float), P)
_memory = _function("llama_get_memory", P, P)
_clear = _function("llama_memory_clear", None, P, ctypes.c_bool)
_vocabulary = _function("llama_model_get_vocab", P, P)
_count = _function("llama_vocab_n_tokens", ctypes.c_int32, P)
_tokenize = _function("llama_tokenize", ctypes.c_int32, P, ctypes.c_char_p, ctypes.c_int32,
                      ctypes.POINTER(ctypes.c_int32), ctypes.c_int32, ctypes.c_bool, ctypes.c_bool)
_adapter = _function("llama_adapter_lora_init", P, P, ctypes.c_char_p)
_quantize = _function("ggml_quantize_chunk", ctypes.c_size_t, ctypes.c_int, P, P, ctypes.c_int64, ctypes.c_int64,
                      ctypes.c_int64, P)


def quantise(kind, values, size):
    """The blocks that ggml makes of rows of numbers."""
    values = numpy.ascontiguousarray(values, numpy.float32)
    out = numpy.zeros((values.shape[0], size), numpy.uint8)
    done = _quantize(kind, values.ctypes.data, out.ctypes.data, 0, *values.shape, None)
    assert done == out.size, (done, out.size)
    return out


class Model:
    def __init__(self, path, longest=256, cache=0, adapter=None, threads=2):
        """cache: ggml's number of the type of keys and values; 0 is float32."""
        self.model = _load(str(path).encode(), _model_defaults())
        if not self.model:
            raise RuntimeError("llama.cpp does not load it: " + "; ".join(messages[-4:]))
        parameters = _context_defaults()
        fields = bytearray(parameters.bytes)
        # n_ctx, n_batch, n_ubatch, then threads; flash attention; the types of the cache.
        assert struct.unpack_from("<III", fields) == (512, 2048, 512), struct.unpack_from("<III", fields)
        assert struct.unpack_from("<iiiiii", fields, 28) == (4, 4, 0, -1, -1, -1) and struct.unpack_from("<ii", fields, 104) == (1, 1)
        struct.pack_into("<III", fields, 0, longest, longest, longest)
        struct.pack_into("<ii", fields, 28, threads, threads)
        struct.pack_into("<i", fields, 52, 0)
        struct.pack_into("<ii", fields, 104, cache, cache)
        parameters.bytes[:] = fields
        self.context = _context(self.model, parameters)
        if not self.context:
            raise RuntimeError("llama.cpp makes no context: " + "; ".join(messages[-4:]))
        if adapter:
            found = _adapter(self.model, str(adapter).encode())
            if not found:
                raise RuntimeError("llama.cpp does not load the adapter: " + "; ".join(messages[-4:]))
            setter = _function("llama_set_adapters_lora", ctypes.c_int32, P, ctypes.POINTER(P), ctypes.c_size_t,
                               ctypes.POINTER(ctypes.c_float))
            assert setter(self.context, (P * 1)(found), 1, (ctypes.c_float * 1)(1.0)) == 0
        self.vocabulary = _vocabulary(self.model)
        self.size = _count(self.vocabulary)

    def log_probabilities(self, ids):
        """[position, id] of a text, positions all at once."""
        _clear(_memory(self.context), True)
        count = len(ids)
        one = (ctypes.c_int32 * 1)(0)
        batch = Batch(count, (ctypes.c_int32 * count)(*ids), None, (ctypes.c_int32 * count)(*range(count)),
                      (ctypes.c_int32 * count)(*[1] * count),
                      (ctypes.POINTER(ctypes.c_int32) * count)(*[ctypes.cast(one, ctypes.POINTER(ctypes.c_int32))] * count),
                      (ctypes.c_int8 * count)(*[1] * count))
        if _decode(self.context, batch):
            raise RuntimeError("llama.cpp does not decode: " + "; ".join(messages[-4:]))
        logits = numpy.ctypeslib.as_array(_logits(self.context), (count, self.size)).astype(numpy.float64)
        return logits - numpy.logaddexp.reduce(logits, axis=1, keepdims=True)

    def encode(self, text, special=False):
        data = text.encode()
        room = (ctypes.c_int32 * (len(data) + 8))()
        count = _tokenize(self.vocabulary, data, len(data), room, len(room), False, special)
        assert count >= 0
        return list(room[:count])

    def close(self):
        _free(self.context)
        _free_model(self.model)
