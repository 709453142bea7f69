"""LSTM with Keras's arguments and calls, over the kernels of csrc."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm.activations import Curve
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Shape
from fastlstm.layers.cells import flag
from fastlstm.layers.lstm_cell import LSTMWeights
from fastlstm.layers.recurrent import Job, Recurrent, checked_cudnn
from fastlstm.layers.variants import Gates, Variant


class LSTM(Recurrent, LSTMWeights):
    """Long short-term memory over a whole sequence: ``keras.layers.LSTM`` at inference.

    z = x W + h R + b;  i, f, o = recurrent_activation(z_i, z_f, z_o);
    c' = f c + i activation(z_c);  h' = o activation(c')

    Arguments, defaults and results are Keras 3.15's on the TensorFlow CPU backend
    (keras/src/layers/rnn/lstm.py). Those that matter in training only (regularizers, constraints,
    dropout, seed) or that choose between equal computations (implementation, unroll, use_cudnn) are
    accepted and inert. More, by keyword, which Keras does not have:

    Parameters
    ----------
    peepholes : bool
        Gates see the cell state: i and f the old one, o the new one. Weight ``peephole_kernel`` (3, units): i, f, o.
    projection : int, optional
        h is (o output_activation(c')) ``projection_kernel``, so wide; c stays units wide.
    projection_bias : bool
        It is added to that.
    coupled_gates : {"input", "forget"}, optional
        i = 1 - f, or f = 1 - i; the weights then have three gates, without that one.
    layer_norm : {"gates", "gates_and_state"}, optional
        The sums of each gate, without bias, are brought to mean 0 and variance 1 over the units, times
        ``norm_scale``, plus bias; and so is c', with ``state_norm_scale`` and ``state_norm_offset``.
    norm_epsilon : float
        Added to a variance.
    input_clip, cell_clip, projection_clip : float, optional
        The largest absolute value of what an activation of a gate gets, of c', of a projected h.
    output_activation : optional
        Of c' in h; default: ``activation``. This and the other two may be a :class:`fastlstm.activations.Curve`.
    time_major : bool
        Sequences, masks and outputs are (steps, batch, ...).
    return_gates : bool
        Return, last, :class:`Gates`: i, f, g, o and c of every step.
    isa : str, optional
        Kernel to use (``fastlstm.show_config()`` lists them); default FASTLSTM_ISA, else the best.
    reproducible : bool
        Only kernels that round each multiply-add once: the same bits on every one of them.
    threads : int, optional
        Threads that a call may use; default ``fastlstm.get_num_threads()``. They change no result.
    precision : {"float32", "bfloat16", "float16", "int8"}
        How the packed weights are kept: fewer bits are sooner read and less exact (docs/precision.md).
    """

    _curves = True

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
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        *,
        zero_output_for_mask: bool = False,
        peepholes: bool = False,
        projection: int | None = None,
        projection_bias: bool = False,
        coupled_gates: str | None = None,
        layer_norm: str | None = None,
        norm_epsilon: float = 1e-8,
        input_clip: float | None = None,
        cell_clip: float | None = None,
        projection_clip: float | None = None,
        output_activation: Any = None,
        time_major: bool = False,
        return_gates: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, recurrent_activation, use_bias,
            kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint,
            dropout, recurrent_dropout, seed, unit_forget_bias=unit_forget_bias,
            return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, unroll=unroll, zero_output_for_mask=zero_output_for_mask,
            activity_regularizer=activity_regularizer, **kwargs,
        )  # fmt: skip
        self.use_cudnn = checked_cudnn(use_cudnn, self.who)
        self.variant = Variant(
            peepholes, projection, projection_bias, coupled_gates, layer_norm, norm_epsilon, input_clip, cell_clip,
            projection_clip, output_activation,
        ).checked(self.who)  # fmt: skip
        self._gates = self.variant.gates
        self._has_forget_gate = self.variant.coupled_gates != "forget"
        self.time_major = flag(time_major, f"{self.who}: time_major")
        self.return_gates = flag(return_gates, f"{self.who}: return_gates")

    # -- what a step computes beside Keras's ------------------------------------------------------------

    @property
    def output_size(self) -> int:
        """The width of the output h: units, or what a projection makes of them."""
        return self.variant.projection or self.units

    @property
    def beyond_keras(self) -> tuple[str, ...]:
        """The arguments that make this another layer than Keras can hold."""
        curves = (name for name in ("activation", "recurrent_activation") if isinstance(getattr(self, name), Curve))
        return (*self._own_config(), *curves)

    def _own_config(self) -> dict[str, Any]:
        given = {"time_major": self.time_major, "return_gates": self.return_gates}
        return {**self.variant.config(), **{name: value for name, value in given.items() if value}}

    def _plan_variant(self, weights: dict[str, Array]) -> dict[str, Any] | None:
        functions = self.recurrent_activation, self.activation, self.variant.output_activation or self.activation
        if not self.variant.computes and not any(isinstance(f, Curve) for f in functions):
            return None
        return self.variant.for_plan(functions, weights)

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        """Keras's three, then as far as there are such: peephole_kernel, norm_scale, state_norm_scale,
        state_norm_offset, projection_kernel, projection_bias."""
        return {**super().weight_shapes(input_shape), **self.variant.weight_shapes(self.units)}

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        if name in ("peephole_kernel", "projection_kernel"):
            found: ArrayLike = self.kernel_initializer(shape, self.dtype)
            return found
        if name in ("norm_scale", "state_norm_scale"):
            return np.ones(shape)
        if name in ("state_norm_offset", "projection_bias"):
            return np.zeros(shape)
        return super()._initial_weight(name, shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments in Keras's names, and of those that Keras does not have what is not default."""
        return {**super().get_config(), **self._own_config()}

    def connect(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """As of every layer; not with time_major, for the first axis of what a model computes is the batch."""
        if self.time_major:
            raise FastLSTMError(f"{self.who}: time_major=True has no place in a model; call the layer on arrays")
        return super().connect(args, kwargs)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """As of every recurrent layer; with return_gates there is none."""
        if self.return_gates:
            raise FastLSTMError(
                f"{self.who}: return_gates=True gives more than a model's graph has a place for; call it on arrays"
            )
        return super().compute_output_shape(input_shape)

    def _traced(self, job: Job) -> tuple[Any, ...]:
        if not self.return_gates:
            return ()
        trace = job[11].swapaxes(0, 1) if self.time_major else job[11]
        return (Gates(*np.split(trace, 5, axis=-1)),)
