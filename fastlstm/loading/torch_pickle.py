"""The pickles in files of PyTorch, read without building anything but plain values and descriptions of tensors.

Python's own unpickler imports what a file names, and takes the memory that it asks for. This one knows what
``torch.save`` writes for a dictionary of tensors, and names what else there is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from fastlstm.errors import ModelFileError
from fastlstm.loading.jsonrules import shown
from fastlstm.loading.torch_tensors import (
    DICT,
    KNOWN,
    PARAMETER,
    STORAGES,
    TENSOR_1,
    TENSOR_2,
    Name,
    Storage,
    Tensor,
    as_kind,
    as_size,
    tensor,
)

MAX_BYTES = 2**22
MAX_STEPS = 2**18  # of the pickle's little language, about 25 for a tensor


class Unpickler:
    """Pickles that follow each other in some bytes.

    Attributes
    ----------
    at : int
        Where the next one begins.
    storages : dict of str to Storage
        Those that tensors have been found to lie in.

    Raises
    ------
    ModelFileError
        The bytes are no pickle, or one of other things than dictionaries of tensors and plain values.
    """

    def __init__(self, data: bytes) -> None:
        self.at, self.storages = 0, dict[str, Storage]()
        self._data = data
        self._steps = 0
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks that were set aside at a mark
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The value that the next pickle stands for."""
        self._stack, self._below, self._memo = [], [], {}
        try:
            while (code := self.take(1)) != b".":
                self._steps += 1
                if self._steps > MAX_STEPS:
                    raise ModelFileError(f"its pickle takes more than {MAX_STEPS} steps; no state dict needs that many")
                step = _STEPS.get(code)
                if step is None:
                    raise ModelFileError(f"its pickle has the code {code!r}, which no state dict needs")
                step(self)
            if len(self._stack) != 1 or self._below:
                raise ModelFileError("its pickle is damaged: it stands for no value, or for several")
        except (IndexError, KeyError, ValueError) as error:  # an empty stack, an unknown memo, text that is none
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"its pickle is damaged: {type(error).__name__} before byte {self.at}") from None
        return self._stack.pop()

    def take(self, size: int) -> bytes:
        """So many bytes, from here on."""
        data = self._data[self.at : self.at + size]
        if len(data) != size:
            raise ModelFileError("its pickle is cut short")
        self.at += size
        return data

    # -- steps ------------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _marked(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _line(self) -> str:
        end = self._data.index(b"\n", self.at, self.at + 200)
        return self.take(end + 1 - self.at)[:-1].decode()

    def version(self) -> None:
        if self.take(1) > b"\5":
            raise ModelFileError("its pickle is of a version beyond 5")

    def frame(self) -> None:
        """How many bytes may be read ahead."""
        self.take(8)

    def long(self) -> None:
        size = self.take(1)[0]
        if size > 16:
            raise ModelFileError(f"its pickle holds an integer of {size} bytes; expected 16 at most")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def tuple_of(self, count: int) -> None:
        items = [self._stack.pop() for _ in range(count)]
        self.push(tuple(items[::-1]))

    def marked_tuple(self) -> None:
        items = self._marked()
        self.push(tuple(items))

    def append(self) -> None:
        item = self._stack.pop()
        as_kind(self._stack[-1], list).append(item)

    def appends(self) -> None:
        items = self._marked()
        as_kind(self._stack[-1], list).extend(items)

    def set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        _fill(as_kind(self._stack[-1], dict), [key, value])

    def set_items(self) -> None:
        items = self._marked()
        _fill(as_kind(self._stack[-1], dict), items)

    def put(self, form: str) -> None:
        self._memo[self._number(form)] = self._stack[-1]

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, form: str) -> None:
        self.push(self._memo[self._number(form)])

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def number(self, form: str) -> None:
        self.push(self._number(form))

    def text(self, form: str) -> None:
        self.push(self.take(self._number(form)).decode())

    def name(self) -> None:
        module, name = self._line(), self._line()
        self._push_name(module, name)

    def stacked_name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._push_name(as_kind(module, str), as_kind(name, str))

    def _push_name(self, module: str, name: str) -> None:
        if (module, name) not in KNOWN:
            raise ModelFileError(
                f"its pickle names {shown(f'{module}.{name}')}, which is never built from a file: "
                "save module.state_dict() alone, with torch.save or as .safetensors"
            )
        self.push(Name(module, name))

    def storage(self) -> None:
        """A persistent id: ("storage", type, key, device, count), in old files with None, or a view, behind it."""
        place = as_kind(self._stack.pop(), tuple)
        if len(place) not in (5, 6) or place[0] != "storage":
            raise ModelFileError("its pickle refers to something that is no storage of a tensor")
        kind, key, count = as_kind(place[1], Name), as_kind(place[2], str), as_size(place[4], "a storage's size")
        if place[5:] not in ((), (None,)):
            raise ModelFileError("its pickle has a view of a storage in place of a storage, as PyTorch 0.3 wrote")
        dtype = STORAGES.get((kind.module, kind.name))
        if dtype is None:
            raise ModelFileError(f"its pickle has {kind.name} in the place of a type of storage")
        found = self.storages.setdefault(key, Storage(key, dtype, count))
        if (found.dtype, found.count) != (dtype, count):
            raise ModelFileError(f"its pickle describes storage {shown(key)} twice, and differently")
        self.push(found)

    def reduce(self) -> None:
        arguments, called = as_kind(self._stack.pop(), tuple), as_kind(self._stack.pop(), Name)
        which = (called.module, called.name)
        if which == DICT:
            self.push(_ordered(arguments))
        elif which == PARAMETER and len(arguments) == 3:
            self.push(as_kind(arguments[0], Tensor))
        elif (which == TENSOR_2 and len(arguments) in (6, 7)) or (which == TENSOR_1 and len(arguments) == 4):
            if arguments[6:] not in ((), (None,)):
                raise ModelFileError("its pickle holds a tensor with properties of its own, such as conjugation")
            self.push(tensor(*arguments[:4]))
        else:
            raise ModelFileError(f"its pickle calls {called.name} with {len(arguments)} arguments")

    def build(self) -> None:
        """Attributes of a dictionary: versions of modules, which change no numbers."""
        self._stack.pop()
        as_kind(self._stack[-1], dict)


