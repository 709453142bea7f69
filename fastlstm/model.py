"""A linear stack of layers run as a model: Sequential."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import console
from fastlstm.errors import FastLSTMError, UnsupportedLayerError
from fastlstm.layers.base import Array, Layer, Shape, auto_name
from fastlstm.layers.core import Activation, Dense, InputLayer, positive
from fastlstm.layers.embedding import Embedding
from fastlstm.layers.regularization import Dropout
from fastlstm.layers.rnn import LSTM

#: Every class that a configuration may name. Nothing else is ever looked up.
LAYERS: dict[str, type[Layer]] = {
    cls.__name__: cls for cls in (InputLayer, LSTM, Dense, Embedding, Dropout, Activation)
}


def layer_from_config(node: dict[str, Any]) -> Layer:
    """The unbuilt layer that a Keras configuration node describes.

    Parameters
    ----------
    node : dict
        ``{"module", "class_name", "config", "registered_name", ...}``, as Keras writes it.

    Raises
    ------
    UnsupportedLayerError
        The class is not one of Keras's that fastlstm computes.
    FastLSTMError
        The configuration is not one that the class takes.
    """
    class_name, config = node.get("class_name"), node.get("config")
    if not isinstance(config, dict):
        raise FastLSTMError(f"layer {class_name!r}: config is a {type(config).__name__}; expected an object")
    who = f"layer {config.get('name')!r}"
    module, registered = node.get("module"), node.get("registered_name")
    own = module is None or module == "keras" or str(module).startswith("keras.")
    if class_name not in LAYERS or not own or registered not in (None, class_name):
        raise UnsupportedLayerError(
            f"{who} is a {registered or class_name!r} from {module or 'keras'!r}; fastlstm computes Keras's "
            f"{', '.join(LAYERS)}: run this layer outside the model, or replace it by these"
        )
    try:
        return LAYERS[class_name].from_config(config)
    except TypeError as error:
        raise FastLSTMError(f"{who}: {class_name} cannot be made from its config: {error}") from None


class Sequential:
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

    def __init__(self, layers: Iterable[Layer] | None = None, trainable: bool = True, name: str | None = None) -> None:
        self.name = auto_name("Sequential") if name is None else name
        self.trainable = trainable
        self.built = False
        self._layers: list[Layer] = []
        self._shapes: list[Any] = []  # of each layer's output, in step with _layers once built
        self._fitting: Shape | None = None  # the sample shape of the last input that was checked
        self._lock = threading.RLock()
        for layer in layers or ():
            self._append(layer)
        self._build_if_told()

    # -- building -------------------------------------------------------------------------------

    def add(self, layer: Layer) -> None:
        """Put a layer on top of the stack."""
        with self._lock:
            self._append(layer)
            self._build_if_told()

    def _append(self, layer: Layer) -> None:
        who = f"Sequential {self.name!r}"
        if not isinstance(layer, Layer):
            raise FastLSTMError(f"{who}: got {layer!r}; expected a fastlstm layer")
        if any(layer.name == other.name for other in self._layers):
            raise FastLSTMError(f"{who} has a layer named {layer.name!r} already; give each its own name")
        if isinstance(layer, InputLayer) and self._layers:
            raise FastLSTMError(f"{who}: an InputLayer can only come first")
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
        who = f"Sequential {self.name!r}"
        with self._lock:
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
                raise FastLSTMError(f"{who}: build got {tuple(input_shape)}; its InputLayer says {first.batch_shape}")
            shapes: list[Any] = [first.batch_shape]
            for layer in layers[1:]:
                if isinstance(shapes[-1], list):
                    raise FastLSTMError(f"{who}: layer {layer.name!r} follows one with several outputs (return_state)")
                if not layer.built:
                    layer.build(shapes[-1])
                elif not _fits(layer, shapes[-1]):
                    raise FastLSTMError(f"{who}: layer {layer.name!r} has weights for other inputs than {shapes[-1]}")
                shapes.append(layer.compute_output_shape(shapes[-1]))
            self._layers, self._shapes, self._fitting, self.built = layers, shapes, None, True

    @property
    def layers(self) -> list[Layer]:
        """The layers, without the InputLayer."""
        return self._layers[1:] if self._layers and isinstance(self._layers[0], InputLayer) else self._layers[:]

    @property
    def input_shape(self) -> Shape:
        """Shape of the input, with None for sizes that may vary."""
        if not self.built:
            raise AttributeError(f"Sequential {self.name!r} has no input shape yet: it is not built")
        return self._shapes[0]

    @property
    def output_shape(self) -> Any:
        """Shape of the output; a list of shapes where the last layer has several outputs."""
        if not self.built:
            raise AttributeError(f"Sequential {self.name!r} has no output shape yet: it is not built")
        return self._shapes[-1]

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
            raise FastLSTMError(f"Sequential {self.name!r}: fastlstm runs trained models; training must be False")
        return self._run(self._fitted(inputs), None if mask is None else np.asarray(mask, dtype=bool))

    def predict_on_batch(self, x: ArrayLike) -> Any:
        """Run the model on one batch."""
        return self._run(self._fitted(x), None)

    def predict(
        self,
        x: ArrayLike,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: None = None,
        callbacks: None = None,
    ) -> Any:
        """Run the model over many rows, a batch at a time.

        Parameters
        ----------
        x : array_like
            Shape ``input_shape``, with any number of rows.
        batch_size : int, optional
            Rows at a time. Default 32.
        verbose : {"auto", 0, 1, 2}
            0 is silent; 1 and ``"auto"`` show a bar where the standard error is a terminal and there
            is more than one batch; 2 writes one line to it at the end.
        steps, callbacks
            Not supported: an error unless None.

        Returns
        -------
        ndarray, or a list of them where the last layer has several outputs
        """
        who = f"Sequential {self.name!r}: predict"
        if steps is not None or callbacks is not None:
            raise FastLSTMError(f"{who} takes arrays only, so neither steps nor callbacks; leave them out")
        if verbose not in ("auto", 0, 1, 2):
            raise FastLSTMError(f"{who}: verbose is {verbose!r}; expected 'auto', 0, 1 or 2")
        size = 32 if batch_size is None else positive(batch_size, f"{who}: batch_size")
        x = _array(x, who)
        rows = x.shape[0] if x.ndim else 0
        x = self._fitted(x, size)
        if 0 < rows <= size and verbose != 2:
            return self._run(x, None)
        return self._run_batches(x, size, verbose)

    def _run_batches(self, x: Array, size: int, verbose: str | int) -> Any:
        rows = len(x)
        if not rows:
            return self._empty(x.shape)
        progress = console.Progress(-(-rows // size), verbose)
        outputs: list[Array] = []
        several = False
        for step, start in enumerate(range(0, rows, size)):
            batch = self._run(x[start : start + size], None)
            several = isinstance(batch, list | tuple)
            parts = batch if several else [batch]
            if not outputs:
                outputs = [np.empty((rows, *part.shape[1:]), part.dtype) for part in parts]
            for output, part in zip(outputs, parts, strict=True):
                output[start : start + size] = part
            progress.step(step + 1)
        return outputs if several else outputs[0]
