"""HDF5 files put together at random from whole parts that refer to each other."""

from __future__ import annotations

import struct
from random import Random

from fuzz_mutation import WORDS
from hostile_hdf5 import FLOAT, Maker, attribute, message

NAMES = ["layers", "lstm", "dense", "cell", "vars", "0", "1", "2", "model_weights", "kernel:0", "bias:0", "a", "b", "c"]
LISTS = (b"layer_names\0", b"weight_names\0", b"layer_names0\0", b"weight_names1\0", b"name\0", b"keras_version\0",
         b"model_config\0", b"backend\0")  # fmt: skip
SHAPES = ((), (1,), (3,), (12,), (2, 12), (3, 12), (3, 1), (0,), (2**32, 2**32), (1,) * 40)


class Builder:
    """Makes parts one by one; each may refer to any before it, or to nowhere."""

    def __init__(self, chance: Random) -> None:
        self.chance, self.maker, self.places = chance, Maker(), [96]

    def place(self) -> int:
        """Most often a part's; the last ones are the likeliest."""
        if self.chance.random() < 0.05:
            return self.chance.choice(WORDS)
        return self.places[max(0, len(self.places) - 1 - int(self.chance.expovariate(0.3)))]

    def attributes(self) -> list[bytes]:
        return [self.listed(self.chance.choice(LISTS)) for _ in range(self.chance.choice((0, 1, 1, 2, 5)))]

    def listed(self, name: bytes) -> bytes:
        """Names in an attribute: of one byte each, or in a heap."""
        count = self.chance.choice((1, 2, 2, 3, 40, 900))
        if self.chance.random() < 0.7:
            return attribute(name, count, "".join(self.chance.choices("abc012", k=count)).encode())
        kind = struct.pack("<4BI", 0x19, 1, 0, 0, 16) + FLOAT[:8]
        pointers = (struct.pack("<IQI", self.chance.randrange(9), self.place(), 1) for _ in range(count))
        return attribute(name, count, b"".join(pointers), kind)

    def group(self) -> int:
        count = self.chance.choice((0, 1, 2, 3, 5, 8, 8, 300))
        names = [*NAMES, *(f"x{i}" for i in range(300))] if count > 8 else NAMES
        members = {name: self.place() for name in self.chance.sample(names, count)}
        return self.maker.group(members, *self.attributes())

    def array(self) -> int:
        size = self.chance.choice((None, None, None, 0, 2**40))
        at = self.place() if self.chance.random() < 0.3 else 200
        return self.maker.array(self.chance.choice(SHAPES), at, size)

    def tree(self) -> int:
        count = self.chance.choice((1, 2, 8, 60))
        tables = [self.place() for _ in range(count)]
        tree = self.maker.tree(tables, self.chance.choice((0, 0, 1, 2, 9)))
        self.places.append(tree)
        return self.maker.header(Maker.links(tree, self.place()))

    def odd_header(self) -> int:
        messages = []
        for _ in range(self.chance.choice((1, 3, 9, 400))):
            body = self.chance.randbytes(self.chance.choice((0, 8, 24, 200)))
            messages.append(message(self.chance.choice((0, 1, 3, 4, 5, 8, 12, 16, 17, 18, 22)), body))
        if self.chance.random() < 0.3:
            messages.append(message(0x10, struct.pack("<2Q", self.place(), self.chance.choice((16, 64, 4000)))))
        return self.maker.header(*messages)

    def heap(self) -> int:
        numbers = [self.chance.choice((1, i + 1)) for i in range(self.chance.randrange(9))]
        objects = b"".join(struct.pack("<H6xQ", number, 8) + b"lstm\0\0\0\0" for number in numbers)
        self.places.append(self.maker.names(b"\0" * 8 + b"layers\0lstm\0" + bytes(20)))
        return self.maker.add(b"GCOL" + struct.pack("<B3xQ", 1, 16 + len(objects)) + objects)

    def file(self) -> bytes:
        self.maker.add(bytes(256))
        makers = (self.group, self.group, self.group, self.array, self.array, self.tree, self.odd_header, self.heap)
        for _ in range(self.chance.choice((3, 10, 30, 60))):
            self.places.append(self.chance.choice(makers)())
        top = {name: self.place() for name in ("layers", "model_weights", "a", "b", "c", "lstm", "dense")}
        root = self.maker.group(top, *self.attributes()) if self.chance.random() < 0.9 else self.place()
        return self.maker.file(root % 2**64)
