"""Random Functional models: blocks of every kind over a pool of tensors, and stateful stacks."""

from __future__ import annotations

from typing import Any

from drawing import Drawer, Kit, Sizes

Given = list[tuple[str, Sizes]]  # kind and sizes of each input


class _Pool:
    """The tensors of a graph, with the sizes that their values will have."""

    def __init__(self) -> None:
        self.tensors: list[tuple[Any, Sizes]] = []
        self.unread: set[int] = set()

    def put(self, tensor: Any, sizes: Sizes) -> None:
        self.unread.add(len(self.tensors))
        self.tensors.append((tensor, sizes))

    def pick(self, drawer: Drawer, rank: int | None = None) -> tuple[Any, Sizes] | None:
        """One of them, mostly one that nothing has read yet."""
        fitting = [i for i, (_, sizes) in enumerate(self.tensors) if rank in (None, len(sizes))]
        fresh = [i for i in fitting if i in self.unread]
        if not fitting:
            return None
        chosen = drawer.choose(*(fresh if fresh and drawer.chance(0.75) else fitting))
        self.unread.discard(chosen)
        return self.tensors[chosen]


class Grapher:
    """Draws a Functional model block by block."""

    def __init__(self, kit: Kit, seed: int, drawer: Drawer | None = None) -> None:
        self.kit, self.drawer = kit, drawer or Drawer(kit, seed)
        self.pool = _Pool()
        self.inputs: list[Any] = []
        self.given: Given = []

    def draw(self) -> tuple[Any, Given]:
        """A Functional model, and the kind and sizes of each of its inputs."""
        d = self.drawer
        for _ in range(d.choose(1, 1, 1, 2, 2, 3)):
            self.begin()
        blocks = [
            self.chain, self.chain, self.residual, self.concatenated, self.shared, self.attention, self.states,
            self.both_states, self.two_ways, self.operation, self.operation, self.given_mask, self.nested,
            self.many_sequences,
        ]  # fmt: skip
        for _ in range(d.size(1, 4)):
            d.choose(*blocks)()
        outputs = self.ends()
        inputs: Any = self.inputs
        if len(inputs) == 1 and d.chance(0.7):
            (inputs,) = inputs
        elif d.chance(0.3):
            inputs = {f"in{i}": tensor for i, tensor in enumerate(inputs)}
        return self.kit.Model(inputs, outputs), self.given

    # -- ends -------------------------------------------------------------------------------------

    def add_input(self, kind: str, sizes: Sizes) -> Any:
        tensor = self.drawer.input(kind, sizes, f"in{len(self.inputs)}")
        self.inputs.append(tensor)
        self.given.append((kind, sizes))
        return tensor

    def begin(self) -> None:
        kind, sizes, layers, inner = self.drawer.beginning()
        self.put(layers, self.add_input(kind, sizes), inner)

    def put(self, layers: list[Any], tensor: Any, sizes: Sizes) -> Any:
        for layer in layers:
            tensor = layer(tensor)
        self.pool.put(tensor, sizes)
        return tensor

    def ends(self) -> Any:
        d = self.drawer
        last = [self.pool.tensors[i] for i in sorted(self.pool.unread)]
        if len(last) > 3 or d.chance(0.5):
            vectors, width = [], 0
            for tensor, sizes in last:
                layers, sizes = ([], sizes) if len(sizes) == 1 else d.fold(sizes)
                for layer in layers:
                    tensor = layer(tensor)
                vectors.append(tensor)
                width += sizes[0]
            vector = d.make("Concatenate")(vectors) if len(vectors) > 1 else vectors[0]
            layers, _ = d.chain((width,), 1)
            for layer in layers:
                vector = layer(vector)
            return vector
        outputs = [tensor for tensor, _ in last]
        if len(outputs) == 1 and d.chance(0.6):
            return outputs[0]
        if d.chance(0.3):
            return {f"out{i}": tensor for i, tensor in enumerate(outputs)}
        return outputs

    # -- blocks -----------------------------------------------------------------------------------

    def chain(self) -> None:
        tensor, sizes = self.pool.pick(self.drawer)
        layers, inner = self.drawer.chain(sizes, self.drawer.size(1, 2))
        self.put(layers, tensor, inner)

    def sequence(self) -> tuple[Any, Sizes]:
        """A tensor with steps, a new one if there is none."""
        found = self.pool.pick(self.drawer, 2)
        if found is None:
            self.begin()
            found = self.pool.pick(self.drawer, 2)
        return found

    def keeping(self, sizes: Sizes) -> Any:
        """A layer that keeps the sizes of a sequence and has weights."""
        d = self.drawer
        kind = d.choose("read", "both", "dense", "convolve")
        if kind == "read":
            return d.recurrent(sizes[1], True)
        if kind == "both":
            return d.bidirectional(sizes[1], True, d.choose("sum", "ave", "mul"))
        if kind == "dense":
            return d.make("Dense", sizes[1], activation="tanh")
        return d.make("Conv1D", sizes[1], 3, padding=d.choose("same", "causal"))

    def residual(self) -> None:
        d = self.drawer
        tensor, sizes = self.sequence()
        other = self.keeping(sizes)(tensor)
        kind = d.choose(*d.known("Add", "Add", "Average", "Multiply", "Maximum", "Minimum", "Subtract"))
        parts = [tensor, other]
        if kind != "Subtract" and d.chance(0.3):
            parts.append(self.keeping(sizes)(tensor))
        self.put([d.make(kind)], parts, sizes)

    def concatenated(self) -> None:
        d = self.drawer
        tensor, (steps, width) = self.sequence()
        other = self.keeping((steps, width))(tensor)
        axis = d.choose(-1, -1, 2, 1)
        sizes = (2 * steps, width) if axis == 1 else (steps, 2 * width)
        self.put([d.make("Concatenate", axis=axis)], [tensor, other], sizes)

    def shared(self) -> None:
        """One layer or model over two tensors, whose outputs meet again."""
        d = self.drawer
        tensor, sizes = self.sequence()
        other = self.keeping(sizes)(tensor)
        if d.chance(0.4):
            layer, (width,) = self.model(sizes)
        else:
            layer, width = d.reader(d.size(1, 5), False)
        one, two = layer(tensor), layer(other)
        if d.chance(0.3):
            self.put([d.make("Dot", axes=-1, normalize=d.chance(0.5))], [one, two], (1,))
        elif d.chance(0.5):
            self.put([d.make("Concatenate")], [one, two], (2 * width,))
        else:
            self.put([d.make("Subtract")], [one, two], (width,))

    def model(self, sizes: Sizes) -> tuple[Any, Sizes]:
        """A model for sequences of these sizes that gives a vector."""
        d, kit = self.drawer, self.kit
        layers, inner = d.chain(sizes, d.size(0, 1))
        if len(inner) == 2:
            more, inner = d.fold(inner)
            layers += more
        if d.chance(0.5):
            return kit.Sequential([d.input("float32", sizes), *layers]), inner
        tensor = start = d.input("float32", sizes)
        for layer in layers:
            tensor = layer(tensor)
        return kit.Model(start, tensor), inner

    def nested(self) -> None:
        d = self.drawer
        tensor, sizes = self.sequence()
        if d.chance(0.6):
            layer, inner = self.model(sizes)
            self.put([layer], tensor, inner)
            return
        inside = Grapher(self.kit, 0, d)  # with a graph of its own
        inside.pool.put(inside.add_input("float32", sizes), sizes)
        for _ in range(2):
            d.choose(inside.chain, inside.residual, inside.states, inside.operation, inside.shared)()
        outputs = [inside.pool.tensors[i] for i in sorted(inside.pool.unread)]
        # what a block began anew becomes an input of the whole model
        starts = [self.add_input(*given) for given in inside.given[1:]]
        model = self.kit.Model(inside.inputs, [out for out, _ in outputs])
        found = model([tensor, *starts])
        for part, (_, inner) in zip(found if isinstance(found, list | tuple) else [found], outputs, strict=True):
            self.pool.put(part, inner)

    def attention(self) -> None:
        d = self.drawer
        tensor, sizes = self.sequence()
        if sizes[1] == 1:
            return self.chain()
        other = tensor if d.chance(0.5) else d.recurrent(sizes[1], True)(tensor)
        kinds = d.known("Attention", "AdditiveAttention", "MultiHeadAttention")
        kind = d.choose(*kinds)
        if kind == "MultiHeadAttention":
            layer = d.make(kind, num_heads=d.size(1, 2), key_dim=d.size(1, 4), use_bias=d.chance(0.7))
            causal = {"use_causal_mask": True} if d.chance(0.3) else {}
            self.pool.put(layer(tensor, other, **causal), sizes)
        elif kind == "Attention":
            layer = d.make(kind, use_scale=d.chance(0.5), score_mode=d.choose("dot", "dot", "concat"))
            causal = {"use_causal_mask": True} if d.chance(0.2) else {}
            self.pool.put(layer([tensor, other], **causal), sizes)
        else:
            self.put([d.make(kind, use_scale=d.chance(0.5))], [tensor, other], sizes)

    def states(self) -> None:
        """An encoder whose states a decoder begins with."""
        d = self.drawer
        source, _ = self.sequence()
        target, (steps, _) = self.sequence()
        units = d.size(1, 5)
        kind = d.choose(*d.known("LSTM", "LSTM", "GRU", "SimpleRNN"))
        whole = d.chance(0.3)
        output, *states = d.recurrent(units, whole, kind, return_state=True)(source)
        if d.chance(0.2):
            states = [d.make("Dense", units, activation="tanh")(state) for state in states]
        given: Any = states[0] if len(states) == 1 and d.chance(0.5) else states
        decoder = d.recurrent(units, True, kind, return_state=d.chance(0.3))
        found = decoder(target, initial_state=given)
        if isinstance(found, list | tuple):
            found, *last = found
            self.pool.put(d.choose(*last), (units,))
        self.pool.put(found, (steps, units))
        if whole:
            self.pool.put(output, (self.steps_of(source), units))

    def steps_of(self, tensor: Any) -> int:
        return next(sizes[0] for found, sizes in self.pool.tensors if found is tensor)

    def both_states(self) -> None:
        """The states of both directions, joined for a decoder or for another Bidirectional."""
        d = self.drawer
        source, _ = self.sequence()
        target, (steps, _) = self.sequence()
        units = d.size(1, 4)
        both = d.bidirectional(units, False, d.choose("concat", "sum"), return_state=True)
        inner = type(both.forward_layer).__name__
        _, *states = both(source)
        if d.chance(0.5):
            kept = {"units": units, "return_sequences": True}
            layer = d.make("Bidirectional", d.make(inner, **kept), merge_mode="concat")
            self.pool.put(layer(target, initial_state=states), (steps, 2 * units))
            return
        half = len(states) // 2
        joined = [d.make("Concatenate")([states[i], states[half + i]]) for i in range(half)]
        decoder = d.recurrent(2 * units, True, inner)
        self.pool.put(decoder(target, initial_state=joined), (steps, 2 * units))

    def two_ways(self) -> None:
        """Bidirectional without a merge gives two outputs."""
        d = self.drawer
        tensor, (steps, _) = self.sequence()
        units, sequences = d.size(1, 5), d.chance(0.6)
        for part in d.bidirectional(units, sequences, None)(tensor):
            self.pool.put(part, (steps, units) if sequences else (units,))

    def operation(self) -> None:
        d = self.drawer
        tensor, sizes = self.sequence()
        if d.chance(0.6):
            self.pool.put(d.choose(*self.kit.functions)(tensor), sizes)
        else:
            self.pool.put(d.choose(*self.kit.reductions)(tensor), sizes[1:])

    def given_mask(self) -> None:
        """A mask that is an input itself."""
        d = self.drawer
        tensor, (steps, _) = self.sequence()
        mask = self.add_input("bool", (steps,))
        layer, width = d.reader(d.size(1, 5), True)
        self.pool.put(layer(tensor, mask=mask), (steps, width))

    def many_sequences(self) -> None:
        """Sequences of sequences, the inner ones read by what TimeDistributed holds."""
        d, kit = self.drawer, self.kit
        steps, inner, width = d.size(2, 4), d.size(3, 5), d.size(1, 4)
        tensor = self.add_input("float32", (steps, inner, width))
        if d.chance(0.5):
            layer, units = d.reader(d.size(1, 4), False)
            self.put([d.make("TimeDistributed", layer)], tensor, (steps, units))
        elif d.chance(0.5):
            layers, sizes = d.convolve((inner, width))
            more, sizes = d.fold(sizes)
            start = [d.input("float32", (inner, width))] if d.chance(0.5) else []
            self.put([d.make("TimeDistributed", kit.Sequential([*start, *layers, *more]))], tensor, (steps, *sizes))
        else:
            (layer,), _ = d.convolve((inner, width))
            pool = d.make("GlobalMaxPooling1D")
            found = d.make("TimeDistributed", pool)(d.make("TimeDistributed", layer)(tensor))
            self.pool.put(found, (steps, self.width_of(found)))

    def width_of(self, tensor: Any) -> int:
        return int(tensor.shape[-1])


def stateful(kit: Kit, seed: int, batch: int) -> tuple[Any, Given]:
    """A Sequential or Functional with a fixed batch whose first layer keeps its state."""
    d = Drawer(kit, seed)
    d.batch, d.unsized = batch, False
    sizes = (d.size(2, 5), d.size(1, 4))
    tensor = start = d.input("float32", sizes)
    if d.chance(0.5):
        reader = d.recurrent(d.size(1, 5), True, stateful=True)
    else:
        reader = d.bidirectional(d.size(1, 5), True, "sum", stateful=True)
    layers = [reader, d.make("Dense", 3, activation="tanh"), d.recurrent(2, d.chance(0.5), stateful=d.chance(0.5))]
    if d.chance(0.5):
        return kit.Sequential([start, *layers]), [("float32", sizes)]
    for layer in layers:
        tensor = layer(tensor)
    return kit.Model(start, tensor), [("float32", sizes)]
