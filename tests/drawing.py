"""Random architectures around recurrent layers, drawn from a seed with the names of any one library.

The same seed gives the same model in Keras 3, in tf_keras and in fastlstm itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastlstm.layers.serialization import LAYERS

WORDS = 12  # of every vocabulary
Sizes = tuple[int, ...]  # of one sample, as the data will have them

ACTIVATIONS = ("relu", "elu", "selu", "gelu", "softplus", "softsign", "swish", "mish", "hard_sigmoid", "sigmoid")
BOUNDED = ("tanh", "tanh", "tanh", "softsign", "sigmoid", "hard_sigmoid", "relu", "elu", "softmax", "gelu", "linear")
ODD_NAMES = ("a.b-1", "layers", "vars", "cell", "UPPER", "0", "x" * 70, "lstm_cell", "1.2", "weights", "forward_lstm")
SPACED = ("a b", "kernel:0", "(x)", "a,b", "'", "model_weights", "a\\b", "%s")  # not in tf_keras
NESTED = ("block/lstm", "a/b/c")  # only there


class Kit(NamedTuple):
    """One library's names for what a model is made of.

    Attributes
    ----------
    generation : int
        Of Keras: 2 or 3.
    functions : sequence of callable
        Operations on a (batch, steps, features) tensor that keep its shape.
    reductions : sequence of callable
        Operations that take away its steps.
    """

    generation: int
    Input: Any
    Model: Any
    Sequential: Any
    layers: Any
    functions: tuple[Callable[[Any], Any], ...]
    reductions: tuple[Callable[[Any], Any], ...]


class Drawer:
    """Draws layers; what it draws depends on the seed and the generation of Keras alone."""

    def __init__(self, kit: Kit, seed: int) -> None:
        self.kit, self.rng = kit, np.random.default_rng(seed)
        self.double = self.chance(0.1)  # the whole model in float64
        self.unsized = self.chance(0.2)  # sequences of any length
        self.named = self.chance(0.3)
        self.batch: int | None = None
        names = ODD_NAMES + (SPACED if kit.generation == 3 else NESTED)
        self.names = list(self.rng.permutation(names))

    # -- chance -----------------------------------------------------------------------------------

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def choose(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def size(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def known(self, *names: str) -> list[str]:
        """Those of these layers that fastlstm has."""
        return [name for name in names if name in LAYERS]

    # -- layers -----------------------------------------------------------------------------------

    def make(self, name: str, *args: Any, **options: Any) -> Any:
        if self.chance(0.06):
            options["trainable"] = False
        if self.named and self.names and self.chance(0.4):
            options["name"] = str(self.names.pop())
        if self.double:
            options["dtype"] = "float64"
        return getattr(self.kit.layers, name)(*args, **options)

    def cell_options(self, kind: str, units: int) -> dict[str, Any]:
        plain = self.chance(0.6)
        options = {
            "units": units,
            "activation": "tanh" if plain else self.choose(*BOUNDED),
            "use_bias": self.chance(0.85),
            "dropout": self.choose(0.0, 0.0, 0.2),
            "recurrent_dropout": self.choose(0.0, 0.0, 0.2),
            "kernel_initializer": self.choose("glorot_uniform", "he_normal"),
            "kernel_regularizer": self.choose(None, None, "l2"),
        }
        if kind != "SimpleRNN":
            options["recurrent_activation"] = "sigmoid" if plain else self.choose("hard_sigmoid", *BOUNDED)
        if kind == "LSTM":
            options["unit_forget_bias"] = self.chance(0.7)
        if kind == "GRU":
            options["reset_after"] = self.chance(0.6)
        return options

    def recurrent(self, units: int, sequences: bool, kind: str | None = None, **given: Any) -> Any:
        kind = kind or self.choose(*self.known("LSTM", "LSTM", "LSTM", "GRU", "SimpleRNN"))
        options = {
            **self.cell_options(kind, units),
            "return_sequences": sequences,
            "go_backwards": self.chance(0.15),
            "unroll": not self.unsized and self.chance(0.06),
        }
        if self.chance(0.15):
            options["zero_output_for_mask"] = True
        return self.make(kind, **{**options, **given})

    def bidirectional(self, units: int, sequences: bool, merge: str | None, **given: Any) -> Any:
        kind = self.choose(*self.known("LSTM", "LSTM", "GRU", "SimpleRNN"))
        inner = self.recurrent(units, sequences, kind, **{"go_backwards": False, **given})
        options: dict[str, Any] = {"merge_mode": merge}
        if self.chance(0.3):  # another kind keeps other states
            other = kind if given.get("return_state") else self.choose(*self.known("LSTM", "GRU", "SimpleRNN"))
            options["backward_layer"] = self.recurrent(units, sequences, other, **{**given, "go_backwards": True})
        return self.make("Bidirectional", inner, **options)

    def wrapped_cells(self, units: int, sequences: bool) -> Any:
        """RNN over a cell or a stack of them, of which the last has so many units."""
        kinds = [self.choose(*self.known("LSTMCell", "GRUCell", "SimpleRNNCell")) for _ in range(self.size(1, 2))]
        sizes = [self.size(1, 5) for _ in kinds[1:]] + [units]
        cells = [
            self.make(kind, **self.cell_options(kind.removesuffix("Cell"), n))
            for kind, n in zip(kinds, sizes, strict=True)
        ]
        stack = self.make("StackedRNNCells", cells) if self.chance(0.3) else cells
        cell = cells[0] if len(cells) == 1 and self.chance(0.7) else stack
        return self.make("RNN", cell, return_sequences=sequences, go_backwards=self.chance(0.2))

    def reader(self, units: int, sequences: bool) -> tuple[Any, int]:
        """Some layer that reads a sequence step by step, and the width that it gives."""
        if self.known("RNN", "StackedRNNCells") == ["RNN", "StackedRNNCells"] and self.chance(0.12):
            return self.wrapped_cells(units, sequences), units
        if self.chance(0.35):
            merge = self.choose("concat", "concat", "sum", "mul", "ave")
            return self.bidirectional(units, sequences, merge), units * (2 if merge == "concat" else 1)
        return self.recurrent(units, sequences), units

    # -- chains of layers -------------------------------------------------------------------------

    def chain(self, sizes: Sizes, length: int) -> tuple[list[Any], Sizes]:
        """So many layers one after the other, and the sizes of what they give."""
        layers: list[Any] = []
        for _ in range(length):
            more, sizes = self.link(sizes)
            layers += more
        return layers, sizes

    def link(self, sizes: Sizes) -> tuple[list[Any], Sizes]:
        if len(sizes) == 1:
            return self.choose(self.dense, self.plain, self.plain, self.dense, self.unfold)(sizes)
        return self.choose(
            self.read, self.read, self.read, self.plain, self.plain, self.dense, self.convolve, self.pool,
            self.time_distributed, self.reshape,
        )(sizes)  # fmt: skip

    def read(self, sizes: Sizes) -> tuple[list[Any], Sizes]:
        layer, width = self.reader(self.size(1, 6), True)
        return [layer], (sizes[0], width)

    def dense(self, sizes: Sizes) -> tuple[list[Any], Sizes]:
        units = self.size(1, 6)
        activation = self.choose(None, *ACTIVATIONS) if self.chance(0.9) or units == 1 else "softmax"
        return [self.make("Dense", units, activation=activation)], (*sizes[:-1], units)

    def plain(self, sizes: Sizes) -> tuple[list[Any], Sizes]:
        """A layer that keeps the sizes."""
        makes: dict[str, Callable[[], Any]] = {
            "Activation": lambda: self.make("Activation", self.choose(*ACTIVATIONS)),
            "ReLU": lambda: self.make("ReLU", negative_slope=0.1, max_value=self.choose(None, 1.5)),
            "LeakyReLU": lambda: self.make("LeakyReLU"),
            "ELU": lambda: self.make("ELU", alpha=0.7),
            "PReLU": lambda: self.make("PReLU", shared_axes=[1] if len(sizes) > 1 else None),
            "Softmax": lambda: self.make("Softmax"),
            "Dropout": lambda: self.make("Dropout", 0.3),
            "GaussianNoise": lambda: self.make("GaussianNoise", 0.1),
            "GaussianDropout": lambda: self.make("GaussianDropout", 0.1),
            "AlphaDropout": lambda: self.make("AlphaDropout", 0.1),
            "ActivityRegularization": lambda: self.make("ActivityRegularization", l2=0.1),
            "Identity": lambda: self.make("Identity"),
            "Rescaling": lambda: self.make("Rescaling", 0.5, offset=0.1),
            "BatchNormalization": lambda: self.make("BatchNormalization", scale=self.chance(0.7)),
            "LayerNormalization": lambda: self.make("LayerNormalization", center=self.chance(0.7)),
            "UnitNormalization": lambda: self.make("UnitNormalization"),
            "GroupNormalization": lambda: self.make("GroupNormalization", groups=-1, axis=-1),
            "SpatialDropout1D": lambda: self.make("SpatialDropout1D", 0.2),
            "Masking": lambda: self.make("Masking"),
            "Normalization": lambda: self.make("Normalization", mean=0.2, variance=0.8),
        }
        sequence = {"SpatialDropout1D", "Masking", "GroupNormalization"}
        names = [name for name in self.known(*makes) if len(sizes) > 1 or name not in sequence]
        if sizes[-1] == 1:  # constant, or nothing but rounding
            names = [n for n in names if n not in ("Softmax", "LayerNormalization", "UnitNormalization")]
        return [makes[self.choose(*names)]()], sizes

    def convolve(self, sizes: Sizes) -> tuple[list[Any], Sizes]:
        steps, width = sizes
        kernel, filters = self.size(1, min(3, steps)), self.size(1, 6)
        padding = self.choose("same", "valid", "causal")
        strides = self.choose(1, 1, 1, 2)
        dilation = 2 if strides == 1 and kernel < 3 and steps > 3 and self.chance(0.2) else 1
        options: dict[str, Any] = {"activation": self.choose(None, "relu", "tanh"), "use_bias": self.chance(0.8)}
        kind = self.choose(*self.known("Conv1D", "Conv1D", "Conv1D", "SeparableConv1D", "DepthwiseConv1D"))
        if kind != "Conv1D":
            padding = self.choose("same", "valid")
        if kind == "DepthwiseConv1D":
            filters = 2 * width
            layer = self.make(kind, kernel, strides=strides, padding=padding, depth_multiplier=2, **options)
            dilation = 1
        else:
            options |= {"strides": strides, "padding": padding, "dilation_rate": dilation}
            layer = self.make(kind, filters, kernel, **options)
        reach = steps - dilation * (kernel - 1) if padding == "valid" else steps
        return [layer], (-(-reach // strides), filters)

    def pool(self, sizes: Sizes) -> tuple[list[Any], Sizes]:
        steps, width = sizes
        if steps < 3:
            return self.plain(sizes)
        kind, padding = self.choose(*self.known("MaxPooling1D", "AveragePooling1D")), self.choose("same", "valid")
        strides = self.choose(None, 1, 2)
        reach = steps if padding == "same" else steps - 1
        return [self.make(kind, 2, strides=strides, padding=padding)], (-(-reach // (strides or 2)), width)

    def time_distributed(self, sizes: Sizes) -> tuple[list[Any], Sizes]:
        if self.chance(0.5):
            (inner,), (_, width) = self.dense(sizes)
        elif self.chance(0.5):
            (inner,), (_, width) = self.plain((*sizes[1:],))[0], sizes
        else:
            first, inside = self.dense(sizes[1:])
            then, (width,) = self.choose(self.dense, self.plain)(inside)
            inner = self.kit.Sequential([*first, *then])
        return [self.make("TimeDistributed", inner)], (sizes[0], width)

    def reshape(self, sizes: Sizes) -> tuple[list[Any], Sizes]:
        steps, width = sizes
        if self.unsized or self.chance(0.4):
            kind = self.choose(*self.known("ZeroPadding1D", "UpSampling1D", "Cropping1D"))
            if kind == "UpSampling1D" and steps < 6:
                return [self.make(kind, 2)], (2 * steps, width)
            if kind == "Cropping1D" and steps > 3:
                return [self.make(kind, (1, 0))], (steps - 1, width)
            return [self.make("ZeroPadding1D", (1, 2))], (steps + 3, width)
        if self.chance(0.5):
            return [self.make("Permute", (2, 1))], (width, steps)
        return [self.make("Reshape", self.choose((width, steps), (-1, steps)))], (width, steps)

    def unfold(self, sizes: Sizes) -> tuple[list[Any], Sizes]:
        """A sequence out of a vector."""
        if self.unsized or self.chance(0.7):
            steps = self.size(2, 5)
            return [self.make("RepeatVector", steps)], (steps, *sizes)
        return [self.make("Reshape", (*sizes, 1))], (*sizes, 1)

    def fold(self, sizes: Sizes) -> tuple[list[Any], Sizes]:
        """A vector out of a sequence."""
        pools = self.known("GlobalAveragePooling1D", "GlobalMaxPooling1D", "Flatten")
        if len(pools) < 3 or self.chance(0.6):
            layer, width = self.reader(self.size(1, 6), False)
            return [layer], (width,)
        kind = self.choose(*pools[: 2 if self.unsized else 3])
        return [self.make(kind)], (sizes[0] * sizes[1] if kind == "Flatten" else sizes[1],)

    # -- whole stacks -----------------------------------------------------------------------------

    def beginning(self) -> tuple[str, Sizes, list[Any], Sizes]:
        """Kind and sizes of an input, the first layers over it and what these give."""
        steps, width = self.size(3, 6), self.size(1, 5)
        if self.chance(0.35):
            embedding = self.make("Embedding", WORDS, width, mask_zero=self.chance(0.6))
            return self.choose("int32", "float32"), (steps,), [embedding], (steps, width)
        first = [self.make("Masking", mask_value=0.0)] if self.chance(0.35) else []
        return "float32", (steps, width), first, (steps, width)

    def input(self, kind: str, sizes: Sizes, name: str | None = None) -> Any:
        shape = (None, *sizes[1:]) if self.unsized and self.batch is None else sizes
        if kind == "float32" and self.double:
            kind = "float64"
        if self.batch is not None:
            return self.kit.Input(batch_shape=(self.batch, *shape), dtype=kind, name=name)
        return self.kit.Input(shape=shape, dtype=kind, name=name)

    def sequential(self) -> tuple[Any, list[tuple[str, Sizes]]]:
        """A Sequential, and the kind and sizes of what it reads."""
        kind, sizes, layers, inner = self.beginning()
        more, inner = self.chain(inner, self.size(0, 2))
        layers += more
        if len(inner) == 2:
            layer, width = self.reader(self.size(1, 6), True)
            layers, inner = [*layers, layer], (inner[0], width)
        if self.chance(0.75):
            more, inner = self.fold(inner)
            layers += more
        more, inner = self.chain(inner, self.size(0, 2))
        return self.kit.Sequential([self.input(kind, sizes), *layers, *more]), [(kind, sizes)]
