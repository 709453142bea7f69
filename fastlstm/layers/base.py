"""The base of every layer: name, dtype, weights, and how a layer is called."""

from __future__ import annotations

import inspect
import itertools
import re
import reprlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlstm.arrays import as_array, numbers_in, plain_dtype
from fastlstm.errors import FastLSTMError
from fastlstm.layers.graph import Node, tensors_in
from fastlstm.precision import PrecisionReport, report
from fastlstm.structure import is_shape, map_structure

Array = NDArray[Any]
Shape = tuple[int | None, ...]

signature_of = cache(inspect.signature)
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
    if isinstance(name, type):
        name = getattr(plain_dtype(name), "name", name)
    if not isinstance(name, str) or name not in ("float32", "float64"):
        raise FastLSTMError(
            f"{who}: dtype is {name!r}; fastlstm computes in 'float32' or 'float64': choose one of these"
        )
    return str(name)


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

    #: Whether a mask that reaches the layer travels on to the next one, as :meth:`compute_mask` says.
    supports_masking = False
    #: The weights that training does not change, by name.
    non_trainable: frozenset[str] = frozenset()
    #: The group inside its own that a ``.keras`` file keeps the layer's weights in.
    weights_group = ""
    #: The positional arguments of ``call``, where each comes with a mask of its own as ``NAME_mask``.
    masked_arguments: tuple[str, ...] = ()
    #: Whether the first input's mask reaches ``call`` only where no other tensor does: so it is in Keras 3.
    mask_comes_alone = True
    #: Whether the inputs have lost their masks when the layer has run, as Keras's MultiHeadAttention does it.
    clears_masks = False
    #: Whether the output is the input itself, mask and all.
    passes_through = False
    #: Whether this is an operation of ``keras.ops`` in a graph, which Keras counts among no layers.
    is_operation = False
    #: How its packed weights can be kept, where there is a choice.
    precisions: tuple[str, ...] = ()
    #: Whether its configuration is one of a whole model.
    holds_layers = False
    #: Where Keras keeps the class, for saved configurations.
    module = "keras.layers"
    #: The node that a custom layer was made from, which says more than its own configuration could.
    saved_as: dict[str, Any] | None = None

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
        if input_shape is not None and not isinstance(input_shape, list | tuple):
            raise FastLSTMError(f"{class_name}: input_shape is {input_shape!r}; expected a tuple of sizes")
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
        self._input_shape: Any = None
        self._expected: dict[str, tuple[int, ...]] = {}
        self._weights: dict[str, Array] = {}
        self._nodes: list[Node] = []

    # -- shapes ---------------------------------------------------------------------------------

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        """Name and shape of each weight, in Keras's order, without allocating any."""
        return {}

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """Shape of the output for an input of the given shape; unknown sizes are None."""
        return input_shape

    # -- weights --------------------------------------------------------------------------------

    def sublayers(self) -> dict[str, Layer]:
        """The layers inside this one that have weights, by their places in a ``.keras`` file."""
        return {}

    def tree(self, place: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Layer]]:
        """This layer and all inside it, each once and with its place, in Keras's order of weights."""
        seen = set() if seen is None else seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield place, self
        for name, layer in self.sublayers().items():
            yield from layer.tree(f"{place}/{name}" if place else name, seen)

    def prepare(self, input_shape: Any) -> None:
        """Settle which weights inputs of this shape need, here and inside; none is allocated.

        Parameters
        ----------
        input_shape : tuple of int or None, or a nest of them
            With the batch axis, for example ``(None, 10, 3)``.

        Raises
        ------
        FastLSTMError
            The layer cannot take such inputs, or has other weights already.
        """
        if self._input_shape is not None:
            self.check_input_shape(input_shape)
            return
        self._expected = self.weight_shapes(input_shape)
        self._prepare_sublayers(input_shape)
        self._input_shape = input_shape

    def check_input_shape(self, input_shape: Any) -> None:
        """Raise FastLSTMError where inputs of this shape need other weights than the layer is prepared for."""
        if self.weight_shapes(input_shape) != self._expected:
            raise FastLSTMError(
                f"{self.who} has weights for other inputs, of shape {self._input_shape}; got {input_shape}"
            )

    def _prepare_sublayers(self, input_shape: Any) -> None:
        """Prepare the layers inside, each for what it will get."""

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of this shape, with the layer's initializers.

        Parameters
        ----------
        input_shape : tuple of int or None, or a nest of them
            Shape of the input with its batch axis, for example ``(None, 10, 3)``.
        """
        self.prepare(tuple(input_shape) if is_shape(input_shape) else input_shape)
        self.fill()

    def fill(self) -> None:
        """Give every weight that has no value yet, here and inside, the one of its initializer."""
        for _, layer in reversed(list(self.tree())):  # what is inside first, so that a built layer can run
            if not layer.built:
                layer.store(
                    {
                        name: np.asarray(layer._initial_weight(name, shape), layer.dtype).reshape(shape)
                        for name, shape in layer._expected.items()
                    }
                )

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        """What a weight is filled with that nothing was loaded for."""
        return np.zeros(shape, self.dtype)

    @property
    def arrays(self) -> Mapping[str, Array]:
        """The layer's own weights by name, read-only; those of layers inside it are theirs."""
        return self._weights

    def store(self, weights: dict[str, Array]) -> None:
        """Take over this layer's own arrays. They become read-only: a packed copy of them is what runs."""
        for array in weights.values():
            array.flags.writeable = False
        self._weights = weights
        self.built = True
        self._weights_changed()

    def _weights_changed(self) -> None:
        """Called whenever the weights were replaced."""

    def get_weights(self) -> list[Array]:
        """Copies of the weights, in Keras's order."""
        return [w.copy() for _, layer in self.tree() for w in layer._weights.values()]

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
            Wrong number of arrays, a wrong shape or no numbers; the layer is then unchanged.
        """
        who = f"{self.who}: set_weights"
        arrays = []
        for i, given_array in enumerate(weights):
            array = numbers_in(given_array)
            if array is None:
                raise FastLSTMError(f"{who}: array {i} is {reprlib.repr(given_array)}; expected numbers")
            arrays.append(array)
        if self._input_shape is None:
            input_shape = self._input_shape_from(arrays)
            if input_shape is None:
                raise FastLSTMError(f"{who}: the layer has no weights yet; call build(input_shape) first")
            fresh = [layer for _, layer in self.tree() if layer._input_shape is None]
            try:
                self.prepare(input_shape)
                self._take(arrays, who)
            except FastLSTMError:
                for layer in fresh:  # as it was: other weights may tell another width
                    layer._input_shape, layer._expected = None, {}
                raise
        else:
            self._take(arrays, who)

    def _take(self, arrays: list[Array], who: str) -> None:
        """Store the arrays where all of them fit."""
        layers = [layer for _, layer in self.tree()]
        slots = [(layer, name, shape) for layer in layers for name, shape in layer._expected.items()]
        if len(arrays) != len(slots):
            names = ", ".join(name for _, name, _ in slots) or "none"
            raise FastLSTMError(f"{who}: got {len(arrays)} arrays; expected {len(slots)}: {names}")
        for i, (array, (layer, name, shape)) in enumerate(zip(arrays, slots, strict=True)):
            if array.shape != shape or array.dtype.kind not in "biuf":
                where = f"{layer.name}/{name}" if layer is not self else name
                raise FastLSTMError(
                    f"{who}: array {i}, {where}, is {array.dtype} of shape {array.shape}; "
                    f"expected numbers of shape {shape}"
                )
        given = iter(arrays)
        for layer in layers:
            layer.store(
                {name: np.array(next(given), layer.dtype, order="C", copy=True) for name in layer._expected}
            )

    def _input_shape_from(self, arrays: list[Array]) -> Shape | None:
        """The input shape that these weights imply, or None where they do not tell."""
        return None

    def count_params(self) -> int:
        """Number of scalars in the weights; the layer must be built."""
        if not self.built:
            raise FastLSTMError(f"{self.who} is not built: count_params needs weights; call build(input_shape) first")
        return sum(int(w.size) for _, layer in self.tree() for w in layer._weights.values())

    # -- configuration --------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in Keras's names and serialised form."""
        return {"name": self.name, "trainable": self.trainable, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """A new, unbuilt layer from :meth:`get_config`'s result, ours or Keras's."""
        return cls(**config)

    # -- running --------------------------------------------------------------------------------

    def call(self, inputs: Any, /, *, mask: Any = None) -> Any:
        """Compute the layer; the public way in is calling the layer itself."""
        raise NotImplementedError

    def _refuse_training(self, training: bool) -> None:
        """Refuse ``training=True`` where it would change the result."""

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask that travels on with the output, or None."""
        return mask

    def call_masked(self, args: tuple[Any, ...], kwargs: dict[str, Any], mask: Any, previous: Any) -> tuple[Any, Any]:
        """The output and the masks that travel on with it.

        Parameters
        ----------
        args, kwargs
            Of ``call``, but for the mask.
        mask, previous
            The mask that the layer is to use, and the one that its first input came with.
        """
        y = self.call(*args, mask=mask, **kwargs)
        return y, self.compute_mask(args[0], previous) if self.supports_masking else None

    def __call__(self, inputs: Any, *args: Any, mask: Any = None, training: bool = False, **kwargs: Any) -> Any:
        """Run the layer on arrays, or draw it into a graph where tensors of one are given.

        Parameters
        ----------
        inputs : array_like or Tensor, or a list of them
        mask : array_like of bool, or a list of them, optional
            Which steps count. Arrays carry no mask with them, so that of a layer before is to be given.
        training : bool
            Accepted for Keras's sake, and refused where it would change the result.
        """
        self._refuse_training(training)
        if mask is not None:
            kwargs["mask"] = mask
        if tensors_in(inputs, args, kwargs):
            outputs = self.connect((inputs, *args), kwargs)
            self.fill()
            return outputs
        arrays = tuple(self._as_arrays(arg) for arg in (inputs, *args))
        if not self.built:
            self.build(self.input_shape_of(arrays, kwargs))
        if mask is not None:
            kwargs["mask"] = map_structure(lambda m: None if m is None else np.asarray(m, bool), mask)
        return self.call(*arrays, **kwargs)

    def _as_arrays(self, arg: Any) -> Any:
        """An argument of a call, or each leaf of it where it is a nest of arrays."""
        if type(arg) is np.ndarray:
            return arg
        what = f"{self.who}: input"
        return map_structure(lambda leaf: as_array(leaf, what), arg) if _is_nest(arg) else as_array(arg, what)

    def connect(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Draw a call into a graph: the tensors that it will give. Weights are settled, not yet allocated."""
        try:
            signature_of(type(self).call).bind(self, *args, **{**kwargs, "mask": None})  # as the graph will call it
        except TypeError as error:
            raise FastLSTMError(f"{self.who}: cannot be called like this in a model: {error}") from None
        self.prepare(self.input_shape_of(args, kwargs))
        return Node(self, args, kwargs, self.output_shape_of(args, kwargs)).outputs

    def input_shape_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What ``prepare`` takes for a call with these tensors or arrays."""
        return map_structure(lambda leaf: tuple(leaf.shape), args[0])

    def output_shape_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Shapes of what a call with these tensors gives."""
        return self.compute_output_shape(self.input_shape_of(args, kwargs))

    def precision_report(self, *args: Any, **kwargs: Any) -> PrecisionReport:
        """What the precisions of the recurrent layers in it cost and save, on these arguments of a call.

        Returns
        -------
        PrecisionReport
            How far each output lies from what it is with all weights in float32, and the memory of both. Printed,
            a table. The layer itself is only read, so that others may call it meanwhile.
        """
        return report(
            self,
            lambda twin: twin(*args, **kwargs),
            lambda count: [f"{self.name}[{i}]" if count > 1 else self.name for i in range(count)],
        )

    @property
    def class_name(self) -> str:
        """The class's name in a configuration: Keras's."""
        return type(self).__name__ if self.saved_as is None else str(self.saved_as["class_name"])

    @property
    def who(self) -> str:
        """The class and the name, for errors."""
        return f"{type(self).__name__} {self.name!r}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_nodes": []}  # a copy belongs to no graph

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _is_nest(value: Any) -> bool:
    """Whether this is several arrays, and not one written as a list of numbers."""
    if isinstance(value, list | tuple):
        return any(isinstance(part, np.ndarray) or part is None for part in value)
    return isinstance(value, dict)
