"""The LSTMs of a TensorFlow Lite (LiteRT) file, its fused operators, as layers; neither is needed to read it."""

from __future__ import annotations

import os
import stat
from typing import Any, NamedTuple

import numpy as np

from fastlstm.errors import FastLSTMError, ModelFileError, UnsupportedLayerError
from fastlstm.layers import LSTM, Bidirectional
from fastlstm.layers.base import Array
from fastlstm.layers.cells import OWN_ARGUMENTS
from fastlstm.layers.core import positive
from fastlstm.loading import MAX_FILE_SIZE, Path, _named
from fastlstm.loading.tflite_file import File, Operator

#: Keras's names of the activations that LSTM operators have, by their numbers in the file.
_ACTIVATIONS = {1: "relu", 2: "hard_tanh", 3: "relu6", 4: "tanh"}
_AUXILIARY = range(39, 48)  # of an operator of two directions: a second input, and the weights for it


class _Roles(NamedTuple):
    """The first of the inputs of each role, which go on with the other gates in the order i, f, c, o."""

    kernel: int
    recurrent: int
    peephole: int  # of i, f, o
    bias: int
    projection: int  # and its bias
    norm: int | None


_FORWARD = _Roles(1, 5, 9, 12, 16, 20)
_SIDES = (_FORWARD._replace(norm=None), _Roles(18, 22, 26, 29, 33, None))


def lstm_layers(path: Path, *, max_file_size: int = MAX_FILE_SIZE, **how: Any) -> list[LSTM | Bidirectional]:
    """The fused sequence LSTMs in a ``.tflite`` file, in the order in which they run.

    Parameters
    ----------
    path : str or path-like
    max_file_size : int
        Limit in bytes.
    **how
        ``isa``, ``reproducible``, ``threads`` and ``precision`` of every layer.

    Returns
    -------
    list of LSTM or Bidirectional
        An :class:`fastlstm.layers.LSTM` for each UNIDIRECTIONAL_SEQUENCE_LSTM, a
        :class:`fastlstm.layers.Bidirectional` for each BIDIRECTIONAL_SEQUENCE_LSTM, with all options of the
        operator, the name of its output (``.`` for ``/``) and ``return_sequences=True``. Weights in float16
        and in bytes (dynamic-range quantization) become float32.

        Where the operator is time-major, so is the LSTM; a Bidirectional always takes batches first.

        A TensorFlow Lite interpreter keeps the state of an LSTM from one ``invoke()`` to the next until it is
        told to reset it. The layers begin at zeros, or where ``initial_state`` or a stream says.

    Raises
    ------
    UnsupportedLayerError
        There is no such operator, or one that computes in integers, or has sparse or diagonal weights or an
        auxiliary input.
    ModelFileError
        The file cannot be read, is damaged, or made to do harm.
    FastLSTMError
        An argument that is not for the layers of a file, or of a wrong value.

    Notes
    -----
    Semantics: tensorflow/lite/kernels/lstm_eval.cc and the two operators beside it.
    """
    if unknown := sorted(set(how) - set(OWN_ARGUMENTS)):
        raise FastLSTMError(f"lstm_layers: unrecognized keyword arguments {unknown}; known: {', '.join(OWN_ARGUMENTS)}")
    positive(max_file_size, "lstm_layers: max_file_size")
    with _named(path):
        found = [_layer(operator, how) for operator in File(_read(path, max_file_size)).lstms()]
        if not found:
            raise UnsupportedLayerError(
                "has no fused sequence LSTM: one of Keras 3, or converted with a free batch size or a mask, is a loop "
                "of other operators; load the Keras file itself, or convert a tf.keras model with a batch size of 1"
            )
    return found


def _read(path: Path, max_file_size: int) -> bytes:
    status = os.stat(path)  # before open(), which would wait for ever on a pipe
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError("is not a regular file")
    if status.st_size > max_file_size:
        raise ModelFileError(f"has {status.st_size} bytes; max_file_size is {max_file_size}")
    with open(path, "rb") as file:
        return file.read(max_file_size)


