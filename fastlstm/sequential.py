"""A linear stack of layers run as a model: Sequential."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Layer
from fastlstm.layers.core import InputLayer
from fastlstm.layers.graph import Tensor
from fastlstm.layers.serialization import LAYERS, layer_from_config, layer_to_config
from fastlstm.model import Model
from fastlstm.program import Program

_building = threading.RLock()  # one for all models: a model then holds nothing that cannot be copied


class Sequential(Model):
    """Layers that run one after the other. Arguments and methods are those of ``keras.Sequential``.

    Parameters
    ----------
    layers : iterable of Layer, optional
        An InputLayer (or what ``Input`` gives) in front lets the model build at once; without one it
        builds at its first call.
    trainable : bool
        Kept for ``get_config`` and ``summary``.
    name : str, optional
    """

    def __init__(
        self, layers: Iterable[Any] | None = None, trainable: bool = True, name: str | None = None
    ) -> None:
        super().__init__(trainable=trainable, name=name)
        self._layers: list[Layer] = []
        for layer in layers or ():
            self._append(layer)
        self._build_if_told()

    # -- building -----------------------------------------------------------------------------------

    def add(self, layer: Any) -> None:
        """Put a layer on top of the stack."""
        with _building:
            self._append(layer)
            self._build_if_told()

    def pop(self) -> Layer:
        """Take the last layer off the stack."""
        with _building:
            if not self.layers:
                raise FastLSTMError(f"{self.who} has no layers to pop")
            layer = self._layers.pop()
            self._forget()
            self._build_if_told()
            return layer

    def _append(self, layer: Any) -> None:
        who = self.who
        if isinstance(layer, Tensor) and isinstance(layer.layer, InputLayer):
            layer = layer.layer
        if not isinstance(layer, Layer):
            raise FastLSTMError(f"{who}: got {layer!r}; expected a fastlstm layer")
        if any(layer.name == other.name for other in self._layers):
            raise FastLSTMError(f"{who} has a layer named {layer.name!r} already; give each its own name")
        if isinstance(layer, InputLayer) and self._layers:
            raise FastLSTMError(f"{who}: an InputLayer can only come first")
        if not self._layers and layer.sample_shape is not None:
            self._layers.append(InputLayer(shape=layer.sample_shape, dtype=layer.dtype))
        self._layers.append(layer)
        self._forget()

    def _forget(self) -> None:
        self.built, self._program, self._input_shape = False, None, None

    def _build_if_told(self) -> None:
        first = self._layers[0] if self._layers else None
        if len(self._layers) > 1 and isinstance(first, InputLayer):
            self.build()
        elif len(self._layers) > 1 and isinstance(first, Model) and first._program is not None:
            self.build(first.input_shape)

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Create the weights of all layers that have none.

        Parameters
        ----------
        input_shape : tuple of int or None, optional
            With the batch axis, for example ``(None, 10, 3)``. Needed unless an InputLayer tells.
        """
        with _building:
            self.prepare(None if input_shape is None else tuple(input_shape))
            self.fill()

    def prepare(self, input_shape: Any) -> None:
        who = self.who
        layers = list(self._layers)
        if not layers:
            raise FastLSTMError(f"{who} has no layers; call add(layer) first")
        first = layers[0]
        if not isinstance(first, InputLayer):
            if input_shape is None:
                raise FastLSTMError(f"{who}: build needs an input_shape, or an InputLayer in front")
            first = InputLayer(batch_shape=input_shape, dtype=first.dtype)
            layers.insert(0, first)
        elif self._program is not None and input_shape is not None:
            self.check_input_shape(input_shape)
            return
        elif input_shape is not None and tuple(input_shape) != first.batch_shape:
            raise FastLSTMError(f"{who}: build got {tuple(input_shape)}; its InputLayer says {first.batch_shape}")
        tensor: Any = first.tensor()
        source = tensor
        for layer in layers[1:]:
            if not isinstance(tensor, Tensor):
                raise FastLSTMError(f"{who}: only the last layer may have several outputs")
            tensor = layer.connect((tensor,), {})
        self._layers, self._fitting, self._known = layers, None, None
        self._program = Program(source, tensor, who)
        self._input_shape = first.batch_shape

    @property
    def layers(self) -> list[Layer]:
        """The layers, without the InputLayer."""
        return (
            self._layers[1:] if self._layers and isinstance(self._layers[0], InputLayer) else self._layers[:]
        )

    def program_for(self, inputs: Any, batch_size: int | None = None) -> Program:
        if not self.built:
            with _building:  # of several threads the first builds
                if not self.built:
                    (x,) = inputs if isinstance(inputs, list) and len(inputs) == 1 else (inputs,)
                    shape = np.shape(x)
                    rows = shape[0] if batch_size is None else min(shape[0], batch_size)
                    self.build(tuple(size or None for size in (rows, *shape[1:])))
        return self.program

    # -- configuration ------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The model as Keras's ``Sequential.get_config`` has it."""
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable, "dtype": "float32"}
        config["layers"] = [layer_to_config(layer) for layer in self._layers]
        if self._program is not None:
            config["build_input_shape"] = self._program.entries[0].batch_shape
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], fill: bool = True) -> Sequential:
        """A model from :meth:`get_config`'s result, ours or Keras's; with new weights, or none yet."""
        layers = [layer_from_config(node) for node in config["layers"]]
        model = cls(name=config.get("name"), trainable=config.get("trainable", True))
        for layer in layers:
            model._append(layer)
        shape = config.get("build_input_shape")
        if len(layers) > 1 and isinstance(layers[0], InputLayer):
            model.prepare(None)
        elif layers and shape:
            model.prepare(tuple(shape))
        if fill and model._program is not None:
            model.fill()
        return model


LAYERS["Sequential"] = Sequential
