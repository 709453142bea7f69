"""The base of every layer: name, dtype, weights, and how a layer is called."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlstm.errors import FastLSTMError, UnsupportedLayerError

Array = NDArray[Any]
Shape = tuple[int | None, ...]

_counters: dict[str, Iterator[int]] = defaultdict(itertools.count)


def snake_case(name: str) -> str:
    """Keras's automatic layer name for a class name: ``SimpleRNN`` -> ``simple_rnn``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(class_name: str) -> str:
    """``lstm``, ``lstm_1``, ``lstm_2``, ... as Keras names layers that were given no name."""
    base = snake_case(class_name)
    n = next(_counters[base])
    return f"{base}_{n}" if n else base


def resolve_dtype(dtype: Any, who: str) -> str:
    """The one dtype a layer computes in, from Keras's ``dtype`` argument or its saved form."""
    if isinstance(dtype, dict):  # a saved policy; one without a name, such as a quantized one, is refused below
        config = dtype.get("config")
        dtype = config.get("name", "an unnamed policy") if isinstance(config, dict) else "an unnamed policy"
    if dtype is None:
        return "float32"
    name = getattr(dtype, "name", dtype)  # a Keras DTypePolicy or a NumPy dtype
    if not isinstance(name, str):
        try:
            name = np.dtype(name).name
        except TypeError:
            pass
    if name not in ("float32", "float64"):
        raise FastLSTMError(
            f"{who}: dtype is {name!r}; fastlstm computes in 'float32' or 'float64': choose one of these"
        )
    return str(name)


def keras_class(node: Any, who: str) -> str:
    """The class that a saved layer node names, if it is one of Keras's own; it is never looked up.

    Parameters
    ----------
    node : object
        ``{"module", "class_name", "config", "registered_name", ...}``, as Keras writes it.
    who : str
        Named in errors.

    Raises
    ------
    FastLSTMError
        Not such a node.
    UnsupportedLayerError
        A class from elsewhere, or registered by the model's author.
    """
    if not isinstance(node, dict) or not isinstance(node.get("config"), dict):
        raise FastLSTMError(f"{who} is {type(node).__name__} without a config; expected a saved layer")
    name, module, registered = node.get("class_name"), node.get("module"), node.get("registered_name")
    own = module is None or module == "keras" or str(module).startswith("keras.")
    if not isinstance(name, str) or not own or registered not in (None, name):
        raise UnsupportedLayerError(
            f"{who} is a {registered or name!r} from {module or 'keras'!r}, not a layer of Keras's own"
        )
    return name


