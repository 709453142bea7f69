"""The cells of ``tf.nn.rnn_cell``, and ``LSTMBlockCell``, which computes as they do."""

from __future__ import annotations

from typing import Any

from fastlstm.layers.cells import flag
from fastlstm.tf1.arguments import block_clip, clip, projection
from fastlstm.tf1.steps import LSTMCellBase
from fastlstm.tf1.variables import LSTMVariables


class BasicLSTMCell(LSTMCellBase):
    """``tf.nn.rnn_cell.BasicLSTMCell``: an LSTM without clips, projection or peepholes.

    i, j, f, o = [x, h] kernel + bias;  c' = c sigmoid(f + forget_bias) + sigmoid(i) activation(j);
    h' = sigmoid(o) activation(c')

    Parameters
    ----------
    num_units : int
    forget_bias : float
        Added to f at run time; it is in no variable and in no checkpoint.
    state_is_tuple : bool
        Whether states are ``LSTMStateTuple(c, h)``, or one array with c in front of h.
    activation : str or callable, optional
        By its Keras name, or the function of TensorFlow. Default tanh. hard_sigmoid is that of Keras 2.
    reuse, trainable
        Accepted and inert.
    name : str, optional
        Names the cell in errors.
    dtype : {"float32", "float64"}, optional
        What it computes in. Default: what the function that runs it is told, else as another cell of the call or,
        where its state is float64, that; else float32.
    isa, reproducible, threads, precision
        As of ``fastlstm.LSTM``, by keyword.
    """

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_units, forget_bias, activation, name, dtype, kwargs, state_is_tuple=state_is_tuple)

    def variable_shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return lstm_shapes(self, features)


class LSTMCell(LSTMCellBase):
    """``tf.nn.rnn_cell.LSTMCell``: with peepholes, clips and a projection where asked for.

    Parameters
    ----------
    num_units : int
    use_peepholes : bool
        Whether f and i also see c times ``w_f_diag`` and ``w_i_diag``, and o the new c times ``w_o_diag``.
    cell_clip : float, optional
        Bound of c, before the output is made of it.
    initializer : str or callable, optional
        Of the kernels and peepholes, where none are loaded. Default glorot_uniform.
    num_proj : int, optional
        Width of h, which is then a product with a further kernel.
    proj_clip : float, optional
        Bound of h; of use with ``num_proj`` only.
    num_unit_shards, num_proj_shards
        Accepted and inert.
    forget_bias, state_is_tuple, activation, reuse, name, dtype, isa, reproducible, threads, precision
        As of :class:`BasicLSTMCell`.
    """

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        cell_clip: float | None = None,
        initializer: Any = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: Any = None,
        num_proj_shards: Any = None,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        who = "LSTMCell"
        self.use_peepholes = flag(use_peepholes, f"{who}: use_peepholes")
        projected = projection(num_proj, proj_clip, who)
        self.num_proj: int | None = projected["projection"]
        super().__init__(
            num_units, forget_bias, activation, name, dtype, kwargs, initializer, state_is_tuple=state_is_tuple,
            peepholes=self.use_peepholes, cell_clip=clip(cell_clip, f"{who}: cell_clip"), **projected,
        )  # fmt: skip

    def variable_shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return lstm_shapes(self, features, "fio" if self.use_peepholes else "", self.num_proj)


class Block(LSTMVariables):
    """What the blocks share, of a step and of a sequence: their arguments and variables."""

    def __init__(
        self, num_units: Any, forget_bias: Any, cell_clip: Any, use_peephole: Any, dtype: Any, name: Any, kwargs: Any
    ) -> None:
        who = type(self).__name__
        self.use_peephole = flag(use_peephole, f"{who}: use_peephole")
        super().__init__(
            num_units, forget_bias, None, name, dtype, kwargs,
            peepholes=self.use_peephole, cell_clip=block_clip(cell_clip, f"{who}: cell_clip"),
        )  # fmt: skip

    def variable_shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return lstm_shapes(self, features, "ifo" if self.use_peephole else "")


class LSTMBlockCell(Block, LSTMCellBase):
    """``tf.contrib.rnn.LSTMBlockCell``: as :class:`LSTMCell`, without a projection.

    Its variables are created in another order: the peepholes, if any, are ``w_i_diag, w_f_diag, w_o_diag``.

    Parameters
    ----------
    num_units : int
    forget_bias : float
    cell_clip : float, optional
        Bound of c; None or what is not above 0 for none.
    use_peephole : bool
    dtype, reuse, name, isa, reproducible, threads, precision
        As of :class:`BasicLSTMCell`.
    """

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
        use_peephole: bool = False,
        dtype: Any = None,
        reuse: Any = None,
        name: str | None = "lstm_cell",
        **kwargs: Any,
    ) -> None:
        super().__init__(num_units, forget_bias, cell_clip, use_peephole, dtype, name, kwargs)


def lstm_shapes(
    cell: LSTMVariables, features: int, peepholes: str = "", num_proj: int | None = None
) -> dict[str, tuple[int, ...]]:
    """Shapes of the variables of a cell whose peepholes are created in that order."""
    columns = 4 * cell.num_units
    shapes: dict[str, tuple[int, ...]] = {"kernel": (features + cell.output_size, columns), "bias": (columns,)}
    shapes |= {f"w_{gate}_diag": (cell.num_units,) for gate in peepholes}
    return shapes if num_proj is None else {**shapes, "projection/kernel": (cell.num_units, num_proj)}
