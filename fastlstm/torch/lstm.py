"""``torch.nn.LSTM``: stacked layers in one or both directions, over batches, single sequences and packed ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlstm import _core
from fastlstm.arrays import as_float, finite
from fastlstm.errors import FastLSTMError
from fastlstm.layers import LSTM as Layer
from fastlstm.layers.base import Array
from fastlstm.layers.cells import flag
from fastlstm.layers.core import positive
from fastlstm.layers.recurrent import within
from fastlstm.layouts import torch_to_keras
from fastlstm.torch.module import Module
from fastlstm.torch.packed import PackedSequence, checked, is_packed, lengths_of, padded, picked
from fastlstm.torch.state import Shapes

_MOST_LAYERS = 1000  # each is made at once, and takes memory


class LSTM(Module):
    """Stacked LSTM layers in one or both directions over sequences: ``torch.nn.LSTM`` at inference.

    i, f, o = sigmoid(z_i, z_f, z_o);  c' = f c + i tanh(z_g);  h' = o tanh(c'), times weight_hr with a projection;
    z = weight_ih x + bias_ih + weight_hh h + bias_hh

    Arguments, defaults, names and shapes are torch's (torch/nn/modules/rnn.py). Weights are drawn as torch draws
    them until :meth:`load_state_dict` brings others; ``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``,
    ``bias_hh_l0``, ``weight_hr_l0``, ``weight_ih_l0_reverse``, ``weight_ih_l1``, ... give them, read-only.

    Parameters
    ----------
    input_size, hidden_size : int
        Features I of a step, and of c.
    num_layers : int
        L layers, at most 1000, each reading what the one before puts out.
    bias : bool
    batch_first : bool
        Whether sequences are (batch, steps, features) rather than (steps, batch, features); states are not concerned.
    dropout : float
        Matters in training only: accepted and never applied.
    bidirectional : bool
        Whether each layer also reads backwards: D is 2, else 1.
    proj_size : int
        Features of h, fewer than those of c; 0 for as many.
    device
        None or "cpu".
    dtype
        float32 (default) or float64, of NumPy or torch, or the name of it.
    isa, reproducible, threads, precision
        By keyword, as of :class:`fastlstm.LSTM`.

    Attributes
    ----------
    layers : tuple of fastlstm.LSTM
        What runs: layer 0, layer 0 backwards, layer 1, ...; only to be read.

    Raises
    ------
    FastLSTMError
        An argument of another type or range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        isa: str | None = None,
        reproducible: bool = False,
        threads: int | None = None,
        precision: str = "float32",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.num_layers = positive(num_layers, "LSTM: num_layers")
        if self.num_layers > _MOST_LAYERS:
            raise FastLSTMError(f"LSTM: num_layers is {num_layers}; expected at most {_MOST_LAYERS}")
        self.batch_first = flag(batch_first, "LSTM: batch_first")
        rate = finite(dropout)
        if rate is None or not 0 <= rate <= 1:
            raise FastLSTMError(f"LSTM: dropout is {dropout!r}; expected a number from 0 to 1")
        self.dropout = rate
        self.bidirectional = flag(bidirectional, "LSTM: bidirectional")
        none = isinstance(proj_size, int | np.integer) and not isinstance(proj_size, bool) and proj_size == 0
        self.proj_size = 0 if none else positive(proj_size, "LSTM: proj_size")
        if self.proj_size >= self.hidden_size:
            raise FastLSTMError(f"LSTM: proj_size is {proj_size}; expected less than hidden_size, {hidden_size}")
        self._output = self.proj_size or self.hidden_size  # features of h
        self._directions = 2 if self.bidirectional else 1
        self.layers = tuple(
            Layer(
                self.hidden_size, use_bias=self.bias, projection=self.proj_size or None, return_sequences=True,
                return_state=True, zero_output_for_mask=True, go_backwards=end.endswith("_reverse"), dtype=self.dtype,
                name=end, isa=isa, reproducible=reproducible, threads=threads, precision=precision,
            )
            for end in self._ends()
        )  # fmt: skip

    # -- weights --------------------------------------------------------------------------------------

    def _ends(self) -> list[str]:
        """What the names of the weights end with, in torch's order of layers and directions."""
        return [f"l{n}{way}" for n in range(self.num_layers) for way in ("", "_reverse")[: self._directions]]

    def _shapes(self) -> Shapes:
        columns, found = 4 * self.hidden_size, Shapes()
        for place, end in enumerate(self._ends()):
            read = self.input_size if place < self._directions else self._directions * self._output
            found[f"weight_ih_{end}"], found[f"weight_hh_{end}"] = (columns, read), (columns, self._output)
            if self.bias:
                found[f"bias_ih_{end}"] = found[f"bias_hh_{end}"] = (columns,)
            if self.proj_size:
                found[f"weight_hr_{end}"] = (self.proj_size, self.hidden_size)
        return found

    def _take(self, arrays: dict[str, Array]) -> None:
        for layer, end in zip(self.layers, self._ends(), strict=True):
            ih, hh = arrays[f"weight_ih_{end}"], arrays[f"weight_hh_{end}"]
            others = (arrays.get(f"{name}_{end}") for name in ("bias_ih", "bias_hh", "weight_hr"))
            layer.set_weights([w for w in torch_to_keras(ih, hh, *others) if w is not None])

    # -- running ----------------------------------------------------------------------------------------

    def __call__(self, input: Any, hx: Any = None, *, lengths: Any = None) -> tuple[Any, tuple[Array, Array]]:
        """Run all layers over a batch of sequences.

        Parameters
        ----------
        input : array_like, shape (steps, batch, I), (batch, steps, I) with batch_first, or (steps, I); or packed
            Whatever has ``__array__``, tensors of torch too, converted to the module's dtype; or a
            :class:`PackedSequence` of ours or torch's.
        hx : (h_0, c_0), optional
            (D L, batch, P or H) and (D L, batch, H), without batch for input without; default zeros. The order is
            layer 0, layer 0 backwards, layer 1, ...
        lengths : array_like of int, shape (batch,), optional
            How many steps of each row count: outputs behind them are zeros, the backward direction begins at the
            last of them, and the states are those after it, as if the batch had been packed.

        Returns
        -------
        output : ndarray, shape (steps, batch, D (P or H)), or as input is; or PackedSequence
        (h_n, c_n) : ndarray, shapes as of hx

        Raises
        ------
        FastLSTMError
            A wrong rank, width or length.
        """
        if is_packed(input):
            return self._run_packed(input, hx, lengths)
        x = as_float(input, self._real, "LSTM: input")
        batched = x.ndim == 3
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            order = "batch, steps" if self.batch_first else "steps, batch"
            raise FastLSTMError(
                f"LSTM: input has shape {x.shape}; expected ({order}, {self.input_size}) or (steps, {self.input_size})"
            )
        if not batched and lengths is not None:
            raise FastLSTMError("LSTM: lengths is for a batch, and input has none; leave out the steps instead")
        rows = x[None] if not batched else x if self.batch_first else x.swapaxes(0, 1)
        batch, steps = rows.shape[:2]
        mask = None if lengths is None else within(lengths, batch, steps, "LSTM: lengths")
        if self.batch_first or not batched:
            output = np.empty((batch, steps, self._directions * self._output), self._real)
        else:
            output = np.empty((steps, batch, self._directions * self._output), self._real).swapaxes(0, 1)
        h, c = self._run(rows, self._initial(hx, batch, batched), mask, output)
        if not batched:
            return output[0], (h[:, 0], c[:, 0])
        return output if self.batch_first else output.swapaxes(0, 1), (h, c)

    def _run_packed(self, given: Any, hx: Any, lengths: Any) -> tuple[Any, tuple[Array, Array]]:
        packed = checked(given, "LSTM: input")
        if packed.data.ndim != 2 or packed.data.shape[1] != self.input_size:
            found = packed.data.shape
            raise FastLSTMError(f"LSTM: input has data of shape {found}; expected (entries, {self.input_size})")
        if lengths is not None:
            raise FastLSTMError("LSTM: lengths is given beside a packed input, which has its own; leave it out")
        sizes, order, back = packed[1:]
        states = self._initial(hx, int(sizes[0]), True)
        if order is not None and states is not None:
            states = [state[:, order] for state in states]
        data = as_float(packed.data, self._real, "LSTM: input")
        rows = padded(packed._replace(data=data), len(sizes))
        output = np.empty((*rows.shape[:2], self._directions * self._output), self._real)
        h, c = self._run(rows, states, np.arange(len(sizes)) < lengths_of(sizes)[:, None], output)
        if back is not None:
            h, c = h[:, back], c[:, back]
        return PackedSequence(picked(output, sizes), sizes, order, back), (h, c)

    def _initial(self, hx: Any, batch: int, batched: bool) -> list[Array] | None:
        """The states to begin with, (D L, batch, features) each."""
        lead, widths = self._directions * self.num_layers, (self._output, self.hidden_size)
        states = self._pair(hx, *((lead, batch, width) if batched else (lead, width) for width in widths))
        return None if states is None else [state.reshape(lead, batch, state.shape[-1]) for state in states]

    def _run(self, x: Array, states: list[Array] | None, mask: Array | None, y: Array) -> list[Array]:
        """All layers over rows (batch, steps, features), with the last one's output into y; h_n and c_n."""
        self._weights()
        before = [None] * len(self.layers) if states is None else list(zip(*states, strict=True))
        if self.bidirectional:
            jobs = self._run_both_ways(x, before, mask, y)
        else:
            x, last = self.layers[0]._as_sequences(x), self.num_layers - 1
            jobs = [
                layer._job(x, before[n], mask, y if n == last else None, below=n > 0)
                for n, layer in enumerate(self.layers)
            ]
            _core.run_layers(tuple(jobs), True)
        after = [layer._finish(job)[1:] for layer, job in zip(self.layers, jobs, strict=True)]
        return [np.stack(parts) for parts in zip(*after, strict=True)]

    def _run_both_ways(self, x: Array, before: list[Any], mask: Array | None, y: Array) -> list[Any]:
        """As :meth:`_run`, each layer's directions side by side; the jobs that have run."""
        jobs: list[Any] = []
        for n in range(0, len(self.layers), 2):
            sides = self.layers[n : n + 2]
            x = sides[0]._as_sequences(x)
            to = y if n + 2 == len(self.layers) else np.empty((*x.shape[:2], 2 * self._output), self._real)
            halves = to[..., : self._output], to[:, ::-1, self._output :]  # as the backward one puts them out
            pairs = zip(sides, before[n : n + 2], halves, strict=True)
            jobs += [layer._job(x, state, mask, half) for layer, state, half in pairs]
            _core.run_layers(tuple(jobs[n:]), False)
            x = to
        return jobs

    forward = __call__

    def flatten_parameters(self) -> None:
        """Nothing: torch arranges weights for GPUs here."""

    def _said(self) -> str:
        given = {
            "proj_size": (self.proj_size, 0), "num_layers": (self.num_layers, 1), "bias": (self.bias, True),
            "batch_first": (self.batch_first, False), "dropout": (self.dropout, 0.0),
            "bidirectional": (self.bidirectional, False),
        }  # fmt: skip
        return ", ".join([super()._said(), *(f"{n}={v}" for n, (v, usual) in given.items() if v != usual)])
