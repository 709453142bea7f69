"""The LSTM cells of ``tf.contrib.rnn`` that compute otherwise: layer-normalised, coupled gates, a fused sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm.errors import UnsupportedLayerError
from fastlstm.layers.base import Array
from fastlstm.layers.cells import flag
from fastlstm.layout_parts import checked_forget_bias
from fastlstm.layouts import gates
from fastlstm.tf1.arguments import projection, real, refuse_unknown
from fastlstm.tf1.cells import Block, LSTMBlockCell, lstm_shapes
from fastlstm.tf1.running import lengths_mask, sequences, settling
from fastlstm.tf1.steps import LSTMCellBase
from fastlstm.tf1.variables import LSTMStateTuple

#: tf.contrib.layers.layer_norm adds it to the variance.
NORM_EPSILON = 1e-12


class _Normalised(LSTMCellBase):
    """What the cells share that can normalise their gates' sums: a gain and a shift for each gate and for c."""

    #: Scopes of the gates' norms, in the order of the kernel's columns; and where the layer wants each.
    _norms: tuple[str, ...]
    _order_from: str
    _order_to: str

    def __init__(self, *arguments: Any, layer_norm: Any, norm_gain: Any, norm_shift: Any, **options: Any) -> None:
        who = type(self).__name__
        self.layer_norm = flag(layer_norm, f"{who}: layer_norm")
        self._fills = {"gamma": real(norm_gain, f"{who}: norm_gain"), "beta": real(norm_shift, f"{who}: norm_shift")}
        if self.layer_norm:
            options |= {"layer_norm": "gates_and_state", "norm_epsilon": NORM_EPSILON}
        super().__init__(*arguments, **options)

    def _norm_shapes(self) -> dict[str, tuple[int, ...]]:
        scopes = (*self._norms, "state") if self.layer_norm else ()
        return {f"{scope}/{name}": (self.num_units,) for scope in scopes for name in ("gamma", "beta")}

    def _initial(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        fill = self._fills.get(name.rpartition("/")[2])
        return super()._initial(name, shape) if fill is None else np.full(shape, fill, self.dtype or "float32")

    def _gates(self, array: Array) -> Array:
        return gates(array, self._order_from, self._order_to)

    def _bias_and_norms(self, arrays: dict[str, Array], bias: str) -> tuple[Array, list[Array]]:
        """The layer's bias, and its norm_scale, state_norm_scale and state_norm_offset."""
        if self.layer_norm:  # the shift is the layer's bias, and any bias of the cell's own is not used
            gains, shifts = (np.concatenate([arrays[f"{n}/{k}"] for n in self._norms]) for k in ("gamma", "beta"))
            norms = [self._gates(gains), arrays["state/gamma"], arrays["state/beta"]]
        else:
            shifts, norms = arrays[bias], []
        opened, at = self._gates(shifts), self._order_to.index("f") * self.num_units
        opened[at : at + self.num_units] += checked_forget_bias(self.forget_bias, opened.dtype, self.who)
        return opened, norms

    def _split_kernel(self, kernel: Array) -> list[Array]:
        """kernel and recurrent_kernel."""
        return np.split(self._gates(kernel), [len(kernel) - self.output_size])


class LayerNormBasicLSTMCell(_Normalised):
    """``tf.contrib.rnn.LayerNormBasicLSTMCell``: each gate's sum, and c, are normalised over the units.

    Parameters
    ----------
    num_units : int
    forget_bias : float
        Added to f behind its normalisation.
    input_size
        Accepted and inert.
    activation : str or callable, optional
        Default tanh.
    layer_norm : bool
        False leaves an LSTM with a bias.
    norm_gain, norm_shift : float
        What new variables begin with.
    dropout_keep_prob, dropout_prob_seed
        Matter in training only: accepted and inert.
    reuse, isa, reproducible, threads, precision
        As of :class:`fastlstm.tf1.BasicLSTMCell`.

    Notes
    -----
    Variables: ``kernel``; then ``input``, ``transform``, ``forget``, ``output`` and ``state``, each with ``/gamma`` and
    ``/beta``; without layer_norm ``kernel`` and ``bias``.
    """

    _norms = ("input", "transform", "forget", "output")
    _order_from, _order_to = "tf1", "ifco"

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        input_size: Any = None,
        activation: Any = None,
        layer_norm: bool = True,
        norm_gain: float = 1.0,
        norm_shift: float = 0.0,
        dropout_keep_prob: Any = 1.0,
        dropout_prob_seed: Any = None,
        reuse: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_units, forget_bias, activation, "layer_norm_basic_lstm_cell", kwargs.pop("dtype", None), kwargs,
            layer_norm=layer_norm, norm_gain=norm_gain, norm_shift=norm_shift,
        )  # fmt: skip

    def variable_shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        shapes = lstm_shapes(self, features)
        return {"kernel": shapes["kernel"], **self._norm_shapes()} if self.layer_norm else shapes

    def _layer_weights(self, arrays: dict[str, Array]) -> list[Array]:
        bias, norms = self._bias_and_norms(arrays, "bias")
        return [*self._split_kernel(arrays["kernel"]), bias, *norms]


