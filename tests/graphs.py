"""Causal models of every kind that a stream takes, and what to feed them with."""

import numpy as np

from fastlstm import LSTM, Input, Model, Sequential
from fastlstm.layers import Activation, Dense, Dropout, Embedding, TimeDistributed
from fastlstm.layers.activation import PReLU, ReLU, Softmax
from fastlstm.layers.convolutional import Conv1D, DepthwiseConv1D, SeparableConv1D
from fastlstm.layers.gru import GRU, GRUCell
from fastlstm.layers.lstm_cell import LSTMCell
from fastlstm.layers.masking import Masking
from fastlstm.layers.merging import Add, Concatenate, Maximum, Multiply
from fastlstm.layers.normalization import BatchNormalization, LayerNormalization, UnitNormalization
from fastlstm.layers.ops import Operation
from fastlstm.layers.preprocessing import Normalization, Rescaling
from fastlstm.layers.reshaping import Flatten, RepeatVector, Reshape
from fastlstm.layers.rnn import RNN
from fastlstm.layers.simple_rnn import SimpleRNN, SimpleRNNCell
from fastlstm.layers.tf_lambda import TFOperation
from fastlstm.structure import flatten

STEPS = 9


def residual():
    x = Input((None, 4))
    y = LSTM(4, return_sequences=True)(Dense(4, "relu")(x))
    z = LSTM(3)(Concatenate()([Add()([x, y]), Activation("tanh")(x)]))
    return Model(x, Dense(2)(z))


def convolutions():
    x = Input((None, 3))
    y = x
    for dilation in (1, 2, 4):
        y = Conv1D(5, 3, padding="causal", dilation_rate=dilation, activation="relu")(y)
    return Model(x, Dense(2)(LSTM(4, return_sequences=True)(Dropout(0.3)(y))))


def separate_steps():
    x = Input((None, 4))
    y = BatchNormalization()(Rescaling([1.0, 2.0, 3.0, 4.0], 0.5)(Normalization()(x)))
    y = LayerNormalization()(Conv1D(6, 1, padding="same")(y))
    y = PReLU(shared_axes=[1])(SeparableConv1D(4, 1)(DepthwiseConv1D(1)(y)))
    return Model(x, Softmax()(UnitNormalization()(ReLU()(LSTM(4, return_sequences=True)(y)))))


def shared_twice():
    encoder = Sequential([Input((None, 3)), Conv1D(4, 2, padding="causal"), LSTM(5, return_sequences=True), LSTM(3)])
    a, b = Input((None, 3)), Input((None, 3))
    return Model([a, b], Dense(2)(Concatenate()([encoder(a), encoder(b)])))


def one_layer_twice():
    x = Input((None, 4))
    layer = LSTM(4, return_sequences=True)
    return Model(x, layer(layer(x)))


def nested_words():
    encoder = Sequential([Embedding(7, 4, mask_zero=True), LSTM(5, return_sequences=True)])
    x = Input((None,), dtype="int64")
    inner = Input((None, 5))
    return Model(x, Model(inner, [LSTM(3)(inner), Dense(2)(inner)])(encoder(x)))


def with_features():
    x, features = Input((None, 3), name="x"), Input((4,), name="features")
    store = Input((1,), dtype="int32", name="store")
    said = Concatenate()([Dense(3)(features), Flatten()(Embedding(5, 2)(store))])
    y = Concatenate()([LSTM(5)(x), said])
    return Model({"x": x, "features": features, "store": store}, {"y": Dense(2)(y), "s": said})


def decoder():
    x = Input((6, 3))
    y = LSTM(4, return_sequences=True)(RepeatVector(3)(LSTM(5)(x)))
    return Model(x, [Reshape((-1,))(TimeDistributed(Dense(2))(y)), LSTM(2, return_sequences=True)(x)])


def distributed():
    x = Input((None, 5, 3))
    y = TimeDistributed(Sequential([Input((5, 3)), LSTM(4), Dense(3)]))(x)
    return Model(x, LSTM(4)(TimeDistributed(Dense(4))(y)))


def masked_numbers():
    x = Input((None, 3))
    y = Masking(0.0)(x)
    z = LSTM(4, return_sequences=True, zero_output_for_mask=True)(y)
    z = Maximum()([Dense(4)(y), LayerNormalization()(z)])
    return Model(x, [LSTM(3)(z), LSTM(3, zero_output_for_mask=True)(z), Add()([Dense(4)(x), z]), z])


def masked_branches():
    x = Input((None,), dtype="int32")
    a, b = Embedding(9, 4, mask_zero=True)(x), Embedding(9, 4)(x)
    y = Multiply()([a, LSTM(4, return_sequences=True)(a)])
    return Model(x, [LSTM(3)(Concatenate()([y, b])), LSTM(3)(Conv1D(3, 2, padding="causal")(y)), Dense(2)(y)])


def cells():
    x = Input((None, 3))
    y = RNN([LSTMCell(4), GRUCell(3)], return_sequences=True, zero_output_for_mask=True)(Masking(0.0)(x))
    return Model(x, [RNN([SimpleRNNCell(3), LSTMCell(2)])(y), RNN(GRUCell(3))(x), y])


def masked_by_arguments():
    words, counted = Input((None,), dtype="int32"), Input((None,), dtype="int32")
    x = Embedding(9, 4)(words)
    y = LSTM(4, return_sequences=True)(x, mask=words != 0)
    inner = Sequential([Input((None, 4)), Dense(3), LSTM(3, return_sequences=True)])
    z = LSTM(2)(inner.connect((y,), {"mask": words != 1}))
    return Model([words, counted], [GRU(3)(y), LSTM(3)(x, mask=counted), z])


