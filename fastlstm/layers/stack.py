"""Consecutive recurrent layers as one call: the library runs them side by side or on several threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastlstm import _core
from fastlstm.layers.base import Array, Layer
from fastlstm.layers.gru import GRU
from fastlstm.layers.lstm import LSTM
from fastlstm.layers.simple_rnn import SimpleRNN

_STACKED = (LSTM, GRU, SimpleRNN)  # and not what a user derives from them


def goes_on(below: Any, above: Any) -> bool:
    """Whether ``above`` can read the steps of ``below`` as they come."""
    return (
        type(below) in _STACKED
        and type(above) in _STACKED
        and below.return_sequences
        and not below.return_state
        and not (below.time_major or above.time_major or below.return_gates or above.return_gates)
        and not below._zeroes_unreversed  # which happens when all steps are done
        and not above.go_backwards
        and (above.isa, above.dtype, above.threads) == (below.isa, below.dtype, below.threads)
    )


def run_stack(stack: Sequence[Layer], inputs: Any, mask: Array | None) -> tuple[Any, Array | None]:
    """The output of a stack of LSTM, GRU and SimpleRNN layers, and the mask that goes on with it."""
    layers: list[Any] = list(stack)
    first, last = layers[0], layers[-1]
    if mask is None and all(layer._is_plain for layer in layers):
        plans = tuple([layer._packed() for layer in layers])
        found = _core.run_plainly(plans, inputs, True, last.return_sequences, first.go_backwards)
        if found is not None:
            return found, None
    x = first._as_sequences(inputs)
    y = np.empty((*x.shape[:2], last.output_size), last.dtype) if last.return_sequences else None
    jobs = tuple(
        layer._job(x, None, mask, y if layer is last else None, below=layer is not first) for layer in layers
    )
    _core.run_layers(jobs, True)
    for layer, job in zip(layers, jobs, strict=True):
        output, *states = layer._finish(job)
    output = output if y is None else y
    return ((output, *states) if last.return_state else output), last.compute_mask(inputs, mask)