def _layer(operator: Operator, how: dict[str, Any]) -> LSTM | Bidirectional:
    name = operator.name.replace("/", ".") or None
    if not operator.both_ways:
        layer, weights = _lstm(operator, _FORWARD, name=name, **how)
        layer.set_weights(weights)
        return layer
    if any(map(operator.has, _AUXILIARY)):
        raise UnsupportedLayerError(f"{operator.who} has an auxiliary input; expected one input")
    forward, weights = _lstm(operator, _SIDES[0], **how)
    backward, more = _lstm(operator, _SIDES[1], go_backwards=True, **how)
    merge = "concat" if operator.options["merge_outputs"] else None
    both = Bidirectional(forward, merge_mode=merge, backward_layer=backward, name=name)
    both.set_weights(weights + more)
    return both


def _lstm(operator: Operator, roles: _Roles, **more: Any) -> tuple[LSTM, list[Array]]:
    """An LSTM as one direction of an operator describes it, and the weights for it."""
    if operator.type_of(0) != "float32":
        raise UnsupportedLayerError(
            f"{operator.who} computes in {operator.type_of(0)}; fastlstm takes its weights only where it computes "
            "in float32: convert the model without a representative data set (weights alone may be quantized)"
        )
    options = _options(operator)
    units, features = operator.sizes(roles.kernel + 1)  # the forget gate's, which is always there
    outputs = operator.sizes(roles.recurrent + 1)[1]
    coupled = not operator.has(roles.kernel)  # without an input gate of its own: i = 1 - f

    def gates(first: int, *shape: int) -> Array:
        if operator.has(first) == coupled:
            raise ModelFileError(f"{operator.who}: input {first} is {'too many' if coupled else 'missing'}")
        return np.concatenate([operator.constant(first + n, (units, *shape)) for n in range(coupled, 4)]).T

    weights = [gates(roles.kernel, features), gates(roles.recurrent, outputs), gates(roles.bias)]
    if coupled:
        options["coupled_gates"] = "input"
    if operator.has(roles.peephole + 1):
        options["peepholes"] = True
        rows = [operator.constant(roles.peephole + n, (units,)) for n in range(coupled, 3)]
        weights.append(np.stack([np.zeros(units, np.float32)] * coupled + rows))
    if roles.norm is not None and operator.has(roles.norm + 1):
        options |= {"layer_norm": "gates", "norm_epsilon": 1e-8}
        weights.append(gates(roles.norm))
    if operator.has(roles.projection):
        options |= {"projection": outputs, "projection_clip": _clip(operator, "proj_clip")}
        weights.append(operator.constant(roles.projection, (outputs, units)).T)
        if operator.has(roles.projection + 1):
            options["projection_bias"] = True
            weights.append(operator.constant(roles.projection + 1, (outputs,)))
    elif outputs != units:
        raise ModelFileError(f"{operator.who} has {units} units and {outputs} outputs, but no projection")
    return LSTM(units, return_sequences=True, **options, **more), weights


def _options(operator: Operator) -> dict[str, Any]:
    found = operator.options
    if not operator.both_ways and found["diagonal_recurrent_tensors"]:
        raise UnsupportedLayerError(f"{operator.who} has diagonal recurrent weights; expected matrices")
    activation = _ACTIVATIONS.get(found["activation"])
    if activation is None:
        # With 0, none, TensorFlow Lite's own kernel returns o g in the place of o c'.
        raise UnsupportedLayerError(
            f"{operator.who} has activation {found['activation']}; expected one of {_ACTIVATIONS}"
        )
    options = {"activation": activation, "cell_clip": _clip(operator, "cell_clip")}
    return options if operator.both_ways else options | {"time_major": found["time_major"]}


def _clip(operator: Operator, option: str) -> float | None:
    """A bound, where 0 is none."""
    value: float = operator.options[option]
    if not 0 <= value < np.inf:
        raise ModelFileError(f"{operator.who}: {option} is {value}; expected 0, or a bound above it")
    return value or None
