"""What LSTM, GRU and SimpleRNN share with their cells: the arguments that say what a step computes, the weights."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import _core, activations, initializers
from fastlstm.arrays import as_float
from fastlstm.config import choose_isa
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.core import plain, positive
from fastlstm.precision import PRECISIONS, checked
from fastlstm.stream import as_states
from fastlstm.threads import checked as checked_threads
from fastlstm.threads import get_num_threads


def flag(value: Any, what: str) -> bool:
    """``value`` as a bool; 0 and 1 will do, anything else is refused."""
    if isinstance(value, bool | np.bool_ | int | np.integer) and value in (0, 1):
        return bool(value)
    raise FastLSTMError(f"{what} is {value!r}; expected True or False")


def fraction(value: Any, what: str) -> float:
    """A dropout rate, taken to the nearest of 0 to 1 as in Keras."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise FastLSTMError(f"{what} is {value!r}; expected a number from 0 to 1")
    return min(1.0, max(0.0, value))


#: Arguments that say how to run, not what to compute.
OWN_ARGUMENTS = ("isa", "reproducible", "threads", "precision")


class CellWeights(Layer):
    """The arguments that say what a step computes, and its weights.

    Parameters
    ----------
    isa : str, optional
        Kernel to use (``fastlstm.show_config()`` lists them); default FASTLSTM_ISA, else the best.
    reproducible : bool
        Only kernels that round each multiply-add once: the same bits on every one of them.
    threads : int, optional
        Threads that a call may use; default ``fastlstm.get_num_threads()``. They change no result.
    precision : str
        How the packed weights are kept: ``"float32"`` (default; in full, as the layer's dtype has them),
        ``"bfloat16"``, ``"float16"`` (half the memory) or ``"int8"`` (a quarter). All but the first are faster where
        memory is what a step waits for, and less exact: see ``Model.precision_report``. Sums, states and
        activations stay float32.
    """

    supports_masking = True
    weights_group = "cell"
    precisions = PRECISIONS
    #: Whether activations may have parameters.
    _curves: ClassVar[bool] = False
    #: Axes of the input, the batch's among them.
    _rank: int
    #: Gates that lie side by side along the last axis of the weights.
    _gates: int
    #: The binding's name for what a step computes.
    _kind: str
    #: How many states there are: ``[h]``, or ``[h, c]``.
    state_count: ClassVar[int] = 1

    def __init__(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        recurrent_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        recurrent_regularizer: Any,
        bias_regularizer: Any,
        kernel_constraint: Any,
        recurrent_constraint: Any,
        bias_constraint: Any,
        dropout: float,
        recurrent_dropout: float,
        seed: Any,
        *,
        isa: str | None = None,
        reproducible: bool = False,
        threads: int | None = None,
        precision: str = "float32",
        **base: Any,
    ) -> None:
        super().__init__(**base)
        self.units = positive(units, f"{self.who}: units")
        self.activation = activations.get_plain(activation, f"{self.who}: activation", curves=self._curves)
        self.use_bias = flag(use_bias, f"{self.who}: use_bias")
        self.kernel_initializer = initializers.get(kernel_initializer, f"{self.who}: kernel_initializer")
        self.recurrent_initializer = initializers.get(recurrent_initializer, f"{self.who}: recurrent_initializer")
        self.bias_initializer = initializers.get(bias_initializer, f"{self.who}: bias_initializer")
        self.dropout = fraction(dropout, f"{self.who}: dropout")
        self.recurrent_dropout = fraction(recurrent_dropout, f"{self.who}: recurrent_dropout")
        self._real = np.dtype(self.dtype)
        self.reproducible = flag(reproducible, f"{self.who}: reproducible")
        self.isa = choose_isa(isa, self.reproducible)
        self.threads = None if threads is None else checked_threads(threads, f"{self.who}: threads")
        self._plan: _core.Plan | None = None
        self.precision = precision
        self._saved_config = {
            "kernel_initializer": initializers.serialize(kernel_initializer),
            "recurrent_initializer": initializers.serialize(recurrent_initializer),
            "bias_initializer": initializers.serialize(bias_initializer),
            "kernel_regularizer": plain(kernel_regularizer),
            "recurrent_regularizer": plain(recurrent_regularizer),
            "bias_regularizer": plain(bias_regularizer),
            "kernel_constraint": plain(kernel_constraint),
            "recurrent_constraint": plain(recurrent_constraint),
            "bias_constraint": plain(bias_constraint),
            "seed": seed,
        }

    @property
    def how_to_run(self) -> dict[str, Any]:
        """The arguments of our own, which no configuration holds."""
        return {name: getattr(self, name) for name in OWN_ARGUMENTS}

    @property
    def precision(self) -> str:
        """How the packed weights are kept; may be set at any time."""
        return self._precision

    @precision.setter
    def precision(self, precision: str) -> None:
        precision = checked(precision, self.who)
        if precision != "float32" and self._real != np.float32:
            raise FastLSTMError(f"{self.who}: precision={precision!r} needs dtype float32; the layer's is {self._real}")
        self._precision = precision
        self._plan = None

    # -- what a step computes -------------------------------------------------------------------------

    @property
    def _activations(self) -> tuple[int, int]:
        """Numbers of the activation and the recurrent activation in the library."""
        return self.activation.number, self.activation.number

    def _plan_variant(self, weights: dict[str, Array]) -> dict[str, Any] | None:
        """What a step computes beside the cell's own, as the binding takes it."""
        return None

    @property
    def output_size(self) -> int:
        """The width of the output h: units, or what a projection makes of them."""
        return self.units

    @property
    def _widths(self) -> tuple[int, ...]:
        """Of the states h and c, as many as there are."""
        return (self.output_size, self.units)[: self.state_count]

    # -- weights --------------------------------------------------------------------------------------

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        """kernel (features, G units), recurrent_kernel (width of h, G units) and a bias, for G gates side by side."""
        if len(input_shape) != self._rank or not input_shape[-1]:
            axes = ("batch", "steps", "features") if self._rank == 3 else ("batch", "features")
            raise FastLSTMError(
                f"{self.who}: input has shape {tuple(input_shape)}; "
                f"expected ({', '.join(axes)}) with a known number of features, at least 1"
            )
        columns = self._gates * self.units
        shapes: dict[str, tuple[int, ...]] = {
            "kernel": (input_shape[-1], columns),
            "recurrent_kernel": (self.output_size, columns),
        }
        if self.use_bias:
            shapes["bias"] = self._bias_shape
        return shapes

    @property
    def _bias_shape(self) -> tuple[int, ...]:
        return (self._gates * self.units,)

    def _input_shape_from(self, arrays: list[Array]) -> Shape | None:
        if not arrays or arrays[0].ndim != 2:
            return None
        return (*(None for _ in range(self._rank - 1)), arrays[0].shape[0])

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        initializer = {
            "kernel": self.kernel_initializer,
            "recurrent_kernel": self.recurrent_initializer,
            "bias": self.bias_initializer,
        }[name]
        return initializer(shape, self.dtype)

    def _weights_changed(self) -> None:
        self._plan = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_plan": None}  # a copy packs its own

    def _packed(self) -> _core.Plan:
        """The weights as the kernel wants them, packed at the first use."""
        plan = self._plan
        while plan is None:
            w, precision = self._weights, self._precision
            get_num_threads()  # the default is asked for at the latest now
            try:
                plan = self._plan = _core.Plan(
                    w["kernel"], w["recurrent_kernel"], w.get("bias"),
                    *self._activations, self.isa, self.reproducible, self.threads or 0, self._kind, precision,
                    self._plan_variant(w),
                )  # fmt: skip
            except FastLSTMError as error:
                raise FastLSTMError(f"{self.who}: {error}") from None
            if w is not self._weights or precision != self._precision:  # another thread has changed them meanwhile
                plan = self._plan = None
        return plan

    def _refuse_training(self, training: bool) -> None:
        if training and (self.dropout or self.recurrent_dropout):
            raise FastLSTMError(f"{self.who}: training=True would apply dropout; fastlstm runs inference only")

    @property
    def kernel(self) -> Array:
        """(features, G units), read-only; use set_weights to change it."""
        return self._weights["kernel"]

    @property
    def recurrent_kernel(self) -> Array:
        """(units, G units), read-only."""
        return self._weights["recurrent_kernel"]

    @property
    def bias(self) -> Array | None:
        """Read-only, or None without a bias."""
        return self._weights.get("bias")

    # -- configuration --------------------------------------------------------------------------------

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """A new, unbuilt layer from :meth:`get_config`'s result, ours or Keras's."""
        own = sorted(set(OWN_ARGUMENTS) & set(config))
        if own:
            raise FastLSTMError(f"{cls.__name__} config: {own} say how to run, not what to compute; set them in code")
        return cls(**config)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments in Keras's names, without our own isa, reproducible, threads and precision."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": self.activation.name,
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            **self._saved_config,
        }


