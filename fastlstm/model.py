"""A linear stack of layers run as a model: Sequential."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm.base_model import BaseModel, has_several
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer, Shape, auto_name
from fastlstm.layers.core import InputLayer, positive
from fastlstm.layers.serialization import layer_from_config, layer_to_config
from fastlstm.layers.stack import run_stack, stacks_of
from fastlstm.model_stream import ModelStream

_building = threading.RLock()  # one for all models: a model then holds nothing that cannot be copied


class Sequential(BaseModel):
    """Layers that run one after the other. Arguments and methods are those of ``keras.Sequential``.

    Parameters
    ----------
    layers : iterable of Layer, optional
        An InputLayer in front lets the model build at once; without one it builds at its first call.
    trainable : bool
        Kept for ``get_config`` and ``summary``.
    name : str, optional

    Notes
    -----
    One model may be called from any number of threads at once, unless a layer is stateful.
    """

    def __init__(
        self, layers: Iterable[Layer] | None = None, trainable: bool = True, name: str | None = None
    ) -> None:
        self.name = auto_name("Sequential") if name is None else name
        self.trainable = trainable
        self.built = False
        self._layers: list[Layer] = []
        self._shapes: list[Any] = []  # of each layer's output, in step with _layers once built
        self._stacks: list[list[Layer]] = []  # the layers by what runs in one call
        self._fitting: Shape | None = None  # the sample shape of the last input that was checked
        for layer in layers or ():
            self._append(layer)
        self._build_if_told()

    # -- building -------------------------------------------------------------------------------

    def add(self, layer: Layer) -> None:
        """Put a layer on top of the stack."""
        with _building:
            self._append(layer)
            self._build_if_told()

    def _append(self, layer: Layer) -> None:
        who = self._who
        if not isinstance(layer, Layer):
            raise FastLSTMError(f"{who}: got {layer!r}; expected a fastlstm layer")
        if any(layer.name == other.name for other in self._layers):
            raise FastLSTMError(f"{who} has a layer named {layer.name!r} already; give each its own name")
        if isinstance(layer, InputLayer) and self._layers:
            raise FastLSTMError(f"{who}: an InputLayer can only come first")
        if not self._layers and layer.sample_shape is not None:
            self._layers.append(InputLayer(shape=layer.sample_shape, dtype=layer.dtype))
        self._layers.append(layer)
        self.built = False

    def _build_if_told(self) -> None:
        if len(self._layers) > 1 and isinstance(self._layers[0], InputLayer):
            self.build()

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Create the weights of all layers that have none.

        Parameters
        ----------
        input_shape : tuple of int or None, optional
            With the batch axis, for example ``(None, 10, 3)``. Needed unless an InputLayer tells.
        """
        who = self._who
        with _building:
            layers = list(self._layers)
            if not layers:
                raise FastLSTMError(f"{who} has no layers; call add(layer) first")
            first = layers[0]
            if not isinstance(first, InputLayer):
                if input_shape is None:
                    raise FastLSTMError(f"{who}: build needs an input_shape, or an InputLayer in front")
                first = InputLayer(batch_shape=input_shape, dtype=first.dtype)
                layers.insert(0, first)
            elif input_shape is not None and tuple(input_shape) != first.batch_shape:
                raise FastLSTMError(
                    f"{who}: build got {tuple(input_shape)}; its InputLayer says {first.batch_shape}"
                )
            shapes: list[Any] = [first.batch_shape]
            for layer in layers[1:]:
                shape = shapes[-1]
                if has_several(shape):
                    raise FastLSTMError(f"{who}: only the last layer may have several outputs")
                if not layer.built:
                    layer.build(shape)
                elif not _fits(layer, shape):
                    raise FastLSTMError(f"{who}: {layer.name!r} has weights for other inputs than {shape}")
                shapes.append(layer.compute_output_shape(shape))
            self._layers, self._shapes, self._fitting = layers, shapes, None
            self._stacks = stacks_of(layers[1:])
            self._dtype = np.dtype(first.dtype)
            self.built = True

    @property
    def layers(self) -> list[Layer]:
        """The layers, without the InputLayer."""
        return (
            self._layers[1:] if self._layers and isinstance(self._layers[0], InputLayer) else self._layers[:]
        )

    # -- running --------------------------------------------------------------------------------

    def __call__(self, inputs: ArrayLike, mask: ArrayLike | None = None, training: bool = False) -> Any:
        """Run the model on one batch.

        Parameters
        ----------
        inputs : array_like
            Shape ``input_shape``.
        mask : array_like of bool, optional
            Which steps the first layer is to use.
        training : bool
            Only False: fastlstm does not train.

        Returns
        -------
        ndarray, or a list of them where the last layer has several outputs
        """
        if training:
            raise FastLSTMError(f"{self._who}: fastlstm runs trained models; training must be False")
        return self._run(self._fitted(inputs), None if mask is None else np.asarray(mask, dtype=bool))

    def stream(self, batch_size: int = 1) -> ModelStream:
        """The model one step at a time, from states of zeros.

        Parameters
        ----------
        batch_size : int
            Rows that advance together.

        Returns
        -------
        ModelStream
            ``step(x, out=None)``, ``run(block, out=None)``, ``state``, ``reset()``, ``copy()``.

        Raises
        ------
        UnsupportedLayerError
            A layer needs the end of the sequence first (Bidirectional) or returns its states.
        """
        if not self.built:
            raise FastLSTMError(f"{self._who}: stream needs weights; build the model first")
        size = positive(batch_size, f"{self._who}: stream: batch_size")
        last = self._shapes[-1]
        width = last[-1] if not has_several(last) else 0  # several outputs are refused there
        return ModelStream(self.layers, self._dtype, len(self._shapes[0]), width, size)

    def _run(self, inputs: Array, mask: Array | None) -> Any:
        x: Any = inputs
        if x.dtype != self._dtype:
            with np.errstate(all="ignore"):  # as in Keras, a value out of range becomes inf or wraps
                x = x.astype(self._dtype)
        for stack in self._stacks:
            if len(stack) > 1:
                x, mask = run_stack(stack, x, mask)
                continue
            (layer,) = stack
            y = layer.call(x, mask=mask)
            mask = layer.compute_mask(x, mask)
            x = y
        return list(x) if isinstance(x, tuple) else x

    def _fitted(self, inputs: ArrayLike, batch_size: int | None = None) -> Array:
        """The input as an array of the model's rank whose sizes the weights fit."""
        x = self._array(inputs)
        if not self.built:
            self._build_for(x.shape, batch_size)
        expected: Shape = self._shapes[0]
        # As in Keras, a last axis of one may be left out or put in.
        if x.ndim == len(expected) + 1 and x.shape[-1] == 1:
            x = x[..., 0]
        elif x.ndim == len(expected) - 1 and expected[-1] == 1:
            x = x[..., None]
        if x.ndim != len(expected) or (x.shape[1:] != self._fitting and not self._accepts(x.shape)):
            raise FastLSTMError(f"{self._who}: input has shape {x.shape}; expected {expected} (None = any)")
        self._fitting = x.shape[1:]
        return x

    def _build_for(self, shape: tuple[int, ...], batch_size: int | None) -> None:
        with _building:  # of several threads the first builds
            if not self.built:
                rows = shape[0] if batch_size is None else min(shape[0], batch_size)
                self.build(tuple(size or None for size in (rows, *shape[1:])))

    def _accepts(self, shape: Shape) -> bool:
        """Whether the weights fit an input of this shape. As in Keras, other lengths than built for do."""
        sizes: Any = shape
        try:
            for layer in self.layers:
                if not _fits(layer, sizes):
                    return False
                sizes = layer.compute_output_shape(sizes)
        except FastLSTMError:
            return False
        return True

    # -- configuration --------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The model as Keras's ``Sequential.get_config`` has it."""
        shapes = self._shapes if self.built else [None] * len(self._layers)
        inputs = [None, *shapes]
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable, "dtype": "float32"}
        config["layers"] = [layer_to_config(layer, inputs[i]) for i, layer in enumerate(self._layers)]
        if self.built:
            config["build_input_shape"] = self._shapes[0]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sequential:
        """A model with new weights from :meth:`get_config`'s result, ours or Keras's."""
        layers = [layer_from_config(node) for node in config["layers"]]
        model = cls(layers, name=config.get("name"), trainable=config.get("trainable", True))
        if not model.built and config.get("build_input_shape"):
            model.build(config["build_input_shape"])
        return model


def _fits(layer: Layer, input_shape: Shape) -> bool:
    """Whether a built layer's weights have the shapes that this input asks for."""
    return list(layer.weight_shapes(input_shape).values()) == [w.shape for w in layer._weights.values()]
