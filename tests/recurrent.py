"""Layers of every cell with weights drawn for them, and the oracle of each."""

import functools

import numpy as np
import reference

from fastlstm.layers.gru import GRU
from fastlstm.layers.lstm import LSTM
from fastlstm.layers.simple_rnn import SimpleRNN

KINDS = {
    "lstm": LSTM,
    "gru": GRU,
    "gru_before": functools.partial(GRU, reset_after=False),
    "simple": SimpleRNN,
}
ORACLES = {
    "lstm": reference.lstm,
    "gru": reference.gru,
    "gru_before": functools.partial(reference.gru, reset_after=False),
    "simple": reference.simple_rnn,
}


def draw_weights(rng, layer, features):
    """Weights for a layer of so many features, of sizes that keep its sums near 1."""
    shapes = layer.weight_shapes((None, None, features))
    scale = {"kernel": features**-0.5, "recurrent_kernel": layer.units**-0.5, "bias": 1}
    return [rng.uniform(-1, 1, shape) * scale[name] for name, shape in shapes.items()]


def layer_of(rng, kind, features, units, **options):
    """A layer of that kind, its weights drawn."""
    layer = KINDS[kind](units, **options)
    layer.set_weights(draw_weights(rng, layer, features))
    return layer


def states_of(rng, layer, batch):
    """Drawn states to begin with."""
    return [rng.standard_normal((batch, layer.units)).astype(layer.dtype) for _ in range(layer.state_count)]


def oracle(layer, kind, x, states=None, mask=None, dtype=np.float64, dot=np.matmul):
    """Outputs, last output and states, in the layer's order of steps; ``dot`` multiplies inputs and weights."""
    kernel, recurrent_kernel, *bias = layer.get_weights()
    states = [None] * layer.state_count if states is None else states
    if layer.go_backwards:
        x, mask = x[:, ::-1], None if mask is None else mask[:, ::-1]
    return ORACLES[kind](
        x, kernel, recurrent_kernel, bias[0] if bias else None, *states, mask, layer.zero_output_for_mask, dtype=dtype,
        dot=dot,
    )  # fmt: skip