class GatedWeights(CellWeights):
    """What LSTM and GRU share: gates with an activation of their own."""

    def __init__(
        self,
        units: int,
        activation: Any,
        recurrent_activation: Any,
        *rest: Any,
        implementation: Any = 2,
        **options: Any,
    ) -> None:
        super().__init__(units, activation, *rest, **options)
        self.recurrent_activation = activations.get_plain(
            recurrent_activation, f"{self.who}: recurrent_activation", curves=self._curves
        )
        self.implementation = implementation

    @property
    def _activations(self) -> tuple[int, int]:
        return self.activation.number, self.recurrent_activation.number

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "recurrent_activation": self.recurrent_activation.name}


class RecurrentCell(CellWeights):
    """One step at a time, the states given and returned: what the three cells share."""

    supports_masking = False
    weights_group = ""
    _rank = 2

    @property
    def state_size(self) -> Any:
        """units; of an LSTMCell a list of it for h and for c."""
        return self.units if self.state_count == 1 else [self.units] * self.state_count

    def get_initial_state(self, batch_size: int | None = None) -> list[Array]:
        """Zeros for each state, (batch_size, units)."""
        return [np.zeros((batch_size or 0, self.units), self.dtype) for _ in range(self.state_count)]

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, list[Shape]]:
        """Shapes of the output h and of the new states."""
        shape = (input_shape[0], self.units)
        return shape, [shape] * self.state_count

    def call(self, inputs: Any, states: Any = None, training: bool = False) -> Any:  # type: ignore[override]
        """The step itself; see ``__call__``."""
        self._refuse_training(training)
        x, features = as_float(inputs, self._real, f"{self.who}: inputs"), self._packed().features
        if x.ndim != 2 or x.shape[1] != features:
            raise FastLSTMError(f"{self.who}: inputs has shape {x.shape}; expected (batch, {features})")
        before = as_states(states, self._widths, len(x), self._real, f"{self.who}: states")
        after = [np.empty_like(state) for state in before]
        (h0, c0), (h, c) = ((*s, None)[:2] for s in (before, after))
        x = np.ascontiguousarray(x)[:, None, :]
        _core.run_layer((self._packed(), x, h0, c0, None, None, h, c, None, False, False))
        return h, after if isinstance(states, list | tuple) or self.state_count > 1 else h

    def __call__(self, inputs: ArrayLike, states: Any, training: bool = False) -> Any:  # type: ignore[override]
        """One step.

        Parameters
        ----------
        inputs : array_like, shape (batch, features)
        states : sequence of array_like, each (batch, units)
            ``[h, c]`` of an LSTMCell; ``[h]``, or h itself, of the others.
        training : bool
            Accepted for Keras's sake, and refused where it would change the result.

        Returns
        -------
        h : ndarray, shape (batch, units)
        states : list of ndarray, or h where h itself was given
            After the step.
        """
        if not self.built:
            self.build(np.shape(inputs))
        return self.call(inputs, states, training)