def _ordered(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """An OrderedDict; Python 2 hands it its items as a list of pairs."""
    found: dict[Any, Any] = {}
    if len(arguments) > 1:
        raise ModelFileError(f"its pickle makes an OrderedDict of {len(arguments)} arguments")
    for pair in as_kind(arguments[0], list) if arguments else ():
        if len(as_kind(pair, list)) != 2:
            raise ModelFileError("its pickle makes an OrderedDict of what are no pairs")
        _fill(found, pair)
    return found


def _fill(found: dict[Any, Any], items: list[Any]) -> None:
    """Put keys and values, in turn, into a dictionary; other keys might take for ever to be hashed or compared."""
    if len(items) % 2:
        raise ModelFileError("its pickle has a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) is not str and not (type(key) is int and abs(key) < 2**63):
            raise ModelFileError(f"its pickle has a dictionary's key of type {type(key).__name__}; expected text")
        found[key] = value


Step = Callable[[Unpickler], None]


def _with(step: Callable[[Unpickler, Any], None], argument: Any) -> Step:
    return lambda machine: step(machine, argument)


def _pushing(make: Callable[[], Any]) -> Step:
    return lambda machine: machine.push(make())


#: The codes of pickle versions 2 to 5 that dictionaries of tensors are written with.
_STEPS: dict[bytes, Step] = {
    b"\x80": Unpickler.version,
    b"\x95": Unpickler.frame,
    b"N": _pushing(lambda: None), b"\x88": _pushing(lambda: True), b"\x89": _pushing(lambda: False),
    b"K": _with(Unpickler.number, "<B"), b"M": _with(Unpickler.number, "<H"), b"J": _with(Unpickler.number, "<i"),
    b"\x8a": Unpickler.long, b"G": _with(Unpickler.number, ">d"),
    b"X": _with(Unpickler.text, "<I"), b"\x8c": _with(Unpickler.text, "<B"), b"\x8d": _with(Unpickler.text, "<Q"),
    b"T": _with(Unpickler.text, "<I"), b"U": _with(Unpickler.text, "<B"),  # of Python 2
    b"(": Unpickler.mark, b"t": Unpickler.marked_tuple, b")": _pushing(tuple),
    b"\x85": _with(Unpickler.tuple_of, 1), b"\x86": _with(Unpickler.tuple_of, 2),
    b"\x87": _with(Unpickler.tuple_of, 3),
    b"]": _pushing(list), b"a": Unpickler.append, b"e": Unpickler.appends,
    b"}": _pushing(dict), b"s": Unpickler.set_item, b"u": Unpickler.set_items,
    b"q": _with(Unpickler.put, "<B"), b"r": _with(Unpickler.put, "<I"), b"\x94": Unpickler.memoize,
    b"h": _with(Unpickler.get, "<B"), b"j": _with(Unpickler.get, "<I"),
    b"c": Unpickler.name, b"\x93": Unpickler.stacked_name,
    b"Q": Unpickler.storage, b"R": Unpickler.reduce, b"b": Unpickler.build,
}  # fmt: skip
