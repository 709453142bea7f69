"""``tf.contrib.cudnn_rnn.CudnnLSTM``: layers of LSTMs in one or both directions, with cuDNN's canonical weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm.arrays import as_array
from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Array
from fastlstm.layers.cells import flag
from fastlstm.layers.core import positive
from fastlstm.layout_parts import as_list
from fastlstm.layouts import cudnn_to_keras, keras_to_cudnn, keras_to_tf1, tf1_to_keras
from fastlstm.tf1.arguments import refuse_unknown, text_or_none
from fastlstm.tf1.checkpoints import Place, load_cells
from fastlstm.tf1.contrib import CudnnCompatibleLSTMCell
from fastlstm.tf1.rnn import bidirectional_dynamic_rnn, dynamic_rnn
from fastlstm.tf1.running import sequences

_PARAMETERS = 8  # weights, and as many biases, of one layer in one direction


class CudnnLSTM:
    """``tf.contrib.cudnn_rnn.CudnnLSTM`` at inference; each LSTM in it is a :class:`CudnnCompatibleLSTMCell`.

    Parameters
    ----------
    num_layers, num_units : int
    input_mode : {"linear_input"}
        The others, which leave the first layer without a kernel, are refused.
    direction : {"unidirectional", "bidirectional"}
    dropout, seed
        Matter in training only: accepted and inert.
    dtype : {"float32", "float64"}
    kernel_initializer, bias_initializer
        Accepted and inert.
    name : str, optional
        Accepted and inert.
    isa, reproducible, threads, precision
        As of ``fastlstm.LSTM``, by keyword.
    """

    def __init__(
        self,
        num_layers: int,
        num_units: int,
        input_mode: str = "linear_input",
        direction: str = "unidirectional",
        dropout: Any = 0.0,
        seed: Any = None,
        dtype: Any = "float32",
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.num_layers = positive(num_layers, "CudnnLSTM: num_layers")
        self.num_units = positive(num_units, "CudnnLSTM: num_units")
        if input_mode != "linear_input":
            raise UnsupportedLayerError(f"CudnnLSTM: input_mode is {input_mode!r}; only 'linear_input' is supported")
        if direction not in ("unidirectional", "bidirectional"):
            raise FastLSTMError(f"CudnnLSTM: direction is {direction!r}; expected 'unidirectional' or 'bidirectional'")
        text_or_none(name, "CudnnLSTM: name")
        refuse_unknown(kwargs, "CudnnLSTM")
        self.num_dirs = 2 if direction == "bidirectional" else 1
        #: The cells of each layer: the forward one, and the backward one if there is one.
        self.cells = [
            [CudnnCompatibleLSTMCell(num_units, dtype=dtype, **kwargs) for _ in range(self.num_dirs)]
            for _ in range(num_layers)
        ]

    def set_canonical(self, weights: Sequence[ArrayLike], biases: Sequence[ArrayLike]) -> None:
        """Take cuDNN's canonical parameters.

        Parameters
        ----------
        weights : sequence of array_like
            For each layer, and in it for each direction: those of the input for i, f, c, o, each (num_units,
            features), then those of h, each (num_units, num_units).
        biases : sequence of array_like, each (num_units,)
            In the same order; those of the input and of h are added up.
        """
        weights, biases = as_list(weights, "CudnnLSTM: weights"), as_list(biases, "CudnnLSTM: biases")
        expected = _PARAMETERS * self.num_layers * self.num_dirs
        if len(weights) != expected or len(biases) != expected:
            raise FastLSTMError(
                f"CudnnLSTM: got {len(weights)} weights and {len(biases)} biases; expected {expected} of each"
            )
        cells = [cell for layer in self.cells for cell in layer]
        checked = []
        for number, cell in enumerate(cells):
            own = slice(_PARAMETERS * number, _PARAMETERS * (number + 1))
            found = keras_to_tf1(*cudnn_to_keras(weights[own], biases[own]), forget_bias=0.0)
            checked.append(cell.checked([found.kernel, found.bias]))
        for cell, arrays in zip(cells, checked, strict=True):
            cell.keep(arrays)

    def canonical(self) -> tuple[list[Array], list[Array]]:
        """cuDNN's canonical weights and biases, as :meth:`set_canonical` takes them; the biases of h are zeros."""
        weights: list[Array] = []
        biases: list[Array] = []
        for cell in (cell for layer in self.cells for cell in layer):
            if not cell.built:
                raise FastLSTMError("CudnnLSTM has no weights yet; load some, or run it once for new ones")
            found = keras_to_cudnn(*tf1_to_keras(*cell.get_weights(), forget_bias=0.0))
            weights += found.weights
            biases += found.biases
        return weights, biases

    def load_checkpoint(self, checkpoint: Any, scope: str = "") -> None:
        """Take the variables from a checkpoint, in which they are those of compatible cells.

        See :meth:`fastlstm.tf1.LSTMCell.load_checkpoint`; each cell is looked for under ``cell_<layer>`` and, of two
        directions, ``fw`` or ``bw``.
        """
        sides: tuple[Place, ...] = (("fw",), ("bw",)) if self.num_dirs == 2 else ((),)
        load_cells(
            checkpoint, scope,
            [
                ((number, *side), cell)
                for number, layer in enumerate(self.cells)
                for side, cell in zip(sides, layer, strict=True)
            ],
        )  # fmt: skip

    def __call__(
        self,
        inputs: ArrayLike,
        initial_state: Any = None,
        sequence_lengths: ArrayLike | None = None,
        time_major: bool = True,
        training: bool = False,
    ) -> tuple[Array, tuple[Array, Array]]:
        """Run over a batch of sequences.

        Parameters
        ----------
        inputs : array_like, shape (steps, batch, features), or (batch, steps, features) without time_major
        initial_state : (h, c), optional
            Each (num_layers * directions, batch, num_units); without time_major the batch comes first. Default: zeros.
        sequence_lengths : array_like of int, shape (batch,), optional
        time_major : bool
        training : bool
            Accepted; dropout is left out.

        Returns
        -------
        outputs : ndarray
            As the inputs, with num_units * directions features.
        (h, c)
            As the initial state.
        """
        who = "CudnnLSTM"
        time_major = flag(time_major, f"{who}: time_major")
        x = sequences(inputs, self.cells[0][0].computes_in(None), time_major, who)
        before = self._states(initial_state, len(x), time_major)
        after: list[Any] = []
        for number, cells in enumerate(self.cells):
            given = before[number * self.num_dirs : (number + 1) * self.num_dirs]
            if self.num_dirs == 1:
                x, state = dynamic_rnn(cells[0], x, sequence_lengths, given[0])
                after.append(state)
            else:
                forward, backward = cells
                outputs, states = bidirectional_dynamic_rnn(forward, backward, x, sequence_lengths, *given)
                x = np.concatenate(outputs, axis=-1)
                after += states
        axis = 0 if time_major else 1
        h, c = (np.stack([getattr(state, key) for state in after], axis) for key in "hc")
        return x.swapaxes(0, 1) if time_major else x, (h, c)

    def _states(self, given: Any, batch: int, time_major: bool) -> list[Any]:
        """(c, h) of each cell."""
        count = self.num_layers * self.num_dirs
        if given is None:
            return [None] * count
        parts = given if isinstance(given, list | tuple) else []
        arrays = [as_array(part, "CudnnLSTM: initial_state") for part in parts]
        shape = (count, batch, self.num_units) if time_major else (batch, count, self.num_units)
        if (found := [array.shape for array in arrays]) != [shape, shape]:
            raise FastLSTMError(f"CudnnLSTM: initial_state has the shapes {found}; expected (h, c), each {shape}")
        h, c = (array if time_major else array.swapaxes(0, 1) for array in arrays)
        return list(zip(c, h, strict=True))
