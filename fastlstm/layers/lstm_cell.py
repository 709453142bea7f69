"""LSTMCell, and what it shares with LSTM: the arguments that say what a cell computes, the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import _core, activations, initializers
from fastlstm.arrays import as_float
from fastlstm.config import choose_isa
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.core import positive
from fastlstm.stream import as_state
from fastlstm.threads import checked as checked_threads
from fastlstm.threads import get_num_threads


class LSTMWeights(Layer):
    """What LSTM and LSTMCell share: the arguments that say what a cell computes, and its weights."""

    supports_masking = True
    weights_group = "cell"
    #: Axes of the input, the batch's among them.
    _rank: int

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        *,
        implementation: int = 2,
        isa: str | None = None,
        reproducible: bool = False,
        threads: int | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        who = f"{type(self).__name__} {self.name!r}"
        self.units = positive(units, f"{who}: units")
        self.activation = activations.get(activation, f"{who}: activation")
        self.recurrent_activation = activations.get(recurrent_activation, f"{who}: recurrent_activation")
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer, f"{who}: kernel_initializer")
        self.recurrent_initializer = initializers.get(recurrent_initializer, f"{who}: recurrent_initializer")
        self.bias_initializer = initializers.get(bias_initializer, f"{who}: bias_initializer")
        self.unit_forget_bias = unit_forget_bias
        self.implementation = implementation
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self._real = np.dtype(self.dtype)
        self.isa = choose_isa(isa, reproducible)
        self.reproducible = reproducible
        self.threads = None if threads is None else checked_threads(threads, f"{who}: threads")
        self._plan: _core.Plan | None = None
        self._saved_config = {
            "kernel_initializer": initializers.serialize(kernel_initializer),
            "recurrent_initializer": initializers.serialize(recurrent_initializer),
            "bias_initializer": initializers.serialize(bias_initializer),
            "kernel_regularizer": kernel_regularizer,
            "recurrent_regularizer": recurrent_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "recurrent_constraint": recurrent_constraint,
            "bias_constraint": bias_constraint,
            "seed": seed,
        }

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        """kernel (features, 4 units), recurrent_kernel (units, 4 units), bias (4 units,); gates i, f, c, o."""
        if len(input_shape) != self._rank or not input_shape[-1]:
            axes = ("batch", "steps", "features") if self._rank == 3 else ("batch", "features")
            raise FastLSTMError(
                f"{type(self).__name__} {self.name!r}: input has shape {tuple(input_shape)}; "
                f"expected ({', '.join(axes)}) with a known number of features, at least 1"
            )
        shapes: dict[str, tuple[int, ...]] = {
            "kernel": (input_shape[-1], 4 * self.units),
            "recurrent_kernel": (self.units, 4 * self.units),
        }
        if self.use_bias:
            shapes["bias"] = (4 * self.units,)
        return shapes

    def _input_shape_from(self, arrays: list[Array]) -> Shape | None:
        if not arrays or arrays[0].ndim != 2:
            return None
        return (*(None for _ in range(self._rank - 1)), arrays[0].shape[0])

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        if name == "kernel":
            return self.kernel_initializer(shape, self.dtype)
        if name == "recurrent_kernel":
            return self.recurrent_initializer(shape, self.dtype)
        if not self.unit_forget_bias:
            return self.bias_initializer(shape, self.dtype)
        i, c_o = (self.bias_initializer((n * self.units,), self.dtype) for n in (1, 2))
        return np.concatenate([np.asarray(i), np.ones(self.units), np.asarray(c_o)])

    def _weights_changed(self) -> None:
        self._plan = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_plan": None}  # a copy packs its own

    def _packed(self) -> _core.Plan:
        """The weights as the kernel wants them, packed at the first use."""
        plan = self._plan
        if plan is None:
            w = self._weights
            get_num_threads()  # the default is asked for at the latest now
            plan = self._plan = _core.Plan(
                w["kernel"], w["recurrent_kernel"], w.get("bias"),
                self.activation.number, self.recurrent_activation.number, self.isa, self.reproducible,
                self.threads or 0,
            )  # fmt: skip
        return plan

    def _refuse_training(self, training: bool) -> None:
        if training and (self.dropout or self.recurrent_dropout):
            raise FastLSTMError(
                f"{type(self).__name__} {self.name!r}: training=True would apply dropout; fastlstm runs inference only"
            )

    @property
    def kernel(self) -> Array:
        """(features, 4 units), read-only; use set_weights to change it."""
        return self._weights["kernel"]

    @property
    def recurrent_kernel(self) -> Array:
        """(units, 4 units), read-only."""
        return self._weights["recurrent_kernel"]

    @property
    def bias(self) -> Array | None:
        """(4 units,), read-only, or None without a bias."""
        return self._weights.get("bias")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """A new, unbuilt layer from :meth:`get_config`'s result, ours or Keras's."""
        own = sorted({"isa", "reproducible", "threads"} & set(config))
        if own:
            raise FastLSTMError(f"{cls.__name__} config: {own} say how to run, not what to compute; set them in code")
        return cls(**config)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments in Keras's names, without our own isa, reproducible and threads."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": self.activation.name,
            "recurrent_activation": self.recurrent_activation.name,
            "use_bias": self.use_bias,
            "unit_forget_bias": self.unit_forget_bias,
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            **self._saved_config,
        }


class LSTMCell(LSTMWeights):
    """One step of an LSTM: ``keras.layers.LSTMCell`` at inference.

    Arguments are Keras's; those that matter in training only (regularizers, constraints, dropout,
    seed, implementation) are accepted and inert. Two more, by keyword:

    Parameters
    ----------
    isa : str, optional
        Kernel to use (``fastlstm.show_config()`` lists them); default FASTLSTM_ISA, else the best.
    reproducible : bool
        Only kernels that round each multiply-add once: the same bits on every one of them.
    threads : int, optional
        Threads that a call may use; default ``fastlstm.get_num_threads()``. They change no result.
    """

    supports_masking = False
    weights_group = ""
    _rank = 2

    @property
    def state_size(self) -> list[int]:
        """[units, units]: of h and of c."""
        return [self.units, self.units]

    @property
    def output_size(self) -> int:
        """units."""
        return self.units

    def get_initial_state(self, batch_size: int | None = None) -> list[Array]:
        """Zeros for h and c, each (batch_size, units)."""
        return [np.zeros((batch_size or 0, self.units), self.dtype) for _ in range(2)]

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, list[Shape]]:
        """Shapes of the output h and of the new states [h, c]."""
        shape = (input_shape[0], self.units)
        return shape, [shape, shape]

    def call(self, inputs: Any, states: Any = None, training: bool = False) -> Any:  # type: ignore[override]
        """The step itself; see ``__call__``."""
        self._refuse_training(training)
        x = as_float(inputs, self._real, f"LSTMCell {self.name!r}: inputs")
        if x.ndim != 2 or x.shape[1] != self.kernel.shape[0]:
            raise FastLSTMError(
                f"LSTMCell {self.name!r}: inputs has shape {x.shape}; expected (batch, {self.kernel.shape[0]})"
            )
        who = f"LSTMCell {self.name!r}: states"
        h0, c0 = as_state(states, len(x), self.units, self._real, who)
        h, c = np.empty_like(h0), np.empty_like(c0)
        x = np.ascontiguousarray(x)[:, None, :]
        _core.run_layer((self._packed(), x, h0, c0, None, None, h, c, None, False, False))
        return h, [h, c]

    def __call__(self, inputs: ArrayLike, states: Any, training: bool = False) -> Any:  # type: ignore[override]
        """One step.

        Parameters
        ----------
        inputs : array_like, shape (batch, features)
        states : sequence of two array_like, [h, c], each (batch, units)
        training : bool
            Accepted for Keras's sake, and refused where it would change the result.

        Returns
        -------
        h : ndarray, shape (batch, units)
        states : list of ndarray
            ``[h, c]`` after the step.
        """
        if not self.built:
            self.build(np.shape(inputs))
        return self.call(inputs, states, training)
