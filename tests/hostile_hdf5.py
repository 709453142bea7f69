"""Hostile files, part 9: HDF5 put together by hand, as no library writes it: circles, lies, bombs."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from hostile_case import Attacks, Make, with_weights
from samples import WITH_LEGACY, architecture, node, patched, text_of, weights, whole_h5

NONE = 2**64 - 1
FLOAT = struct.pack("<4BI2H4BI", 0x11, 0x20, 31, 0, 4, 0, 32, 23, 8, 0, 23, 127)


class Maker:
    """Parts of an HDF5 file, each put after the others; addresses are known when they are."""

    def __init__(self) -> None:
        self.data = bytearray(96)

    def add(self, part: bytes) -> int:
        self.data += bytes(-len(self.data) % 8)
        self.data += part
        return len(self.data) - len(part)

    def header(self, *messages: bytes, count: int | None = None) -> int:
        body = b"".join(messages)
        return self.add(struct.pack("<BxHIIxxxx", 1, len(messages) if count is None else count, 1, len(body)) + body)

    def group(self, members: dict[str, int], *messages: bytes) -> int:
        """A group's header; its members are one table."""
        names, entries = b"\0" * 8, b""
        for name, address in sorted(members.items()):
            entries += struct.pack("<2Q2I16s", len(names), address, 0, 0, b"")
            names += name.encode() + b"\0"
        table = self.add(struct.pack("<4sBxH", b"SNOD", 1, len(members)) + entries)
        return self.header(self.links(self.tree([table]), self.names(names)), *messages)

    def names(self, text: bytes) -> int:
        return self.add(struct.pack("<4sB3x3Q", b"HEAP", 0, len(text), NONE, self.add(text)))

    def tree(self, children: list[int], level: int = 0) -> int:
        keys = b"".join(struct.pack("<2Q", 0, child) for child in children)
        return self.add(struct.pack("<4sBBH2Q", b"TREE", 0, level, len(children), NONE, NONE) + keys + bytes(8))

    def array(self, shape: tuple[int, ...], address: int, size: int | None = None, *more: bytes) -> int:
        count = 4
        for n in shape:
            count *= n
        space = message(1, struct.pack(f"<4B4x{len(shape)}Q", 1, len(shape), 0, 0, *shape))
        layout = message(8, struct.pack("<2B2Q", 3, 1, address, (count if size is None else size) % 2**64))
        return self.header(space, message(3, FLOAT), layout, *more)

    @staticmethod
    def links(tree: int, names: int) -> bytes:
        return message(0x11, struct.pack("<2Q", tree, names))

    def file(self, root: int, end: int | None = None) -> bytes:
        size = len(self.data) if end is None else end
        versions = struct.pack("<8s4B4B2HI", b"\x89HDF\r\n\x1a\n", 0, 0, 0, 0, 0, 8, 8, 0, 4, 16, 0)
        self.data[:96] = versions + struct.pack("<4Q2Q2I16s", 0, NONE, size, NONE, 0, root, 0, 0, b"")
        return bytes(self.data)


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    body += bytes(-len(body) % 8)
    return struct.pack("<HHB3x", kind, len(body), flags) + body


def attribute(name: bytes, count: int, data: bytes, kind: bytes | None = None) -> bytes:
    """A list of strings: of one byte each, or of another type."""
    name += bytes(-len(name) % 8)
    kind = struct.pack("<4BI", 0x13, 1, 0, 0, 1) if kind is None else kind
    space = struct.pack("<4B4xQ", 1, 1, 0, 0, count)
    body = struct.pack("<BxHHH", 1, len(name), len(kind), len(space)) + name + kind + space + data
    return message(0x0C, body[:65528])


_VARIABLE = struct.pack("<4BI", 0x19, 1, 0, 0, 16) + FLOAT[:8]


def cases() -> Attacks:
    for name, make in _bombs():
        yield "hdf5-bomb", name, _everywhere(make)
    for name, make in _damaged():
        yield "hdf5-damage", name, _everywhere(make)
    yield "hdf5-bomb", "many-layers-on-the-same-numbers", {"weights.h5": _amplified}


def _everywhere(make: Callable[[], bytes]) -> dict[str, Make]:
    """In the place of weights of Keras 3; and of a whole model, and of weights of Keras 2."""
    return {
        **with_weights(make),
        "h5": lambda: {"model": make()},
        "legacy.h5": lambda: {**WITH_LEGACY["legacy.h5"](lambda file, group: None), "weights": make()},
    }


def _wide(make: Callable[[Maker], int], count: int = 1000, own: bytes = b"") -> bytes:
    """A legacy file whose layers are all one and the same group."""
    maker = Maker()
    layer = make(maker)
    names = [f"{i:03x}" for i in range(count)]
    width = struct.pack("<4BI", 0x13, 1, 0, 0, 3)
    listed = attribute(b"layer_names\0", count, "".join(names).encode(), width)
    return maker.file(maker.group(dict.fromkeys(names, layer), listed, own))


