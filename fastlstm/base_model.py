"""What all models share: prediction in batches, their weights together, the summary, saving."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import console, saving
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.core import positive


class BaseModel:
    """A model over layers; a subclass says how they are connected (``_fitted``, ``_run``, ``get_config``)."""

    name: str
    trainable: bool
    built: bool
    _shapes: list[Any]  # once built: the input's shape, then the shape of each layer's output

    @property
    def layers(self) -> list[Layer]:
        """The layers, in order, without the InputLayer."""
        raise NotImplementedError

    @property
    def input_shape(self) -> Shape:
        """Shape of the input, with None for sizes that may vary."""
        if not self.built:
            raise AttributeError(f"{self._who} has no input shape yet: it is not built")
        shape: Shape = self._shapes[0]
        return shape

    @property
    def output_shape(self) -> Any:
        """Shape of the output; a list of shapes where the last layer has several outputs."""
        if not self.built:
            raise AttributeError(f"{self._who} has no output shape yet: it is not built")
        shape = self._shapes[-1]
        return list(shape) if has_several(shape) else shape

    @property
    def _who(self) -> str:
        return f"{type(self).__name__} {self.name!r}"

    def get_config(self) -> dict[str, Any]:
        """The model's configuration, as Keras's ``get_config`` has it."""
        raise NotImplementedError

    # -- running --------------------------------------------------------------------------------

    def _array(self, inputs: ArrayLike) -> Array:
        """The input as an array of numbers. A list of one array is that array, as in Keras."""
        if isinstance(inputs, list | tuple) and len(inputs) == 1 and isinstance(inputs[0], np.ndarray):
            inputs = inputs[0]
        try:
            x = np.asarray(inputs)
        except (TypeError, ValueError) as error:
            raise FastLSTMError(f"{self._who}: input is not an array of numbers ({error})") from None
        if x.dtype.kind not in "biuf" or not x.ndim:
            raise FastLSTMError(f"{self._who}: input is {x.dtype} of shape {x.shape}; expected numbers")
        return x

    def _fitted(self, inputs: ArrayLike, batch_size: int | None = None) -> Array:
        """The input as an array that the weights fit."""
        raise NotImplementedError

    def _run(self, inputs: Array, mask: Array | None) -> Any:
        """The output for one batch of fitted input."""
        raise NotImplementedError

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
        if steps is not None or callbacks is not None:
            raise FastLSTMError(f"{self._who}: predict takes no steps and no callbacks; leave them out")
        if verbose not in ("auto", 0, 1, 2):
            raise FastLSTMError(f"{self._who}: predict: verbose is {verbose!r}; expected 'auto', 0, 1 or 2")
        size = 32 if batch_size is None else positive(batch_size, f"{self._who}: predict: batch_size")
        x = self._fitted(x, size)
        if 0 < len(x) <= size and verbose != 2:
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
            several = isinstance(batch, list)
            parts = batch if several else [batch]
            if not outputs:
                outputs = [np.empty((rows, *part.shape[1:]), part.dtype) for part in parts]
            for output, part in zip(outputs, parts, strict=True):
                output[start : start + size] = part
            progress.step(step + 1)
        return outputs if several else outputs[0]

    def _empty(self, shape: tuple[int, ...]) -> Any:
        """The output for no rows."""
        out: Any = shape
        for layer in self.layers:
            out = layer.compute_output_shape(out)
        dtype = self.layers[-1].dtype
        return [np.empty(s, dtype) for s in out] if has_several(out) else np.empty(out, dtype)

    def reset_states(self) -> None:
        """Set the state of every stateful layer back to zeros."""
        for layer in self.layers:
            if getattr(layer, "stateful", False):
                layer.reset_state()  # type: ignore[attr-defined]

    reset_state = reset_states

    # -- weights --------------------------------------------------------------------------------

    def get_weights(self) -> list[Array]:
        """Copies of all weights, layer by layer, in Keras's order."""
        return [w for layer in self.layers for w in layer.get_weights()]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Replace all weights at once.

        Parameters
        ----------
        weights : sequence of array_like
            In the order of :meth:`get_weights`, which is Keras's.

        Raises
        ------
        FastLSTMError
            Wrong number of arrays or a wrong shape; the model is then unchanged.
        """
        who = f"{self._who}: set_weights"
        if not self.built:
            raise FastLSTMError(f"{who}: the model has no weights yet; call build(input_shape) first")
        arrays = [np.asarray(w) for w in weights]
        shapes = [(layer.name, w.shape) for layer in self.layers for w in layer._weights.values()]
        if len(arrays) != len(shapes):
            raise FastLSTMError(f"{who}: got {len(arrays)} arrays; expected {len(shapes)}")
        for i, (array, (name, shape)) in enumerate(zip(arrays, shapes, strict=True)):
            if array.shape != shape or array.dtype.kind not in "biuf":
                raise FastLSTMError(
                    f"{who}: array {i}, for layer {name!r}, is {array.dtype} of shape {array.shape}; "
                    f"expected numbers of shape {shape}"
                )
        for layer in self.layers:
            count = len(layer._weights)
            layer.set_weights(arrays[:count])
            arrays = arrays[count:]

    def count_params(self) -> int:
        """Number of scalars in all weights; the model must be built."""
        if not self.built:
            raise FastLSTMError(f"{self._who} is not built; call build(input_shape) first")
        return sum(layer.count_params() for layer in self.layers)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one ``.npz`` file, which ``load_model`` reads with NumPy alone.

        Parameters
        ----------
        path : str or path-like
            Must end in ``.npz``; an existing file is replaced once the new one is complete.
        """
        if not self.built:
            raise FastLSTMError(f"{self._who} is not built; call build(input_shape) first")
        saving.write(path, type(self).__name__, self.get_config(), [layer._weights for layer in self.layers])

    def summary(self, line_length: int | None = None, print_fn: Callable[[str], Any] | None = None) -> None:
        """Print the layers, their output shapes and their numbers of weights, as Keras lays them out.

        Parameters
        ----------
        line_length : int, optional
            Width of the table. Default 88, or what the terminal has room for.
        print_fn : callable, optional
            Receives the text in place of the standard output.
        """
        shapes = self._shapes[1:] if self.built else [None] * len(self.layers)
        rows = [
            console.Row(
                label=f"{layer.name} ({type(layer).__name__})",
                shape=list(shape) if has_several(shape) else shape,
                params=layer.count_params() if layer.built else None,
                itemsize=np.dtype(layer.dtype).itemsize,
                trainable=self.trainable and layer.trainable,
            )
            for layer, shape in zip(self.layers, shapes, strict=True)
        ]
        (console.write if print_fn is None else print_fn)(console.summary(self.name, rows, line_length))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def has_several(output_shape: Any) -> bool:
    """Whether a layer's output shape is that of several outputs, as with ``return_state``."""
    return bool(output_shape) and isinstance(output_shape[0], tuple | list)