def doubles():
    x = Input((None, 3), dtype="float64")
    y = Conv1D(4, 3, padding="causal", dtype="float64")(x)
    return Model(x, LSTM(3, dtype="float64")(Add(dtype="float64")([Dense(4, dtype="float64")(x), y])))


def stateful():
    x = Input(batch_shape=(2, None, 3))
    return Model(x, LSTM(3)(LSTM(4, return_sequences=True, stateful=True)(x)))


def operations():
    x = Input((None, 3))
    y = LSTM(4, return_sequences=True)(x)
    z = Concatenate()([(-y * 0.5 + 2.0)[:, -1], y[:, -1, :2], LSTM(3)(y[:, :, 1:] - y[:, :, :3])])
    old = TFOperation("__operators__.getitem")(TFOperation("math.multiply")(y, y=y), (slice(None), -1))
    means = Operation("Mean", axis=-1, keepdims=True)(Operation("Tanh")(y) / 2.0)
    halves = Operation("Split", indices_or_sections=2, axis=2)(y)
    return Model(x, [Dense(2)(z), LSTM(2)(y[:, -1:]), y > 0.1, old, means, *halves])


def recurrent_kinds():
    x = Input((None, 3))
    y = Masking(0.0)(x)
    y = GRU(4, return_sequences=True, reset_after=False)(y)
    return Model(x, [GRU(4)(Dense(3)(y)), SimpleRNN(3, return_sequences=True)(y)])


#: What gives the whole model's bits, and what sums otherwise for other numbers of rows.
EXACT = (
    residual, convolutions, shared_twice, one_layer_twice, nested_words, masked_branches, masked_by_arguments, doubles,
    stateful, recurrent_kinds, cells,
)  # fmt: skip
MODELS = (*EXACT, separate_steps, with_features, decoder, distributed, masked_numbers, operations)


def random_graph(rng):
    """Some layers drawn on top of each other: sequences and, from them, values for whole prefixes."""
    x = Input((None, 4))
    sequences, ends = [Masking()(x) if rng.random() < 0.5 else x], []
    makers = [
        lambda: Dense(4, "relu"), lambda: LSTM(4, return_sequences=True), lambda: Activation("tanh"),
        lambda: GRU(4, return_sequences=True, zero_output_for_mask=bool(rng.random() < 0.5)), LayerNormalization,
        lambda: Conv1D(4, int(rng.integers(1, 4)), padding="causal", dilation_rate=int(rng.integers(1, 4))),
        lambda: Dropout(0.5), lambda: TimeDistributed(Dense(4)), lambda: PReLU(shared_axes=[1]),
        lambda: Sequential([Input((None, 4)), LSTM(4, return_sequences=True), Dense(4)]),
    ]  # fmt: skip
    merges = [Add, Multiply, Maximum, lambda: Concatenate(axis=-1)]
    for _ in range(int(rng.integers(3, 9))):
        one, two = (sequences[i] for i in rng.integers(0, len(sequences), 2))
        if rng.random() < 0.3:
            sequences.append(Dense(4)(merges[rng.integers(len(merges))]()([one, two])))
        elif rng.random() < 0.25:
            ends.append([LSTM(4)(one), one[:, -1], SimpleRNN(4)(two)][rng.integers(3)])
        else:
            sequences.append(makers[rng.integers(len(makers))]()(one))
    if len(ends) > 1:
        ends.append(LSTM(3)(RepeatVector(2)(Multiply()([*ends]))))
    outputs = [*ends[-2:], sequences[-1]]
    return Model(x, outputs if rng.random() < 0.7 else {str(i): y for i, y in enumerate(outputs)})


def drawn(maker, rng):
    """The model with weights that leave no layer trivial; vectors, such as variances, are above zero."""
    model = maker()
    signs = [rng.choice([-1, 1] if w.ndim > 1 else [1], w.shape) for w in model.get_weights()]
    model.set_weights([sign * rng.uniform(0.1, 0.6, sign.shape) for sign in signs])
    return model


def inputs(model, batch, steps, rng):
    """For each input (batch, steps, ...): what each step gets."""
    arrays = []
    for entry, slot in zip(model.program.entries, model.stream()._plan.inputs, strict=True):
        timed = model.stream()._plan.timed[slot.number]
        shape = (batch, steps, *entry.batch_shape[1 + timed :])
        x = rng.integers(0, 3, shape) if entry.dtype.startswith("int") else rng.standard_normal(shape)
        if x.dtype.kind == "f" and timed:
            x[rng.random((batch, steps)) < 0.3] = 0  # what Masking masks
        arrays.append(x.astype(entry.dtype) if timed else np.repeat(x[:, :1], steps, axis=1).astype(entry.dtype))
    return arrays


def nest(model, arrays):
    names = [entry.name for entry in model.program.entries]
    return dict(zip(names, arrays, strict=True)) if len(arrays) > 2 else arrays if len(arrays) == 2 else arrays[0]


def flat(y):
    return [y[key] for key in sorted(y)] if isinstance(y, dict) else list(y) if isinstance(y, list) else [y]


def prefix(model, stream, arrays, steps):
    """What the model says on the first steps: of sequences the last one."""
    timed = [stream._plan.timed[slot.number] for slot in stream._plan.inputs]
    for _, layer in model.tree():
        if getattr(layer, "stateful", False):
            layer.reset_state()
    y = model(nest(model, [x[:, :steps] if t else x[:, steps - 1] for x, t in zip(arrays, timed, strict=True)]))
    ends = [stream._plan.timed[slot.number] for slot in flatten(stream._outputs)]
    return [part[:, -1] if t else part for part, t in zip(flat(y), ends, strict=True)]


def at(arrays, steps):
    return [x[:, steps] for x in arrays]