class Layer:
    """What all layers share. Names and arguments are those of ``keras.layers.Layer``.

    Parameters
    ----------
    name : str, optional
        Defaults to the class name in snake case with a running number.
    dtype : {"float32", "float64"} or a Keras dtype policy, optional
        What the layer computes in and returns. Default float32.
    trainable, activity_regularizer, autocast
        Matter in training only: accepted, kept for ``get_config``, otherwise inert.
    input_shape, input_dim : optional
        Shape of one sample, without the batch axis: as the first layer of a Sequential, the same as an
        InputLayer in front of it.
    """

    #: Whether a mask that reaches the layer travels on to the next one.
    supports_masking = True

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
        **unknown: Any,
    ) -> None:
        class_name = type(self).__name__
        if unknown:
            raise FastLSTMError(f"{class_name}: unrecognized keyword arguments {sorted(unknown)}")
        if name is not None and not isinstance(name, str):
            raise FastLSTMError(f"{class_name}: name is {name!r}; expected a string")
        self.name = auto_name(class_name) if name is None else name
        self.dtype = resolve_dtype(dtype, f"{class_name} {self.name!r}")
        self.trainable = trainable
        self.autocast = autocast
        self.activity_regularizer = activity_regularizer
        #: One sample's shape; a Sequential that begins with this layer builds from it.
        self.sample_shape = tuple(input_shape) if input_shape is not None and input_dim is None else None
        if input_dim is not None:
            self.sample_shape = (input_dim,)
        self.built = False
        self._input_shape: Shape | None = None
        self._weights: dict[str, Array] = {}

    # -- shapes ---------------------------------------------------------------------------------

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        """Name and shape of each weight, in Keras's order, without allocating any."""
        return {}

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """Shape of the output for an input of the given shape; unknown sizes are None."""
        return input_shape

    # -- weights --------------------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of this shape, with the layer's initializers.

        Parameters
        ----------
        input_shape : tuple of int or None
            Shape of the input with its batch axis, for example ``(None, 10, 3)``.
        """
        shape = tuple(input_shape)
        shapes = self.weight_shapes(shape)
        self._store(
            {
                name: np.asarray(self._initial_weight(name, s), self._weight_dtype(name)).reshape(s)
                for name, s in shapes.items()
            }
        )
        self._mark_built(shape)

    def _mark_built(self, input_shape: Shape) -> None:
        self._input_shape = input_shape
        self.built = True

    def _weight_dtype(self, name: str) -> str:
        return self.dtype

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        raise NotImplementedError

    def _store(self, weights: dict[str, Array]) -> None:
        """Take over the arrays. They become read-only: a packed copy of them is what runs."""
        for array in weights.values():
            array.flags.writeable = False
        self._weights = weights
        self._weights_changed()

    def _weights_changed(self) -> None:
        """Called whenever the weights were replaced."""

    def get_weights(self) -> list[Array]:
        """Copies of the weights, in Keras's order."""
        return [w.copy() for w in self._weights.values()]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Replace all weights at once.

        Parameters
        ----------
        weights : sequence of array_like
            In Keras's order (``keras_layer.get_weights()``), each of the shape the layer has. An
            unbuilt layer of ours is built from them where their shapes tell the input width.

        Raises
        ------
        FastLSTMError
            Wrong number of arrays or a wrong shape; the layer is then unchanged.
        """
        who = f"{type(self).__name__} {self.name!r}: set_weights"
        arrays = [np.asarray(w) for w in weights]
        input_shape = self._input_shape if self.built else self._input_shape_from(arrays)
        if input_shape is None:
            raise FastLSTMError(f"{who}: the layer has no weights yet; call build(input_shape) first")
        shapes = self.weight_shapes(input_shape)
        if len(arrays) != len(shapes):
            raise FastLSTMError(
                f"{who}: got {len(arrays)} arrays; expected {len(shapes)}: {', '.join(shapes) or 'none'}"
            )
        for (name, shape), array in zip(shapes.items(), arrays, strict=True):
            if array.shape != shape:
                raise FastLSTMError(f"{who}: {name} has shape {array.shape}; expected {shape}")
        self._store(
            {
                name: np.array(array, self._weight_dtype(name), order="C", copy=True)
                for name, array in zip(shapes, arrays, strict=True)
            }
        )
        self._mark_built(input_shape)

    def _input_shape_from(self, arrays: list[Array]) -> Shape | None:
        """The input shape that these weights imply, or None where they do not tell."""
        return None

    def count_params(self) -> int:
        """Number of scalars in the weights; the layer must be built."""
        if not self.built:
            raise FastLSTMError(
                f"{type(self).__name__} {self.name!r}: count_params needs weights; call build(input_shape) first"
            )
        return sum(int(w.size) for w in self._weights.values())

    # -- configuration --------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in Keras's names and serialised form."""
        return {"name": self.name, "trainable": self.trainable, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """A new, unbuilt layer from :meth:`get_config`'s result, ours or Keras's."""
        return cls(**config)

    # -- running --------------------------------------------------------------------------------

    def call(self, inputs: Array, /, *, mask: Array | None = None) -> Any:
        """Compute the layer; the public way in is calling the layer itself."""
        raise NotImplementedError

    def _refuse_training(self, training: bool) -> None:
        """Refuse ``training=True`` where it would change the result."""

    def compute_mask(self, inputs: Array, mask: Array | None = None) -> Array | None:
        """The mask that travels on with the output, or None."""
        return mask if self.supports_masking else None

    def __call__(self, inputs: ArrayLike, mask: ArrayLike | None = None, training: bool = False) -> Any:
        self._refuse_training(training)
        x = np.asarray(inputs)
        if not self.built:
            self.build(x.shape)
        return self.call(x, mask=None if mask is None else np.asarray(mask, dtype=bool))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"
