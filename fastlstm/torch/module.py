"""What the modules of ``fastlstm.torch`` share: torch's arguments and methods, and the weights."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array
from fastlstm.layers.cells import flag
from fastlstm.layers.core import positive
from fastlstm.torch.arguments import on_cpu, real_dtype, text
from fastlstm.torch.state import MAX_FILE_SIZE, IncompatibleKeys, Shapes, from_file, from_mapping


class Module:
    """Arguments, weights and state dicts of a recurrent module.

    Attributes
    ----------
    training : bool
        False: there is nothing to train here.
    """

    training = False

    def __init__(self, input_size: Any, hidden_size: Any, bias: Any, device: Any, dtype: Any) -> None:
        who = type(self).__name__
        self._arrays: dict[str, Array] | None = None
        self._seed = int(np.random.SeedSequence().generate_state(1)[0])
        self.input_size = positive(input_size, f"{who}: input_size")
        self.hidden_size = positive(hidden_size, f"{who}: hidden_size")
        self.bias = flag(bias, f"{who}: bias")
        on_cpu(device, who)
        self.dtype = real_dtype(dtype, who)
        self._real = np.dtype(self.dtype)

    # -- weights ------------------------------------------------------------------------------------

    def _shapes(self) -> Shapes:
        """Name and shape of each weight, in torch's order."""
        raise NotImplementedError

    def _take(self, arrays: dict[str, Array]) -> None:
        """Hand new weights on to the layers that run."""
        raise NotImplementedError

    def _weights(self) -> dict[str, Array]:
        """The weights; as torch draws them until some are loaded."""
        arrays = self._arrays
        if arrays is None:
            rng, bound = np.random.default_rng(self._seed), self.hidden_size**-0.5  # a seed: threads draw alike
            arrays = {n: rng.uniform(-bound, bound, s).astype(self._real) for n, s in self._shapes().items()}
            self._store(arrays)
        return arrays

    def _store(self, arrays: dict[str, Array]) -> None:
        for array in arrays.values():
            array.flags.writeable = False
        self._take(arrays)
        self._arrays = arrays

    def _has(self, name: str) -> bool:
        """Whether this is the name of a weight; before the sizes are known there are none."""
        return name.startswith(("weight_", "bias_")) and "hidden_size" in vars(self) and name in self._shapes()

    def __getattr__(self, name: str) -> Any:
        if self._has(name):
            return self._weights()[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if self._has(name):
            raise FastLSTMError(f"{type(self).__name__}: {name} cannot be assigned; use load_state_dict")
        super().__setattr__(name, value)

    def __copy__(self) -> Self:
        return copy.deepcopy(self)  # the layers hold the weights: two modules never share them

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Array]:
        """The weights by torch's names, read-only.

        Parameters
        ----------
        destination : dict, optional
            What they are put into, and which is returned; default a new dictionary.
        prefix : str
            Stands before each name.
        keep_vars : bool
            Of no effect: arrays have no gradients to be cut off from.
        """
        who = f"{type(self).__name__}: state_dict"
        flag(keep_vars, f"{who}: keep_vars")
        found = {} if destination is None else destination
        if not isinstance(found, dict):
            raise FastLSTMError(f"{who}: destination is {type(found).__name__}; expected a dict to put weights into")
        found.update({text(prefix, f"{who}: prefix") + name: array for name, array in self._weights().items()})
        return found

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Array]]:
        """The weights of ``state_dict`` with their names, behind the prefix and a dot where one is given."""
        yield from self.state_dict(prefix=prefix and f"{prefix}.").items()

    def parameters(self, recurse: bool = True) -> Iterator[Array]:
        """The weights of ``state_dict``."""
        yield from self.state_dict().values()

    def load_state_dict(
        self,
        state_dict: Mapping[str, Any] | str | bytes | os.PathLike[str],
        strict: bool = True,
        assign: bool = False,
        *,
        prefix: str = "",
        max_file_size: int = MAX_FILE_SIZE,
    ) -> IncompatibleKeys:
        """Take over weights by torch's names.

        Parameters
        ----------
        state_dict : mapping of str to array_like or tensor, or a path
            The path of a ``.pt``, ``.pth`` or ``.safetensors`` file, in which the names may stand in dictionaries
            (``{"state_dict": {...}}``) or be those of a larger module, as long as one place alone in it has an LSTM of
            this prefix.
        strict : bool
            Whether names that are missing or too many are an error; else what is missing stays as it was.
        assign : bool
            Of no effect: the numbers are copied.
        prefix : str
            What the names begin with, for example ``"encoder."``; what begins otherwise is not looked at.
        max_file_size : int
            Limit in bytes for the file.

        Returns
        -------
        IncompatibleKeys
            ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        FastLSTMError
            Names missing or too many, a file without any of them, a wrong shape, no numbers, an argument of another
            type; nothing is changed then.
        ModelFileError
            The file is missing, damaged or made to do harm.
        """
        who = f"{type(self).__name__}: load_state_dict"
        strict, _ = flag(strict, f"{who}: strict"), flag(assign, f"{who}: assign")
        wanted, prefix = self._shapes(), text(prefix, f"{who}: prefix")
        if isinstance(state_dict, str | bytes | os.PathLike):
            arrays, result = from_file(state_dict, max_file_size, wanted, prefix, strict, who)
        else:
            arrays, result = from_mapping(state_dict, wanted, prefix, strict, who)
        kept = self._weights() if len(arrays) < len(wanted) else {}
        new = {name: as_float(array, self._real, f"{who}: {name!r}") for name, array in arrays.items()}
        self._store({n: np.array(new[n]) if n in new else kept[n] for n in wanted})
        return result

    # -- torch's other methods -----------------------------------------------------------------------

    def eval(self) -> Self:
        """The module itself, which only ever evaluates."""
        return self

    def train(self, mode: bool = True) -> Self:
        """The module itself; dropout is applied in no mode."""
        return self

    def cpu(self) -> Self:
        """The module itself, which is there already."""
        return self

    def to(self, device: Any = None, dtype: Any = None, non_blocking: bool = False, copy: bool = False) -> Self:
        """The module itself, if it is of that device and dtype (or of those of a tensor); else an error."""
        who = f"{type(self).__name__}: to"
        if hasattr(device, "dtype") and hasattr(device, "device"):
            device, dtype = device.device, device.dtype
        elif isinstance(device, type | np.dtype) or str(device).startswith("torch."):
            device, dtype = None, device
        on_cpu(device, who)
        wanted = self.dtype if dtype is None else real_dtype(dtype, who)
        if wanted != self.dtype:
            raise FastLSTMError(
                f"{who}: this module computes in {self.dtype}, which cannot be changed: "
                f"make one with dtype={wanted!r}, and give its load_state_dict what state_dict gives here"
            )
        return self

    def float(self) -> Self:
        """The module itself, if it computes in float32; else an error."""
        return self.to(dtype="float32")

    def double(self) -> Self:
        """The module itself, if it computes in float64; else an error."""
        return self.to(dtype="float64")

    # -- for those that run --------------------------------------------------------------------------

    def _pair(self, hx: Any, *shapes: tuple[int, ...]) -> list[Array] | None:
        """h_0 and c_0 of these shapes, in the module's dtype; None for zeros."""
        if hx is None:
            return None
        who = type(self).__name__
        try:
            given = tuple(hx)
        except TypeError:
            given = ()
        if len(given) != 2:
            raise FastLSTMError(f"{who}: hx is {type(hx).__name__}; expected two arrays (h_0, c_0)")
        states = []
        for name, state, shape in zip(("h_0", "c_0"), given, shapes, strict=True):
            array = as_float(state, self._real, f"{who}: {name}")
            if array.shape != shape:
                raise FastLSTMError(f"{who}: {name} has shape {array.shape}; expected {shape}")
            states.append(array)
        return states

    def _said(self) -> str:
        """The arguments in the representation."""
        return f"{self.input_size}, {self.hidden_size}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._said()})"