class CoupledInputForgetGateLSTMCell(_Normalised):
    """``tf.contrib.rnn.CoupledInputForgetGateLSTMCell``: what is let in is what is forgotten, i = 1 - f.

    Parameters
    ----------
    num_units : int
    use_peepholes : bool
        Not together with layer_norm, which this cell would apply before it adds them.
    initializer : str or callable, optional
        Of new kernels and peepholes. Default glorot_uniform.
    num_proj : int, optional
        Width of h, which is then a product with a further kernel.
    proj_clip : float, optional
        Bound of h; of use with ``num_proj`` only.
    num_unit_shards, num_proj_shards
        Accepted and inert.
    forget_bias, state_is_tuple, activation, reuse, isa, reproducible, threads, precision
        As of :class:`fastlstm.tf1.BasicLSTMCell`.
    layer_norm, norm_gain, norm_shift
        As of :class:`LayerNormBasicLSTMCell`, except that False is the default.

    Notes
    -----
    Variables: ``W_0`` with columns j, f, o; ``B``, which layer_norm leaves unused; ``W_F_diag, W_O_diag``, or
    ``transform``, ``forget``, ``output`` and ``state``, each with ``/gamma`` and ``/beta``; ``W_P_0``.
    """

    also_saved_as = {}  # noqa: RUF012
    _norms = ("transform", "forget", "output")
    _order_from, _order_to = "cfo", "fco"

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        initializer: Any = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: Any = 1,
        num_proj_shards: Any = 1,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        layer_norm: bool = False,
        norm_gain: float = 1.0,
        norm_shift: float = 0.0,
        **kwargs: Any,
    ) -> None:
        who = "CoupledInputForgetGateLSTMCell"
        self.use_peepholes = flag(use_peepholes, f"{who}: use_peepholes")
        projected = projection(num_proj, proj_clip, who)
        self.num_proj: int | None = projected["projection"]
        super().__init__(
            num_units, forget_bias, activation, "coupled_input_forget_gate_lstm_cell", kwargs.pop("dtype", None),
            kwargs, initializer, state_is_tuple=state_is_tuple, layer_norm=layer_norm, norm_gain=norm_gain,
            norm_shift=norm_shift, coupled_gates="input", peepholes=self.use_peepholes, **projected,
        )  # fmt: skip
        if self.use_peepholes and self.layer_norm:
            raise UnsupportedLayerError(f"{who}: use_peepholes and layer_norm together are not supported")

    def variable_shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        columns = 3 * self.num_units
        shapes: dict[str, tuple[int, ...]] = {"W_0": (features + self.output_size, columns), "B": (columns,)}
        if self.use_peepholes:
            shapes |= {"W_F_diag": (self.num_units,), "W_O_diag": (self.num_units,)}
        shapes |= self._norm_shapes()
        return {**shapes, "W_P_0": (self.num_units, self.num_proj)} if self.num_proj else shapes

    def _initial(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        return np.zeros(shape, self.dtype or "float32") if name == "B" else super()._initial(name, shape)

    def _layer_weights(self, arrays: dict[str, Array]) -> list[Array]:
        bias, norms = self._bias_and_norms(arrays, "B")
        f, o = (arrays.get(f"W_{gate}_diag") for gate in "FO")
        peepholes = [] if f is None or o is None else [np.stack([np.zeros_like(f), f, o])]
        projection = [arrays["W_P_0"]] if self.num_proj else []
        return [*self._split_kernel(arrays["W_0"]), bias, *peepholes, *norms, *projection]


class CudnnCompatibleLSTMCell(LSTMBlockCell):
    """``tf.contrib.cudnn_rnn.CudnnCompatibleLSTMCell``: what CudnnLSTM trained, as a cell; forget_bias is 0."""

    def __init__(self, num_units: int, reuse: Any = None, dtype: Any = None, **kwargs: Any) -> None:
        refuse_unknown(kwargs, "CudnnCompatibleLSTMCell")  # a block's other arguments are not this cell's
        super().__init__(num_units, 0.0, dtype=dtype, name="cudnn_compatible_lstm_cell", **kwargs)


class LSTMBlockFusedCell(Block):
    """``tf.contrib.rnn.LSTMBlockFusedCell``: a whole time-major sequence at a call.

    Parameters
    ----------
    num_units, forget_bias, cell_clip, use_peephole, reuse, dtype, name, isa, reproducible, threads, precision
        As of :class:`fastlstm.tf1.LSTMBlockCell`, variables too.
    """

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
        use_peephole: bool = False,
        reuse: Any = None,
        dtype: Any = None,
        name: str | None = "lstm_fused_cell",
        **kwargs: Any,
    ) -> None:
        super().__init__(num_units, forget_bias, cell_clip, use_peephole, dtype, name, kwargs)

    def __call__(
        self,
        inputs: Any,
        initial_state: Any = None,
        dtype: Any = None,
        sequence_length: ArrayLike | None = None,
        scope: Any = None,
    ) -> tuple[Any, LSTMStateTuple]:
        """Run over a batch of sequences.

        Parameters
        ----------
        inputs : array_like, shape (steps, batch, features), or a list of (batch, features)
        initial_state : (c, h), each (batch, num_units), optional
            Default: zeros.
        dtype : optional
            float32 or float64, where the cell's own was left open.
        sequence_length : array_like of int, shape (batch,), optional
            Steps of each row; outputs behind them are zeros, and the state is the one at the end.
        scope
            Accepted and inert.

        Returns
        -------
        outputs : ndarray, shape (steps, batch, num_units), or a list as the inputs were
        state : LSTMStateTuple
        """
        name = settling([self], dtype, initial_state)
        x = sequences(inputs, self.computes_in(name), True, self.who)
        mask = lengths_mask(sequence_length, x, self.who)
        before = self.states(initial_state, len(x), name)
        y, h, c = self.layer(x.shape[2], name)(x, initial_state=before, mask=mask)
        outputs = np.swapaxes(y, 0, 1)
        return list(outputs) if isinstance(inputs, list) else outputs, LSTMStateTuple(c, h)
