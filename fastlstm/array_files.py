"""Arrays in files as the command line reads and writes them: .npy, .npz and .csv."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array
from fastlstm.program import Slot
from fastlstm.structure import flatten, unflatten

if TYPE_CHECKING:
    from fastlstm.model import Model

Arrays = dict[str, Array]


# -- reading ----------------------------------------------------------------------------------------


def read_inputs(path: str, model: Model) -> Any:
    """The inputs of a model from a file: an array, or a nest of them as the model's inputs are one.

    Parameters
    ----------
    path : str
        ``.npz``: an array for each input, by the inputs' names or as in0, in1, ...; any name where there is one
        of each. ``.csv``: see :func:`read_csv`; where the model wants sequences of as many features as there are
        columns, the lines are the steps of one sequence. Anything else is read as ``.npy``, as it is used.
    model : Model

    Raises
    ------
    FastLSTMError
        The file cannot be read, holds no numbers, or not what the model has inputs for.
    """
    names = model.input_names
    ending = os.path.splitext(path)[1].lower()
    if ending == ".npz":
        arrays = inputs_among(read_npz(path), names, path)
        structure = model.program.inputs
        return arrays[0] if isinstance(structure, Slot) else unflatten(structure, arrays)
    if len(names) > 1:
        raise FastLSTMError(
            f"{path!r}: holds one array; the model has {len(names)} inputs, {', '.join(names)}: put them into one .npz"
        )
    if ending != ".csv":
        return read_npy(path)
    table = read_csv(path)
    wanted = model.program.entries[0].batch_shape
    return table[None] if len(wanted) == 3 and wanted[2] == table.shape[1] else table


def inputs_among(arrays: Arrays, names: list[str], path: str) -> list[Array]:
    """Of the arrays in a file those that are a model's inputs, in order."""
    numbered = [f"in{i}" for i in range(len(names))]
    for keys in (names, numbered, list(arrays) if len(arrays) == len(names) == 1 else ["?"]):
        if all(key in arrays for key in keys):
            return [arrays[key] for key in keys]
    held = ", ".join(sorted(arrays)) or "nothing"
    raise FastLSTMError(f"{path!r}: holds {held}; expected {', '.join(names)}, or {', '.join(numbered)}")


def _checked(path: str) -> None:
    if os.path.exists(path) and not os.path.isfile(path):  # open() would wait for ever on a pipe
        raise FastLSTMError(f"{path!r}: cannot be read: not a regular file")


def read_npy(path: str) -> Array:
    """The array in a ``.npy`` file, read from it as it is used."""
    _checked(path)
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise FastLSTMError(f"{path!r}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever a damaged header provokes in NumPy
        why = str(error)[:150]  # NumPy may quote all of the header
        raise FastLSTMError(f"{path!r}: is not a complete .npy file of numbers ({why})") from error


def read_npz(path: str) -> Arrays:
    """The arrays in a ``.npz`` file."""
    _checked(path)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {str(name): arrays[name] for name in arrays.files}
    except OSError as error:
        raise FastLSTMError(f"{path!r}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever a damaged archive provokes
        raise FastLSTMError(f"{path!r}: is not a complete .npz file of numbers ({str(error)[:150]})") from error


def read_csv(path: str) -> Array:
    """The numbers of a ``.csv`` file, (lines, columns); a first line that is no numbers is a header.

    Numbers are separated by commas; every line has as many.
    """
    _checked(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            header = not _are_numbers(file.readline())
            if not header:
                file.seek(0)
            lines = [line for line in file if line.strip()]
        table = np.loadtxt(lines, delimiter=",", ndmin=2, comments=None) if lines else np.empty((0, 0))
    except OSError as error:
        raise FastLSTMError(f"{path!r}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # NumPy's, and of text that is not UTF-8
        raise FastLSTMError(f"{path!r}: is not a .csv file of numbers ({str(error)[:150]})") from None
    if not table.size:
        raise FastLSTMError(f"{path!r}: holds no numbers")
    return table


def _are_numbers(line: str) -> bool:
    try:
        return [float(cell) for cell in line.split(",")] != []
    except ValueError:
        return False


# -- writing ----------------------------------------------------------------------------------------


def check_form(path: str, shapes: list[Any]) -> None:
    """Refuse outputs of these shapes where the kind of file that the path names cannot hold them."""
    ending = os.path.splitext(path)[1].lower()
    if len(shapes) > 1 and ending != ".npz":
        raise FastLSTMError(f"{path!r}: the model has {len(shapes)} outputs; name a .npz file, which holds them all")
    if ending == ".csv" and len(shapes[0]) > 3:
        raise FastLSTMError(f"{path!r}: the output has shape {shapes[0]}; a .csv file holds a table: name a .npy file")


def write_outputs(file: BinaryIO, path: str, outputs: Any) -> None:
    """Write what a model gave in the form that the path's ending names.

    ``.npz`` holds out0, out1, ...; ``.csv`` a line for each row, or each step of each sequence; anything else is
    written as ``.npy``.
    """
    arrays = [np.ascontiguousarray(array) for array in flatten(outputs)]
    ending = os.path.splitext(path)[1].lower()
    if ending == ".npz":
        np.savez(file, allow_pickle=False, **{f"out{i}": array for i, array in enumerate(arrays)})
        return
    (array,) = arrays
    if ending == ".csv":
        table = array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array[:, None]
        digits = "%.9g" if array.dtype == np.float32 else "%.17g"  # which give the same number back
        np.savetxt(file, table, fmt=digits, delimiter=",")
        return
    # np.save itself may write to a full disk and not say so: its C code closes unchecked
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)