def _bombs() -> Iterator[tuple[str, Callable[[], bytes]]]:
    def names_in_each_other() -> bytes:
        maker = Maker()
        heap = maker.names(b"x" * 2_000_000 + b"\0" * 8)
        tables = []
        for start in range(0, 4000, 100):
            entries = b"".join(struct.pack("<2Q2I16s", start + i, 96, 0, 0, b"") for i in range(100))
            tables.append(maker.add(struct.pack("<4sBxH", b"SNOD", 1, 100) + entries))
        return maker.file(maker.header(maker.links(maker.tree(tables), heap)))

    def tree(levels: int, children: int) -> Callable[[], bytes]:
        def make() -> bytes:
            maker = Maker()
            table = maker.add(struct.pack("<4sBxH", b"SNOD", 1, 0))
            at = maker.tree([table] * children)
            for level in range(1, levels):
                at = maker.tree([at] * children, level)
            return maker.file(maker.header(maker.links(at, maker.names(bytes(8)))))

        return make

    def own_child() -> bytes:
        maker = Maker()
        at = len(maker.data)
        assert maker.tree([at] * 1000, 5) == at
        return maker.file(maker.header(maker.links(at, maker.names(bytes(8)))))

    def heap(objects: int, collections: int) -> Callable[[], bytes]:
        def make() -> bytes:
            maker = Maker()
            one = struct.pack("<H6xQ", 1, 0)
            body = b"".join(struct.pack("<H6xQ", i % 65535 + 1, 0) for i in range(objects)) or one
            places = [maker.add(b"GCOL" + struct.pack("<B3xQ", 1, 16 + len(body)) + body) for _ in range(collections)]
            data = b"".join(struct.pack("<IQI", 1, place, 1) for place in places)
            listed = attribute(b"layer_names\0", len(places), data, _VARIABLE)
            return maker.file(maker.group({}, listed))

        return make

    def weight_names(parts: int, size: int) -> Callable[[], bytes]:
        lists = [attribute(b"weight_names%d\0" % i, size, b"a" * size) for i in range(parts)]
        return lambda: _wide(lambda maker: maker.group({"a": maker.array((1,), 0)}, *lists))

    def headers(*messages: bytes) -> Callable[[], bytes]:
        return lambda: _wide(lambda maker: maker.header(*messages))

    def continued() -> bytes:
        """An object's header as many messages, each of which says to read the same part again."""
        return circular_header(weights())

    yield "names-in-each-other", names_in_each_other
    yield "tree-of-itself", own_child
    for levels, children in ((2, 60_000), (4, 300), (16, 2), (60, 1)):
        yield f"tree-of-{levels}-levels", tree(levels, children)
    yield "heap-of-a-million-objects", heap(1_000_000, 1)
    yield "heaps-of-many-objects", heap(65_000, 12)
    yield "weight-names-without-end", weight_names(14, 65_000)
    yield "weight-names-in-many-parts", weight_names(64, 200)
    yield "a-thousand-headers-of-nothing", headers(*[message(0, b"")] * 4000)
    yield "a-thousand-headers-of-attributes", headers(*[attribute(b"a%06d\0" % i, 1, b"a") for i in range(4000)])
    yield "headers-in-a-circle", continued


def circular_header(good: bytes) -> bytes:
    part = struct.pack("<2HI2Q", 0x10, 16, 0, 0, len(good) + 16 + 24 * 5000)
    header = struct.pack("<2BH3I", 1, 0, 65535, 1, 24 * 5000, 0)
    # The root's entry in the superblock holds the address of its header.
    return patched(good, 64, "Q", len(good)) + header + part * 5000


def _amplified() -> dict[str, Any]:
    """A hundred layers that all have the same 360 kB for their weights."""
    config = architecture()
    layers = config["config"]["layers"]
    layers[1:] = [node("LSTM", name="lstm", units=2)] + [node("Dense", name=f"d{i}", units=300) for i in range(100)]
    maker = Maker()
    numbers = maker.add(bytes(400_000))

    def with_vars(shapes: list[tuple[int, ...]]) -> int:
        return maker.group({str(i): maker.array(shape, numbers) for i, shape in enumerate(shapes)})

    cell = maker.group({"vars": with_vars([(2, 8), (2, 8), (8,)])})
    groups = {"lstm": maker.group({"cell": cell}), "dense": maker.group({"vars": with_vars([(2, 300), (300,)])})}
    same = maker.group({"vars": with_vars([(300, 300), (300,)])})
    groups.update({f"dense_{i}": same for i in range(1, 100)})
    root = maker.group({"layers": maker.group(groups)})
    return {"model": text_of(config), "weights": maker.file(root)}


