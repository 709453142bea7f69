"""Arguments of ``torch.nn``'s modules, checked: devices, dtypes, text."""

from __future__ import annotations

from typing import Any

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import resolve_dtype


def text(value: Any, what: str) -> str:
    """``value``, if it is a str."""
    if not isinstance(value, str):
        raise FastLSTMError(f"{what} is {value!r}; expected a str")
    return value


def on_cpu(device: Any, who: str) -> None:
    if device is not None and str(device).partition(":")[0] != "cpu":
        raise FastLSTMError(f"{who}: device is {str(device)!r}; fastlstm computes on 'cpu'")


def real_dtype(dtype: Any, who: str) -> str:
    """``float32`` or ``float64`` for a dtype of NumPy's or torch's, or the name of one."""
    if isinstance(dtype, str) or type(dtype).__module__ == "torch":
        name = str(dtype).removeprefix("torch.")
        dtype = {"float": "float32", "double": "float64"}.get(name, name)
    return resolve_dtype(dtype, who)
