"""What the modules of ``fastlstm.torch`` share: torch's arguments and state dicts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, resolve_dtype
from fastlstm.layers.cells import flag
from fastlstm.layers.core import positive
from fastlstm.torch.packed import as_array

Shapes = dict[str, tuple[int, ...]]
MAX_FILE_SIZE = 2 * 2**30
_SHOWN = 8  # names in an error


class IncompatibleKeys(NamedTuple):
    """What a state dict lacked and had too many, by name."""

    missing_keys: list[str]
    unexpected_keys: list[str]


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
        if device is not None and str(device).partition(":")[0] != "cpu":
            raise FastLSTMError(f"{who}: device is {str(device)!r}; fastlstm computes on 'cpu'")
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

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("weight_", "bias_")) and name in self._shapes():
            return self._weights()[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith(("weight_", "bias_")):
            raise FastLSTMError(f"{type(self).__name__}: {name} cannot be assigned; use load_state_dict")
        super().__setattr__(name, value)

    def state_dict(self, *, prefix: str = "") -> dict[str, Array]:
        """The weights by torch's names, read-only, with a prefix to each name if one is given."""
        return {prefix + name: array for name, array in self._weights().items()}

    def load_state_dict(
        self,
        state_dict: Mapping[str, Any] | str | os.PathLike[str],
        prefix: str = "",
        strict: bool = True,
        *,
        max_file_size: int = MAX_FILE_SIZE,
    ) -> IncompatibleKeys:
        """Take over weights by torch's names.

        Parameters
        ----------
        state_dict : mapping of str to array_like or tensor, or a path
            The path of a ``.pt``, ``.pth`` or ``.safetensors`` file, in which the names may stand in dictionaries
            (``{"state_dict": {...}}``) or be those of a larger module, as long as one place alone in it has an LSTM of
            this prefix.
        prefix : str
            What the names begin with, for example ``"encoder."``; what begins otherwise is not looked at.
        strict : bool
            Whether names that are missing or too many are an error; else what is missing stays as it was.
        max_file_size : int
            Limit in bytes for the file.

        Returns
        -------
        IncompatibleKeys
            ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        FastLSTMError
            Names missing or too many, a wrong shape, no numbers; nothing is changed then.
        ModelFileError
            The file is missing, damaged, made to do harm, or has no such names.
        """
        who = f"{type(self).__name__}: load_state_dict"
        if isinstance(state_dict, str | os.PathLike):
            from fastlstm.loading.torch_files import opened  # loading stands above this module

            with opened(state_dict, max_file_size) as found:
                root = _root(list(found), prefix, next(iter(self._shapes())), who)
                shapes = {name: stored.shape for name, stored in found.items()}
                chosen, result = self._chosen(shapes, root, strict, who)
                arrays = {name: found[root + name].read() for name in chosen}
        else:
            if not hasattr(state_dict, "keys"):
                found_type = type(state_dict).__name__
                raise FastLSTMError(f"{who}: got {found_type}; expected a mapping of names to arrays, or a path")
            wanted = [name for name in self._shapes() if prefix + name in state_dict]
            arrays = {name: as_array(state_dict[prefix + name], f"{who}: {prefix + name!r}") for name in wanted}
            shapes = {str(name): () for name in state_dict}
            shapes |= {prefix + name: array.shape for name, array in arrays.items()}
            _, result = self._chosen(shapes, prefix, strict, who)
        kept = self._weights() if len(arrays) < len(self._shapes()) else {}
        new = {name: as_float(array, self._real, f"{who}: {name!r}") for name, array in arrays.items()}
        self._store({n: np.array(new[n]) if n in new else kept[n] for n in self._shapes()})
        return result

    def _chosen(self, given: Shapes, prefix: str, strict: bool, who: str) -> tuple[list[str], IncompatibleKeys]:
        """The weights that are given, without prefix; raises where they do not fit."""
        wanted = self._shapes()
        found = {name.removeprefix(prefix): shape for name, shape in given.items() if name.startswith(prefix)}
        missing = [prefix + name for name in wanted if name not in found]
        unexpected = [prefix + name for name in found if name not in wanted]
        chosen = [name for name in wanted if name in found]
        wrong = [
            f"{prefix + name!r} has shape {found[name]}, expected {wanted[name]}"
            for name in chosen
            if found[name] != wanted[name]
        ]
        if strict:
            named = (("missing", missing), ("unexpected", unexpected))
            wrong = [f"{what} {listed(names)}" for what, names in named if names] + wrong
        if wrong:
            hint = "" if chosen else f"; there are {listed(list(given))}"
            raise FastLSTMError(f"{who}: {'; '.join(wrong[:_SHOWN])}{hint}")
        return chosen, IncompatibleKeys(missing, unexpected)

    # -- torch's other methods -----------------------------------------------------------------------

    def eval(self) -> Self:
        """The module itself, which only ever evaluates."""
        return self

    def train(self, mode: bool = True) -> Self:
        """The module itself; dropout is applied in no mode."""
        return self

    def _said(self) -> str:
        """The arguments in the representation."""
        return f"{self.input_size}, {self.hidden_size}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._said()})"


def _root(names: list[str], prefix: str, first: str, who: str) -> str:
    """What stands before the names of the one module of this prefix that is in a file, the prefix included."""
    ends = [name.removesuffix(first) for name in names if name.endswith(prefix + first)]
    roots = [root for root in ends if root == prefix or root.removesuffix(prefix).endswith(".")]
    if prefix in roots:
        return prefix
    if len(roots) == 1:
        return roots[0]
    if roots:
        raise FastLSTMError(f"{who}: the file has several such modules: give as prefix one of {listed(roots)}")
    others = [name.removesuffix(first) for name in names if name.endswith(first)]
    hint = f"; prefixes that would do: {listed(others)}" if others else f"; there are {listed(names)}"
    raise FastLSTMError(f"{who}: the file has no {prefix + first!r}{hint}")


def listed(names: list[str]) -> str:
    """Names for people, not too many and none too long."""
    texts = [repr(n) if len(str(n)) <= 100 else f"{str(n)[:97]!r}..." for n in names[:_SHOWN]]
    return ", ".join(texts) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "") or "no names"


def real_dtype(dtype: Any, who: str) -> str:
    """``float32`` or ``float64`` for a dtype of NumPy's or torch's, or the name of one."""
    if isinstance(dtype, str) or type(dtype).__module__ == "torch":
        name = str(dtype).removeprefix("torch.")
        dtype = {"float": "float32", "double": "float64"}.get(name, name)
    return resolve_dtype(dtype, who)
