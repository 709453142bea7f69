"""PyTorch's LSTM and LSTMCell: the arguments, calls and state dicts of ``torch.nn``, without torch."""

from __future__ import annotations

import os
from typing import Any

from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Array
from fastlstm.torch.cell import LSTMCell
from fastlstm.torch.lstm import LSTM
from fastlstm.torch.packed import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence
from fastlstm.torch.state import MAX_FILE_SIZE, IncompatibleKeys, opened

__all__ = [
    "LSTM",
    "IncompatibleKeys",
    "LSTMCell",
    "PackedSequence",
    "from_torch",
    "load",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
]

_HOME = "torch.nn.modules.rnn"
_CALLED = ("__call__", "_call_impl", "forward")  # by a call of a module


def load(path: str | bytes | os.PathLike[str], *, max_file_size: int = MAX_FILE_SIZE) -> dict[str, Array]:
    """The tensors of a ``.pt``, ``.pth`` or ``.safetensors`` file by name, read without torch and without trust.

    Parameters
    ----------
    path : str, bytes or path-like
        What ``torch.save`` wrote of a state dict, or of a dictionary with state dicts in it, whose keys are then joined
        by dots; in the format of today or of before PyTorch 1.6. The content decides which it is, not the name.
    max_file_size : int
        Limit in bytes for the file.

    Returns
    -------
    dict of str to ndarray
        Read-only; bfloat16 as float32, the rest as it was saved.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, made to do harm, or holds other objects than tensors and plain values, which
        are named and never built.
    FastLSTMError
        An argument of another type.
    """
    with opened(path, max_file_size, "load") as found:
        return {name: stored.read() for name, stored in found.items()}


def from_torch(
    module: Any,
    *,
    isa: str | None = None,
    reproducible: bool = False,
    threads: int | None = None,
    precision: str = "float32",
) -> LSTM | LSTMCell:
    """An LSTM or LSTMCell like one that is alive in torch, with copies of its weights.

    Parameters
    ----------
    module : torch.nn.LSTM or torch.nn.LSTMCell
        On any device; it is only read. One of bfloat16 or float16 becomes one of float32 with the same weights.
    isa, reproducible, threads, precision
        As of :class:`fastlstm.LSTM`.

    Raises
    ------
    UnsupportedLayerError
        Another module of torch, or one with hooks, or a ``forward`` or ``__call__`` of its own.
    FastLSTMError
        No module of torch, or a class of them.
    """
    if isinstance(module, type):
        raise FastLSTMError(f"from_torch: got the class {module.__name__}; expected one of its instances")
    bases = [c for c in type(module).__mro__ if _is_lstm(c)]
    name = type(module).__name__
    if not bases:
        inner = [path for path, part in _parts(module) if path and _is_lstm(type(part))]
        if not hasattr(module, "state_dict"):
            raise FastLSTMError(f"from_torch: got {name}; expected a torch.nn.LSTM or LSTMCell")
        hint = f": it has {', '.join(inner)}, each of which can be given" if inner else ""
        raise UnsupportedLayerError(
            f"from_torch: {type(module).__module__}.{name} is not torch.nn.LSTM or LSTMCell{hint}"
        )
    base: Any = bases[0]
    changed = any(getattr(type(module), method) is not getattr(base, method) for method in _CALLED)
    if changed or "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks:
        raise UnsupportedLayerError(
            f"from_torch: {name} has a forward or __call__ of its own, or hooks, whose code cannot be taken over; "
            "remove them, for example by torch.nn.utils.remove_weight_norm"
        )
    kind = LSTM if base.__name__ == "LSTM" else LSTMCell
    options = ["num_layers", "batch_first", "dropout", "bidirectional", "proj_size"] if kind is LSTM else []
    given = {option: getattr(module, option) for option in ["input_size", "hidden_size", "bias", *options]}
    how: Any = {"isa": isa, "reproducible": reproducible, "threads": threads, "precision": precision}
    dtype = "float64" if "float64" in str(next(iter(module.parameters())).dtype) else "float32"
    ours = kind(**given, dtype=dtype, **how)
    ours.load_state_dict({name: getattr(module, name, None) for name in ours._shapes()})  # some may be parametrized
    return ours


def _is_lstm(cls: type) -> bool:
    return cls.__module__ == _HOME and cls.__name__ in ("LSTM", "LSTMCell")


def _parts(module: Any) -> Any:
    return module.named_modules() if hasattr(module, "named_modules") else ()
