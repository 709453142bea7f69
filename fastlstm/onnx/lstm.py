"""ONNX's LSTM operator in its own shapes, over the kernels of csrc."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlstm import layers
from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.core import positive
from fastlstm.layers.recurrent import within
from fastlstm.onnx.attributes import bit, bound, curves
from fastlstm.onnx.files import as_path, find_node, named_errors, named_node, node_arguments
from fastlstm.onnx.weights import dtype_of, shaped, sides_of

Array = NDArray[Any]

_DIRECTIONS = ("forward", "reverse", "bidirectional")


class LSTM:
    """ONNX's operator ``LSTM`` with its weights; opsets 1, 7, 14 and 22.

    i, f, o = F(x W + h R + Wb + Rb + P c);  c' = f c + i G(x W + h R + Wb + Rb);  h' = o H(c'),  where P sees the old
    c for i and f, and the new one for o.

    Sizes are D directions, T steps, B rows, I inputs, U units. What the specification leaves open is done as
    onnxruntime 1.31 does it on a CPU.

    Parameters
    ----------
    W : array_like, shape (D, 4U, I)
        Gates i, o, f, c. The layer computes in float64 where this is an array or tensor of float64, or a list of
        Python's floats, else in float32.
    R : array_like, shape (D, 4U, U)
    B : array_like, shape (D, 8U), optional
        Wb, then Rb.
    P : array_like, shape (D, 3U), optional
        Peepholes of i, o, f.
    hidden_size : int, optional
        U, which R says as well.
    direction : {"forward", "reverse", "bidirectional"}
        D is 2 for the last, else 1.
    activations : sequence of str, optional
        F, G, H of each direction, in capitals or not: Affine, Elu, HardSigmoid, LeakyRelu, Relu, ScaledTanh, Sigmoid,
        Softplus, Softsign, Tanh, ThresholdedRelu. Default Sigmoid, Tanh, Tanh.
    activation_alpha, activation_beta : sequence of float, optional
        Used up in the order of the activations: an alpha by Affine, Elu, HardSigmoid, LeakyRelu, ScaledTanh and
        ThresholdedRelu, a beta by Affine, HardSigmoid and ScaledTanh. Where there are too few: 1 for Elu, 0.2 and
        0.5 for HardSigmoid, 0.01 for LeakyRelu, 0 for the others.
    clip : float, optional
        Above 0. Bounds what F and G are applied to; not the c' that H is applied to.
    input_forget : {0, 1}
        1: f is 1 - i, and the weights of f are not used.
    layout : {0, 1}
        1: rows come before steps, and before directions.
    isa, reproducible, threads, precision
        As of :class:`fastlstm.LSTM`.

    Attributes
    ----------
    layers : tuple of fastlstm.LSTM
        What computes each direction, in Keras's shapes.

    Raises
    ------
    FastLSTMError
        An argument is not what the operator takes.
    """

    def __init__(
        self,
        W: ArrayLike,
        R: ArrayLike,
        B: ArrayLike | None = None,
        P: ArrayLike | None = None,
        *,
        hidden_size: int | None = None,
        direction: str = "forward",
        activations: Sequence[str] | None = None,
        activation_alpha: Sequence[float] | None = None,
        activation_beta: Sequence[float] | None = None,
        clip: float | None = None,
        input_forget: int = 0,
        layout: int = 0,
        isa: str | None = None,
        reproducible: bool = False,
        threads: int | None = None,
        precision: str = "float32",
    ) -> None:
        if not isinstance(direction, str) or direction not in _DIRECTIONS:
            raise FastLSTMError(f"onnx.LSTM: direction is {direction!r}; expected one of {', '.join(_DIRECTIONS)}")
        self.direction, self.num_directions = direction, 2 if direction == "bidirectional" else 1
        self.layout = bit(layout, "layout")
        coupled = bool(bit(input_forget, "input_forget"))
        self._real = dtype_of(W)
        weights, (_, rows, self.input_size) = sides_of(W, R, B, P, self.num_directions, self._real, coupled)
        self.hidden_size = rows // 4
        if hidden_size is not None and positive(hidden_size, "onnx.LSTM: hidden_size") != self.hidden_size:
            raise FastLSTMError(f"onnx.LSTM: hidden_size is {hidden_size!r}; R has {self.hidden_size} units")
        functions = curves(activations, activation_alpha, activation_beta, self.num_directions)
        sides: list[Any] = [
            layers.LSTM(
                self.hidden_size, activation=g, recurrent_activation=f, output_activation=h, use_bias=B is not None,
                peepholes=P is not None, coupled_gates="forget" if coupled else None, input_clip=bound(clip),
                go_backwards=direction == "reverse" or d == 1, zero_output_for_mask=True, return_sequences=True,
                return_state=True, dtype=self._real, isa=isa, reproducible=reproducible, threads=threads,
                precision=precision,
            )
            for d, (f, g, h) in enumerate(functions)
        ]  # fmt: skip
        if self.num_directions == 2:
            both = layers.Bidirectional(sides[0], backward_layer=sides[1], dtype=self._real)
            sides = [both.forward_layer, both.backward_layer]
            self._layer: Any = both
        else:
            self._layer = sides[0]
        self.layers: tuple[layers.LSTM, ...] = tuple(sides)
        self._layer.set_weights([array for own in weights for array in own])
        self._given: dict[str, Any] = {}

    # -- from files ---------------------------------------------------------------------------------

    @classmethod
    def from_node(
        cls,
        node: Any,
        initializers: Mapping[str, Any] | Iterable[Any],
        *,
        isa: str | None = None,
        reproducible: bool = False,
        threads: int | None = None,
        precision: str = "float32",
    ) -> LSTM:
        """The operator that a node of a graph describes.

        Parameters
        ----------
        node : onnx.NodeProto, or anything with its ``op_type``, ``input`` and ``attribute``
        initializers : mapping of str to array_like or onnx.TensorProto, or iterable of onnx.TensorProto
            Such as ``model.graph.initializer``. W, R, B and P must be there; sequence_lens, initial_h and initial_c
            that are there serve all calls which are not given others.
        isa, reproducible, threads, precision
            As of :class:`fastlstm.LSTM`.

        Raises
        ------
        FastLSTMError
            Not an LSTM node, or one that the operator's definition does not allow.
        """
        with named_node(node):
            arguments, given = node_arguments(node, initializers)
            made = cls(**arguments, isa=isa, reproducible=reproducible, threads=threads, precision=precision)
        made._given = given
        return made

    @classmethod
    def from_model(
        cls,
        path: str | bytes | os.PathLike[str],
        name: str | None = None,
        *,
        isa: str | None = None,
        reproducible: bool = False,
        threads: int | None = None,
        precision: str = "float32",
    ) -> LSTM:
        """The operator that an LSTM node of a file describes, with its weights.

        Parameters
        ----------
        path : str, bytes or path-like
            A file of ONNX's. The onnx package is not needed.
        name : str, optional
            The node's, or one of its outputs'. Needed where the graph has several LSTM nodes.
        isa, reproducible, threads, precision
            As of :class:`fastlstm.LSTM`.

        Raises
        ------
        ModelFileError
            The file is none of ONNX's or damaged; it has no such node; or a weight is computed in the graph, or lies
            in another file (external data), which is never opened.
        FastLSTMError
            Another argument is wrong.
        """
        where = as_path(path, "onnx.LSTM: from_model")
        how: dict[str, Any] = {"isa": isa, "reproducible": reproducible, "threads": threads, "precision": precision}
        with named_errors(where):
            node, constants = find_node(where, name)
            with named_node(node):
                arguments, given = node_arguments(node, constants)
        layers.LSTM(1, dtype=dtype_of(arguments["W"]), **how)  # what is wrong in these is not the file's fault
        with named_errors(where), named_node(node):
            made = cls(**arguments, **how)
        made._given = given
        return made

    # -- running ------------------------------------------------------------------------------------

    def __call__(
        self,
        X: ArrayLike,
        sequence_lens: ArrayLike | None = None,
        initial_h: ArrayLike | None = None,
        initial_c: ArrayLike | None = None,
    ) -> tuple[Array, Array, Array]:
        """Run the operator.

        Parameters
        ----------
        X : array_like, shape (T, B, I), or (B, T, I) in layout 1
        sequence_lens : array_like of int, shape (B,), optional
            Steps of each row, 0 to T, the first ones; a reverse direction begins at the row's own end.
        initial_h, initial_c : array_like, shape (D, B, U), or (B, D, U) in layout 1, optional
            Default zeros.

        Returns
        -------
        Y : ndarray, shape (T, D, B, U), or (B, T, D, U) in layout 1
            In the order of X, whatever the direction; 0 past a row's end.
        Y_h, Y_c : ndarray, shape (D, B, U), or (B, D, U) in layout 1
            After a row's last step; 0 for a row without steps.

        Raises
        ------
        FastLSTMError
            An array has another shape or type, or a length is not from 0 to T.
        """
        x = as_float(X, self._real, "onnx.LSTM: X")
        if x.ndim != 3 or x.shape[2] != self.input_size:
            axes = "(batch, steps" if self.layout else "(steps, batch"
            raise FastLSTMError(f"onnx.LSTM: X has shape {x.shape}; expected {axes}, {self.input_size})")
        x = x if self.layout else x.swapaxes(0, 1)  # the kernel takes any strides
        batch, steps = x.shape[:2]
        lengths = self._chosen("sequence_lens", sequence_lens)
        if lengths is None and not steps:
            lengths = np.zeros(batch, np.int32)
        mask = None if lengths is None else within(lengths, batch, steps, "onnx.LSTM: sequence_lens")
        h, c = self._state("initial_h", initial_h, batch), self._state("initial_c", initial_c, batch)
        state = None
        if h is not None or c is not None:
            zeros = np.zeros((self.num_directions, batch, self.hidden_size), self._real)
            state = [(zeros if s is None else s)[d] for d in range(self.num_directions) for s in (h, c)]
        y, *states = self._layer(x, initial_state=state, mask=mask)
        y = y[:, ::-1] if self.direction == "reverse" else y
        y = y.reshape(batch, steps, self.num_directions, self.hidden_size)
        y_h, y_c = np.array(states[::2]), np.array(states[1::2])
        if mask is not None:
            empty = ~mask.any(axis=1)
            y_h[:, empty] = y_c[:, empty] = 0
        return (y, y_h.swapaxes(0, 1), y_c.swapaxes(0, 1)) if self.layout else (y.transpose(1, 2, 0, 3), y_h, y_c)

    def _chosen(self, name: str, given: Any) -> Any:
        """What the call gives, else what the graph has as a constant."""
        return self._given.get(name) if given is None else given

    def _state(self, name: str, given: Any, batch: int) -> Array | None:
        """A state to begin with, (D, B, U); None for zeros."""
        chosen = self._chosen(name, given)
        if chosen is None:
            return None
        shape = (self.num_directions, batch, self.hidden_size)
        what = name if given is not None else f"the graph's {name}"
        state = shaped(chosen, what, (shape[1], shape[0], shape[2]) if self.layout else shape, self._real)
        return state.swapaxes(0, 1) if self.layout else state

    def __repr__(self) -> str:
        sizes = f"input_size={self.input_size}, hidden_size={self.hidden_size}"
        return f"LSTM({sizes}, direction={self.direction!r}, layout={self.layout})"
