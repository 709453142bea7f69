"""Files of TensorFlow Lite made by hand, with every option that its LSTM operators have, and what they compute."""

from __future__ import annotations

from typing import NamedTuple

import flatbuffers
import numpy as np
from flatbuffers import number_types
from reference import sigmoid

from fastlstm.loading import tflite_file
from fastlstm.loading.tflite_file import BOTH_WAYS, ONE_WAY
from fastlstm.tflite import lstm_layers

#: What a file needs to be run, beside what fastlstm reads of it.
SCHEMA = {name: dict(fields) for name, fields in tflite_file.SCHEMA.items()}
SCHEMA["OperatorCode"]["version"] = (2, "int32", 1)
SCHEMA["SubGraph"] |= {"inputs": (1, "int32[]", None), "outputs": (2, "int32[]", None)}
SCHEMA["Tensor"]["is_variable"] = (5, "bool", False)
SCHEMA["Sparsity"]["block_map"] = (1, "int32[]", None)

FLOAT32, FLOAT16, UINT8, INT8 = 0, 1, 3, 9
ACTIVATIONS = {
    1: lambda x: np.maximum(x, 0),
    2: lambda x: np.clip(x, -1, 1),
    3: lambda x: np.clip(x, 0, 6),
    4: np.tanh,
}
TANH = {"activation": 4}
KERNEL, RECURRENT, PEEPHOLE, BIAS, PROJECTION, NORM = 1, 5, 9, 12, 16, 20  # inputs of an operator of one direction
BACKWARD = 17  # how far behind these an operator of two directions has those of the second one
STATES = {ONE_WAY: (18, 19), BOTH_WAYS: (35, 36, 37, 38)}  # of h and c in turns


def read(folder, file, **options):
    """The LSTMs of a file with these bytes, or of the model that these dictionaries describe."""
    (folder / "model.tflite").write_bytes(file if isinstance(file, bytes) else serialized(file))
    return lstm_layers(folder / "model.tflite", **options)