def _damaged() -> Iterator[tuple[str, Callable[[], bytes]]]:
    good = whole_h5()
    modern = weights()
    places = {
        "version": (8, "B", (1, 2, 3, 255)),
        "sizes": (13, "2B", ((4, 4), (0, 0), (2, 16))),
        "base": (24, "Q", (1, 2**63)),
        "end-of-file": (40, "Q", (2**40, 2**64 - 1)),
        "root": (64, "Q", (0, 97, 2**40, 2**63, 2**64 - 1)),
    }
    for data, kind in ((good, "legacy"), (modern, "modern")):
        for name, (at, form, values) in places.items():
            for i, value in enumerate(values):
                numbers = value if isinstance(value, tuple) else (value,)
                yield f"{kind}-{name}-{i}", lambda d=data, a=at, f=form, n=numbers: patched(d, a, f, *n)
        for sign in (b"SNOD", b"TREE", b"HEAP"):
            at = data.find(sign)
            for i, value in enumerate((2, 0x7F, 0xFF)):
                yield f"{kind}-{sign.decode()}-{i}", lambda d=data, a=at, v=value: patched(d, a + 4, "I", v << 24 | v)
            yield f"{kind}-{sign.decode()}-elsewhere", lambda d=data, s=sign: d.replace(s, b"XXXX")
    text = good.find(b"GCOL")
    for i, value in enumerate((0, 1, 2**31, 2**64 - 1)):
        yield f"legacy-heap-size-{i}", lambda v=value: patched(good, text + 8, "Q", v)
    yield "legacy-heap-elsewhere", lambda: good.replace(b"GCOL", b"XXXX")

    def root(*messages: bytes, count: int | None = None) -> Callable[[], bytes]:
        def make() -> bytes:
            maker = Maker()
            return maker.file(maker.header(*messages, count=count))

        return make

    def arrays(make: Callable[[Maker], int]) -> Callable[[], bytes]:
        """Both layouts, with an array of this kind for every weight."""

        def both() -> bytes:
            maker = Maker()
            array = make(maker)
            own = maker.group({str(i): array for i in range(3)})
            dense = maker.group({"vars": maker.group({str(i): array for i in range(2)}), "k": array},
                                attribute(b"weight_names\0", 1, b"k"))  # fmt: skip
            lstm = maker.group({"cell": maker.group({"vars": own}), "k": array}, attribute(b"weight_names\0", 1, b"k"))
            layers = maker.group({"lstm": lstm, "dense": dense})
            listed = attribute(b"layer_names\0", 2, b"ab")
            return maker.file(maker.group({"layers": layers, "a": lstm, "b": dense}, listed))

        return both

    for name, kind in (("old-fill", 0x04), ("link", 0x06), ("external", 0x07), ("filter", 0x0B), ("symbols", 0x11),
                       ("dense-attributes", 0x15), ("reference-count", 0x16), ("unknown", 0x99)):  # fmt: skip
        yield f"root-of-{name}", root(message(kind, bytes(40)))
        yield f"root-of-shared-{name}", root(message(kind, bytes(40), flags=2))
    yield "root-of-two-tables", root(*[Maker.links(96, 96)] * 2)
    yield "root-of-no-messages", root()
    yield "root-that-counts-more", root(Maker.links(96, 96), count=9)
    yield "root-that-counts-many", root(Maker.links(96, 96), count=65535)
    yield "attribute-twice", _twice
    for i, place in enumerate((0, 8, 2**40, 2**63, 2**64 - 1)):
        yield f"array-elsewhere-{i}", arrays(lambda maker, p=place or 10**6: maker.array((2, 12), p))
        yield f"tables-elsewhere-{i}", root(Maker.links(place, 96))
        yield f"names-elsewhere-{i}", root(Maker.links(96, place))
    shapes: list[tuple[int, ...]] = [(2**32, 2**32), (2**63, 2), (2**64 - 1,), (0,), (), (1,) * 255, (2**60, 12)]
    for i, shape in enumerate(shapes):
        yield f"array-shape-{i}", arrays(lambda maker, s=shape: maker.array(s, 96))
    for i, size in enumerate((0, 95, 97, 2**40, 2**64 - 1)):
        yield f"array-size-{i}", arrays(lambda maker, s=size: maker.array((2, 12), 96, s))
    for name, more in (("filter", message(0x0B, bytes(40))), ("external", message(0x07, bytes(40))),
                       ("second-shape", message(1, struct.pack("<4B4xQ", 1, 1, 0, 0, 3))),
                       ("second-type", message(3, FLOAT)), ("table", Maker.links(96, 96))):  # fmt: skip
        yield f"array-and-{name}", arrays(lambda maker, m=more: maker.array((2, 12), 96, None, m))


def _twice() -> bytes:
    maker = Maker()
    listed = attribute(b"layer_names\0", 1, b"a")
    return maker.file(maker.group({}, listed, listed))
