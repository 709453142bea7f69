"""TimeDistributed: a layer for each step of a sequence by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.recurrent import check_wrapped
from fastlstm.layers.serialization import layer_from_config, layer_to_config
from fastlstm.structure import is_shape


class TimeDistributed(Layer):
    """Apply a layer, or a model, to every step: ``keras.layers.TimeDistributed``.

    Parameters
    ----------
    layer : Layer
        Takes one step of the input, ``(batch, ...)``; not stateful.

    Notes
    -----
    All steps run as one batch. As in Keras, the mask of a step, if the mask has more axes than
    ``(batch, steps)``, is what the layer inside gets.
    """

    supports_masking = True

    def __init__(self, layer: Any, **base: Any) -> None:
        super().__init__(**base)
        if not isinstance(layer, Layer):
            raise FastLSTMError(f"{self.who}: layer is {layer!r}; expected a fastlstm layer")
        if any(getattr(inner, "stateful", False) for _, inner in layer.tree()):
            raise FastLSTMError(f"{self.who}: {layer.who} is stateful, which steps in one batch cannot be")
        check_wrapped(layer, self.who)
        self.layer = layer

    def sublayers(self) -> dict[str, Layer]:
        return {"layer": self.layer}

    def _prepare_sublayers(self, input_shape: Shape) -> None:
        self.layer.prepare(self._step_shape(input_shape))

    def _step_shape(self, input_shape: Shape) -> Shape:
        if not is_shape(input_shape) or len(input_shape) < 3:
            raise FastLSTMError(
                f"{self.who}: input has shape {input_shape}; expected three axes or more: (batch, steps, ...)"
            )
        return (input_shape[0], *input_shape[2:])

    def _input_shape_from(self, arrays: list[Array]) -> Shape | None:
        inner = self.layer._input_shape_from(arrays)
        return None if inner is None else (inner[0], None, *inner[1:])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        inner = self.layer.compute_output_shape(self._step_shape(input_shape))
        if not is_shape(inner):
            raise FastLSTMError(f"{self.who}: {self.layer.who} has several outputs; expected one")
        return (inner[0], input_shape[1], *inner[1:])

    def _refuse_training(self, training: bool) -> None:
        self.layer._refuse_training(training)

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        if inputs.ndim < 3:
            raise FastLSTMError(f"{self.who}: input has shape {inputs.shape}; expected (batch, steps, ...)")
        batch, steps = inputs.shape[:2]
        if mask is not None and mask.shape[:2] != (batch, steps):
            raise FastLSTMError(f"{self.who}: mask has shape {mask.shape}; expected ({batch}, {steps}, ...)")
        folded = np.ascontiguousarray(inputs).reshape(batch * steps, *inputs.shape[2:])
        inner = mask.reshape(batch * steps, *mask.shape[2:]) if mask is not None and mask.ndim > 2 else None
        y, _ = self.layer.call_masked((folded,), {}, inner, inner)
        if isinstance(y, tuple | list | dict):
            raise FastLSTMError(f"{self.who}: {self.layer.who} has several outputs; expected one")
        whole: Array = y.reshape(batch, steps, *y.shape[1:])
        return whole

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": layer_to_config(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """A new, unbuilt layer from :meth:`get_config`'s result, ours or Keras's."""
        return cls(**{**config, "layer": layer_from_config(config.get("layer"))})