def serialized(model):
    """The bytes of a model given as dictionaries: tables by the names of their fields."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(_table(builder, "Model", {"version": 3, **model}), b"TFL3")
    return bytes(builder.Output())


def _table(builder, name, values):
    fields = [(*SCHEMA[name][field], field, value) for field, value in values.items() if value is not None]
    places = {field: _place(builder, kind, field, value) for _, kind, _, field, value in fields if _is_apart(kind)}
    builder.StartObject(1 + max((number for number, *_ in SCHEMA[name].values()), default=0))
    for number, kind, default, field, value in fields:
        if field in places:
            builder.PrependUOffsetTRelativeSlot(number, places[field], 0)
        else:
            builder.PrependSlot(getattr(number_types, f"{kind.capitalize()}Flags"), number, value, default)
    return builder.EndObject()


def _is_apart(kind):
    return kind in SCHEMA or kind.endswith("[]")


def _place(builder, kind, field, value):
    if kind in SCHEMA:
        return _table(builder, kind, value)
    if kind[:-2] in SCHEMA:
        entries = [_table(builder, kind[:-2], entry) for entry in value]
        builder.StartVector(4, len(entries), 4)
        for entry in reversed(entries):
            builder.PrependUOffsetTRelative(entry)
        return builder.EndVector()
    if field == "name":
        return builder.CreateString(value)
    return builder.CreateNumpyVector(np.ascontiguousarray(value, kind[:-2]))


def model_of(kind, inputs, options, batch, steps, sizes, stored=FLOAT32, name="lstm/output"):
    """A model of one operator; ``sizes``: features, units and outputs; ``inputs``: arrays by their numbers."""
    features, units, width = sizes
    time_major = options.get("time_major", SCHEMA[kind]["time_major"][2])
    leading = (steps, batch) if time_major else (batch, steps)
    tensors, buffers, operators = [], [{}], []

    def tensor(shape, **more):
        tensors.append({"shape": np.array(shape, np.int32), **more})
        return len(tensors) - 1

    given = [-1] * (24 if kind == ONE_WAY else 48)
    given[0] = tensor((*leading, features), name="x")
    for number, array in inputs.items():
        entry, array = packed(array, stored, bias=_is_bias(kind, number))
        buffers.append({"data": np.frombuffer(array.tobytes(), np.uint8)})
        given[number] = tensor(array.shape, buffer=len(buffers) - 1, name=f"weight {number}", **entry)
        if entry.get("type") == FLOAT16:  # as the converter writes it: float32 is made of it when the model runs
            unpacked = tensor(array.shape, name=f"unpacked {number}")
            operators.append({"code_index": 1, "inputs": [given[number]], "outputs": [unpacked]})
            given[number] = unpacked
    for place, state in enumerate(STATES[kind]):
        given[state] = tensor((batch, (width, units)[place % 2]), is_variable=True, name=f"state {place}")
    one_output = kind == ONE_WAY or options.get("merge_outputs")
    total = 2 * width if options.get("merge_outputs") else width
    outputs = [tensor((*leading, total), name=name + str(n or "")) for n in range(1 if one_output else 2)]
    code = next(code for code, of in tflite_file._LSTMS.items() if of == kind)
    codes = [{"deprecated_code": code, "code": code}, {"deprecated_code": 6, "code": 6, "version": 3}]
    operators.append({
        "code_index": 0, "inputs": given, "outputs": outputs,
        "options_type": tflite_file._OPTIONS_TYPES[kind], kind: dict(options),
    })  # fmt: skip
    graph = {"tensors": tensors, "inputs": [given[0]], "outputs": outputs, "operators": operators}
    return {"operator_codes": codes, "subgraphs": [graph], "buffers": buffers}


def _is_bias(kind, number):
    """Whether an input stays in float32 where weights are bytes."""
    if kind == BOTH_WAYS and number > BACKWARD:
        number -= BACKWARD
    return BIAS <= number < PROJECTION or number == PROJECTION + 1 or number >= NORM


def packed(array, stored, bias=False):
    """How an array is described and what is stored of it."""
    if stored == FLOAT32 or (bias and stored in (INT8, UINT8)):
        return {}, array
    if stored == FLOAT16:
        return {"type": FLOAT16}, array.astype(np.float16)
    scale = np.float32(np.abs(array).max() / 127)
    bytes_ = np.round(array / scale).astype(np.int8)
    return {"type": stored, "quantization": {"scale": [scale], "zero_point": [0]}}, bytes_


def kept(array, stored, bias=False):
    """What is left of an array when it has been stored."""
    entry, array = packed(array, stored, bias)
    scale = entry.get("quantization", {}).get("scale", [np.float32(1)])[0]
    return array.astype(np.float32) * scale


def computed(x, inputs, options, sizes, dtype=np.float64, quantized=lambda rows: rows):
    """Outputs of one direction for x of shape (batch, steps, features), as lstm_eval.cc has it.

    quantized: what becomes of rows of x, of outputs and of what is projected before they are multiplied.
    """
    _, units, width = sizes
    w = {number: np.asarray(array, dtype) for number, array in inputs.items()}
    activation = ACTIVATIONS[options["activation"]]
    clips = [options.get(name) or np.inf for name in ("cell_clip", "proj_clip")]
    h, c = np.zeros((len(x), width), dtype), np.zeros((len(x), units), dtype)
    outputs = []

    def gate(n, x, h, function, c=None, peephole=None):
        z = quantized(x) @ w[KERNEL + n].T + quantized(h) @ w[RECURRENT + n].T
        if peephole is not None and PEEPHOLE + peephole in w:
            z = z + c * w[PEEPHOLE + peephole]
        if NORM + n in w:
            z = z - z.mean(1, keepdims=True)
            z = z / np.sqrt((z * z).mean(1, keepdims=True) + 1e-8) * w[NORM + n]
        return function(z + w[BIAS + n])

    for x_t in x.astype(dtype).swapaxes(0, 1):
        f, g = gate(1, x_t, h, sigmoid, c, 1), gate(2, x_t, h, activation)
        i = gate(0, x_t, h, sigmoid, c, 0) if KERNEL in w else 1 - f
        c = np.clip(f * c + i * g, -clips[0], clips[0])
        m = gate(3, x_t, h, sigmoid, c, 2) * activation(c)
        if PROJECTION in w:
            m = np.clip(quantized(m) @ w[PROJECTION].T + w.get(PROJECTION + 1, dtype(0)), -clips[1], clips[1])
        h = m
        outputs.append(h)
    return np.stack(outputs, 1)


def in_bytes(rows):
    """Each row as the interpreter rounds it where weights are bytes."""
    largest = np.abs(rows).max(1, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1)
    return np.copysign(np.floor(np.abs(rows / scale) + 0.5), rows) * scale


class Case(NamedTuple):
    """A file of one operator, and what is in it.

    Attributes
    ----------
    data : bytes
    kind : str
        ``ONE_WAY`` or ``BOTH_WAYS``.
    sizes : tuple of int
        Features, units, outputs.
    options : dict
    sides : list of dict
        For each direction the weights that are left when they have been stored, by the numbers of the inputs.
    x : ndarray, shape (batch, steps, features)
    """

    data: bytes
    kind: str
    sizes: tuple[int, int, int]
    options: dict
    sides: list
    x: np.ndarray

    def expected(self, dtype=np.float64, quantized=lambda rows: rows):
        """The outputs, of :func:`computed`."""
        found = [computed(self.x, self.sides[0], self.options, self.sizes, dtype, quantized)]
        for side in self.sides[1:]:
            found.append(computed(self.x[:, ::-1], side, self.options, self.sizes, dtype, quantized)[:, ::-1])
        return [np.concatenate(found, -1)] if self.options.get("merge_outputs") else found


def drawn(rng, kind, stored):
    """A case of any options and small sizes."""
    features, units = (int(n) for n in rng.integers(1, 13, 2))
    projected = rng.random() < 0.4
    # No projection is wider than the cell: the interpreter then writes where it may not.
    sizes = features, units, int(rng.integers(1, units + 1)) if projected else units
    options = {
        "activation": int(rng.choice([4, 4, 4, 1, 2, 3])),
        "cell_clip": float(rng.choice([0, 0, np.float32(rng.uniform(0.1, 1))])),
        "proj_clip": float(rng.choice([0, 0, np.float32(rng.uniform(0.05, 0.5))])),
        "time_major": bool(rng.random() < 0.5),
    }
    coupled, peepholes, biased = rng.random(3) < 0.5
    norm = kind == ONE_WAY and rng.random() < 0.4
    batch, steps = int(rng.integers(1, 6)), int(rng.integers(1, 26))
    if kind == BOTH_WAYS:
        options["merge_outputs"] = bool(rng.random() < 0.5)
        # With both False and several rows the interpreter mixes the rows up: it steps over two outputs in one's state.
        batch = batch if options["time_major"] else 1
    sides = [weights(rng, sizes, projected, coupled, peepholes, norm, biased) for _ in range(1 + (kind == BOTH_WAYS))]
    inputs = sides[0] if kind == ONE_WAY else both(*sides)
    data = serialized(model_of(kind, inputs, options, batch, steps, sizes, stored))
    left = [{n: kept(array, stored, _is_bias(ONE_WAY, n)) for n, array in side.items()} for side in sides]
    return Case(data, kind, sizes, options, left, rng.standard_normal((batch, steps, features)).astype(np.float32))


def both(forward, backward):
    """The inputs of an operator of two directions."""
    return forward | {n + BACKWARD: array for n, array in backward.items()}


def weights(rng, sizes, projected=False, coupled=False, peepholes=False, norm=False, biased=False):
    """The inputs of one direction."""
    features, units, width = sizes

    def of(*shape):
        return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    found = {}
    for n in range(int(coupled), 4):
        found |= {KERNEL + n: of(units, features), RECURRENT + n: of(units, width), BIAS + n: of(units)}
        if norm:
            found[NORM + n] = of(units)
    if peepholes:
        found |= {PEEPHOLE + n: of(units) for n in range(int(coupled), 3)}
    if projected:
        found[PROJECTION] = of(width, units)
        if biased:
            found[PROJECTION + 1] = of(width)
    return found
