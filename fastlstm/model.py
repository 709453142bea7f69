"""What all models share: running, prediction in batches, the summary, saving."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fastlstm import console, saving
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Layer, auto_name, snake_case
from fastlstm.layers.core import InputLayer, positive
from fastlstm.layers.graph import tensors_in
from fastlstm.model_stream import ModelStream
from fastlstm.precision import PrecisionReport, report
from fastlstm.prediction import batches_of, is_stream, predict
from fastlstm.program import Program, Slot
from fastlstm.ragged_program import nested, prepare_rows, rows_of, run_prepared
from fastlstm.structure import leaves_like, map_structure, unflatten, unwrapped
from fastlstm.summaries import summary_rows


class Model(Layer):
    """A model over layers. Arguments and methods are those of ``keras.Model``.

    ``Model(inputs, outputs)`` makes a :class:`Functional` model from tensors.

    Parameters
    ----------
    inputs, outputs : Tensor, or a list, tuple or dict of them
        What ``Input`` gave, and what layers made of it.
    trainable : bool
        Kept for ``get_config`` and ``summary``.
    name : str, optional

    Notes
    -----
    One model may be called from any number of threads at once, unless a layer is stateful.
    """

    holds_layers = True
    module = "keras"
    _program: Program | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Model:
        if cls is Model:
            from fastlstm.functional import Functional  # here, since it is a Model itself

            cls = Functional
        return super().__new__(cls)

    def __init__(self, trainable: bool = True, name: str | None = None) -> None:
        super().__init__(trainable=trainable, name=auto_name(type(self).__name__) if name is None else name)
        self._program = None
        #: Version of the Keras that wrote the file the model was loaded from, if it was.
        self.written_by: str | None = None
        self._known: Any = None  # shape and type of the last lone input that was right as it came
        self._fitting: Any = None  # the shapes of the last inputs that were checked

    # -- what it is made of -------------------------------------------------------------------------

    @property
    def program(self) -> Program:
        """The calls that the model consists of."""
        if self._program is None:
            raise FastLSTMError(f"{self.who} is not built; call build(input_shape) first")
        return self._program

    @property
    def layers(self) -> list[Layer]:
        """The layers in Keras's order."""
        raise NotImplementedError

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of this name, or at this place in ``layers``."""
        layers = self.layers
        if index is not None and -len(layers) <= index < len(layers):
            return layers[index]
        for layer in layers:
            if name is not None and layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in layers)
        raise FastLSTMError(f"{self.who}: no layer {name if index is None else index!r}; it has {names}")

    def sublayers(self) -> dict[str, Layer]:
        found: dict[str, Layer] = {}
        seen: dict[str, int] = {}
        for layer in self.layers:
            kind = snake_case(layer.class_name)
            number = seen[kind] = seen.get(kind, -1) + 1
            found[f"layers/{kind}_{number}" if number else f"layers/{kind}"] = layer
        return found

    @property
    def input_names(self) -> list[str]:
        """Names of the flat inputs."""
        return [layer.name for layer in self.program.entries]

    @property
    def input_shape(self) -> Any:
        """Shape of the input, with None for sizes that may vary; a nest of shapes for several."""
        return self._shape_of("inputs")

    @property
    def output_shape(self) -> Any:
        """Shape of the output; a nest of shapes where there are several."""
        return self._shape_of("outputs")

    def _shape_of(self, end: str) -> Any:
        if self._program is None:
            raise AttributeError(f"{self.who} has no shapes yet: it is not built")
        structure = getattr(self._program, end)
        if isinstance(structure, list) and len(structure) == 1:
            (structure,) = structure
        shapes = self._program.shapes
        found = map_structure(lambda slot: shapes[slot.number], structure)
        return list(found) if isinstance(structure, tuple) else found

    @classmethod
    def from_config(cls, config: dict[str, Any], fill: bool = True) -> Model:
        """A model from :meth:`get_config`'s result, ours or Keras's; with new weights, or none yet."""
        raise NotImplementedError

    # -- as a layer ---------------------------------------------------------------------------------

    def weight_shapes(self, input_shape: Any) -> dict[str, tuple[int, ...]]:
        return {}

    def compute_output_shape(self, input_shape: Any) -> Any:
        return unwrapped(self.program.output_shapes(input_shape))

    def check_input_shape(self, input_shape: Any) -> None:
        self.program.output_shapes(input_shape)

    def call(self, inputs: Any, *, mask: Any = None) -> Any:
        return self.call_masked((inputs,), {}, mask, mask)[0]

    def call_masked(self, args: tuple[Any, ...], kwargs: dict[str, Any], mask: Any, previous: Any) -> tuple[Any, Any]:
        # as in Keras, the masks that travel on are those of the layers inside
        y, masks = self.program.run(self._fitted(args[0]), mask)
        return unwrapped(y), unwrapped(masks)

    def __call__(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:  # type: ignore[override]
        """Run the model on one batch, or draw it into a graph where tensors of one are given.

        Parameters
        ----------
        inputs : array_like, or a list or dict of them
            Shape ``input_shape``. For a model of one input also a list of arrays of different lengths, one a row:
            (steps, ...).
        mask : array_like of bool, or a list of them, optional
            Which steps the first layers are to use.
        training : bool
            Only False: fastlstm does not train.

        Returns
        -------
        ndarray, or a nest of them as the model's outputs are one
            For arrays of different lengths, a list of arrays in the place of each output that has as many steps as
            the row.

        Raises
        ------
        UnsupportedLayerError
            A layer would see the padding between rows of different lengths; it is named.
        """
        if training:
            raise FastLSTMError(f"{self.who}: fastlstm runs trained models; training must be False")
        if type(inputs) is not np.ndarray:
            if tensors_in(inputs):
                outputs = self.connect((inputs,), {} if mask is None else {"mask": mask})
                self.fill()
                return outputs
            rows = rows_of(self, inputs)
            if rows is not None and mask is not None:
                raise FastLSTMError(f"{self.who}: arrays of different lengths say what counts; leave the mask out")
            if rows is not None:
                return nested(self, run_prepared(self, prepare_rows(self, rows)))
        if mask is not None:
            mask = map_structure(lambda m: None if m is None else np.asarray(m, bool), _one_or_more(mask))
        program = self.program_for(inputs)
        y, _ = program.run(self._fitted(inputs), mask)
        return unwrapped(y)

    # -- inputs -------------------------------------------------------------------------------------

    def program_for(self, inputs: Any, batch_size: int | None = None) -> Program:
        """The program, built for inputs like these where it was not yet."""
        return self.program

    def _fitted(self, inputs: Any) -> Any:
        """The inputs as the nest of arrays that the program reads, of shapes and types that fit."""
        if type(inputs) is np.ndarray and (inputs.shape[1:], inputs.dtype) == self._known:
            return inputs  # in a tenth of the time that the checks below take
        program = self.program
        arrays = self.flat_inputs(inputs)
        arrays = [self._cast(x, layer) for x, layer in zip(arrays, program.entries, strict=True)]
        if not isinstance(program.inputs, Slot):
            return unflatten(program.inputs, arrays)
        if arrays[0] is inputs:
            self._known = inputs.shape[1:], inputs.dtype
        return arrays[0]

    def flat_inputs(self, inputs: Any) -> list[Any]:
        """The inputs as arrays in flat order, of shapes that the weights fit; dtypes as they came.

        Raises
        ------
        FastLSTMError
            Another structure, no numbers, or a shape that does not fit.
        """
        program, layers = self.program, self.program.entries
        given = self._structured(inputs)
        arrays = []
        for x, layer in zip(given, layers, strict=True):
            arrays.append(self._adjusted(x, layer))
        shapes = [None if x is None else x.shape[1:] for x in arrays]
        if shapes != self._fitting:
            full = [layer.batch_shape if x is None else x.shape for x, layer in zip(arrays, layers, strict=True)]
            try:
                program.output_shapes(full[0] if isinstance(program.inputs, Slot) else unflatten(program.inputs, full))
            except FastLSTMError as error:
                expected = ", ".join(str(layer.batch_shape) for layer in layers)
                found = ", ".join(str(shape) for shape in full)
                raise FastLSTMError(
                    f"{self.who}: input has shape {found}; expected {expected} (None = any): {error}"
                ) from None
            self._fitting = shapes
        rows = {len(x) for x in arrays if x is not None}
        if len(rows) > 1:
            raise FastLSTMError(f"{self.who}: inputs have {sorted(rows)} rows; expected as many in each")
        return arrays

    def _structured(self, inputs: Any) -> list[Any]:
        """The flat inputs, whether they came by name, in a list or alone."""
        structure = self.program.inputs
        names = self.input_names
        try:
            if isinstance(inputs, dict):
                if isinstance(structure, dict):
                    return leaves_like(structure, inputs)
                return [inputs[name] for name in names]
            if len(names) == 1:
                alone = isinstance(inputs, list | tuple) and len(inputs) == 1 and hasattr(inputs[0], "shape")
                return [inputs[0] if alone and not self._is_row(inputs[0]) else inputs]
            return leaves_like(structure, inputs)
        except (KeyError, ValueError, TypeError, IndexError):
            pass
        if isinstance(inputs, list | tuple) and isinstance(structure, dict) and len(inputs) == len(names):
            return list(inputs)
        found = f"{len(inputs)} of {type(inputs).__name__}" if hasattr(inputs, "__len__") else type(inputs).__name__
        raise FastLSTMError(f"{self.who}: got {found}; expected {len(names)} inputs: {', '.join(names)}")

    def _is_row(self, x: Any) -> bool:
        """Whether this lacks the batch axis of the one input, and not a last axis of one."""
        (entry,) = self.program.entries
        return len(x.shape) == len(entry.batch_shape) - 1 and entry.batch_shape[-1] != 1

    def _adjusted(self, x: Any, layer: InputLayer) -> Any:
        """One input as an array of the rank that the model has."""
        if x is None and layer.optional:
            return None
        who = self.who if len(self.input_names) == 1 else f"{self.who}, input {layer.name!r}"
        try:
            x = np.asarray(x)
        except (TypeError, ValueError) as error:
            raise FastLSTMError(f"{who}: input is not an array of numbers ({error})") from None
        if x.dtype.kind not in "biuf" or not x.ndim:
            raise FastLSTMError(f"{who}: input is {x.dtype} of shape {x.shape}; expected numbers")
        expected = layer.batch_shape
        # as in Keras, a last axis of one may be left out or put in
        if x.ndim == len(expected) + 1 and x.shape[-1] == 1:
            return x[..., 0]
        if x.ndim == len(expected) - 1 and expected[-1] == 1:
            return x[..., None]
        if x.ndim != len(expected):
            raise FastLSTMError(f"{who}: input has shape {x.shape}; expected {expected} (None = any)")
        return x

    @staticmethod
    def _cast(x: Any, layer: InputLayer) -> Any:
        if x is None or x.dtype == layer.dtype:
            return x
        with np.errstate(all="ignore"):  # as in Keras, a value out of range becomes inf or wraps
            return x.astype(layer.dtype)

    # -- prediction ---------------------------------------------------------------------------------

    def predict_on_batch(self, x: Any) -> Any:
        """Run the model on one batch."""
        return self(x)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Iterable[Any] | None = None,
    ) -> Any:
        """Run the model over many rows, a batch at a time.

        Parameters
        ----------
        x : array_like, a list or dict of them, or an iterable of batches
            Shape ``input_shape``, with any number of rows. Arrays may be memory-mapped: only a batch at a
            time is read. An iterator yields batches, alone or as ``(x,)``, ``(x, y)`` or ``(x, y, weights)``
            of which only x is used. A list of arrays of different lengths, as the model itself takes it, is
            sorted by length first, so that the rows of a batch differ little; the results come in its own order.
        batch_size : int, optional
            Rows at a time. Default 32; not to be given with an iterator.
        verbose : {"auto", 0, 1, 2}
            0 is silent; 1 and ``"auto"`` show a bar where the standard error is a terminal and there
            is more than one batch; 2 writes one line to it at the end.
        steps : int, optional
            Batches to run at most; needed for an iterator that does not end.
        callbacks : iterable, optional
            Objects with any of Keras's ``on_predict_begin(logs)``, ``on_predict_batch_begin(batch, logs)``,
            ``on_predict_batch_end(batch, logs)`` (``logs["outputs"]`` holds the batch's output) and
            ``on_predict_end(logs)``.

        Returns
        -------
        ndarray, or a nest of them as the model's outputs are one
        """
        return predict(self, x, batch_size, verbose, steps, callbacks)

    def precision_report(self, x: Any, batch_size: int | None = None, steps: int | None = None) -> PrecisionReport:
        """What the precisions of the recurrent layers cost and save on some inputs.

        Parameters
        ----------
        x, batch_size, steps
            As of :meth:`predict`. Batches of an iterator are kept until both models have seen them.

        Returns
        -------
        PrecisionReport
            How far each output lies from what it is with all weights in float32, and the memory of both. Printed,
            a table. The model itself is only read, so that others may call it meanwhile.
        """
        who = f"{self.who}: precision_report"
        most = None if steps is None else positive(steps, f"{who}: steps")
        batches = list(batches_of(x, most, who)) if is_stream(x) else None

        def run(twin: Any) -> Any:
            return twin.predict(x if batches is None else iter(batches), batch_size, 0, steps)

        return report(self, run, lambda _: self.program.output_names())

    def stream(self, batch_size: int = 1) -> ModelStream:
        """The model one step at a time, from states of zeros.

        Parameters
        ----------
        batch_size : int
            Rows that advance together.

        Returns
        -------
        ModelStream
            ``step(x, out=None)``, ``run(block, out=None)``, ``state``, ``reset(rows=None)``, ``copy()``; inputs
            and outputs are nests as the model's own are.

        Raises
        ------
        UnsupportedLayerError
            A layer needs the end of the sequence first, such as Bidirectional; it is named.
        """
        if not self.built:
            raise FastLSTMError(f"{self.who}: stream needs weights; build the model first")
        return ModelStream(self, positive(batch_size, f"{self.who}: stream: batch_size"))

    def reset_states(self) -> None:
        """Set the state of every stateful layer back to zeros."""
        for _, layer in self.tree():
            if getattr(layer, "stateful", False) and layer is not self:
                layer.reset_state()  # type: ignore[attr-defined]

    reset_state = reset_states

    # -- files and text -----------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file that ``load_model`` reads.

        Parameters
        ----------
        path : str or path-like
            ``.npz``: our own format, which loads with NumPy alone. ``.keras``: Keras 3's, which loads in
            Keras 3 as well. An existing file is replaced once the new one is complete.
        """
        if not self.built:
            raise FastLSTMError(f"{self.who} is not built; call build(input_shape) first")
        saving.save(self, path)

    def load_weights(self, path: str | os.PathLike[str], *, max_file_size: int = 2 * 2**30) -> None:
        """Replace all weights by those in a file: weights alone, or a whole model of the same layers.

        Parameters
        ----------
        path : str or path-like
            ``.weights.h5`` or legacy ``.h5`` of any Keras, ``.keras``, or our ``.npz``; the content decides.
        max_file_size : int
            Limit in bytes, as of :func:`fastlstm.load_model`.

        Raises
        ------
        ModelFileError
            The file is none of these, damaged, or holds other layers; the model is then unchanged.
        """
        from fastlstm.loading import load_weights  # here, so that importing fastlstm stays quick

        if not self.built:
            raise FastLSTMError(f"{self.who} is not built; call build(input_shape) first")
        load_weights(self, path, max_file_size=max_file_size)

    def summary(
        self,
        line_length: int | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
    ) -> None:
        """Print the layers, their output shapes and their numbers of weights, as Keras lays them out.

        Parameters
        ----------
        line_length : int, optional
            Width of the table. Default 88 (108 with connections), or what the terminal has room for.
        print_fn : callable, optional
            Receives the text in place of the standard output.
        expand_nested : bool
            Whether the layers of models inside the model have lines of their own.
        show_trainable : bool
            Whether a column says which layers training would change.
        """
        rows = summary_rows(self, expand_nested)
        if not show_trainable:
            rows = [row._replace(trainable=None) for row in rows]
        (console.write if print_fn is None else print_fn)(console.summary(self.name, rows, line_length))

    def connections(self) -> dict[int, str] | None:
        """What each layer reads, by the layer's id; None where the layers simply follow each other."""
        return None


def _one_or_more(mask: Any) -> Any:
    """A mask, or a list of masks where the parts are arrays or None."""
    several = isinstance(mask, list | tuple) and all(m is None or hasattr(m, "shape") for m in mask)
    return mask if several or isinstance(mask, dict) else np.asarray(mask, bool)


