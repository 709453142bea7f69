"""Reading JSON that nobody vouches for: limits on size, depth and count; no duplicates, no NaN."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

from fastlstm.errors import ModelFileError

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 64
MAX_VALUES = 2**17  # a layer has about 60: enough for a thousand layers, and at most some 40 MiB of objects
MAX_QUOTES = 2**19
MAX_INT = 2**63

_MARK = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


def shown(value: Any) -> str:
    """``repr`` of something out of a file, short and free of control characters."""
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def parse(data: bytes, what: str) -> Any:
    """The value that a JSON text holds.

    Parameters
    ----------
    data : bytes
        UTF-8, at most ``MAX_BYTES``.
    what : str
        Names the text in errors.

    Raises
    ------
    ModelFileError
        The text is not JSON, is larger or deeper than any model's, repeats a key in one object,
        or holds NaN, an infinity or an integer beyond 64 bits.
    """
    if len(data) > MAX_BYTES:
        raise ModelFileError(f"{what} has {len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{what} is not UTF-8 text ({error})") from None
    _check_size(text, what)

    def number(digits: str) -> int:
        if len(digits) > 20 or not -MAX_INT <= int(digits) < MAX_INT:
            raise ModelFileError(f"{what} holds an integer of {len(digits)} digits; expected 64 bits at most")
        return int(digits)

    def real(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            raise ModelFileError(f"{what} holds the number {shown(digits)}, which is not finite as a float64")
        return value

    def constant(name: str) -> None:
        raise ModelFileError(f"{what} holds {name}; JSON has no such number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            counts = Counter(name for name, _ in pairs)
            twice = max(counts, key=counts.__getitem__)
            raise ModelFileError(f"{what} gives the key {shown(twice)} twice in one object")
        return found

    try:
        return json.loads(
            text, parse_int=number, parse_float=real, parse_constant=constant, object_pairs_hook=unique
        )
    except json.JSONDecodeError as error:
        raise ModelFileError(f"{what} is not JSON: {error}") from None


def _check_size(text: str, what: str) -> None:
    """Number of values and depth, before the parser allocates anything."""
    values, quotes = sum(map(text.count, ",[{")), sum(map(text.count, '"\\'))
    if values > MAX_VALUES or quotes > MAX_QUOTES:
        raise ModelFileError(f"{what} holds more than {MAX_VALUES} values; no model needs that many")
    depth, in_string = 0, False
    for mark in _MARK.finditer(text):
        if mark.group() == '"':
            in_string = not in_string
        elif not in_string:
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark.group(), 0)
            if depth > MAX_DEPTH:
                raise ModelFileError(f"{what} is nested more than {MAX_DEPTH} deep")
