"""What TensorFlow 1's LSTM classes share: variables in checkpoint order, and the layer that computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import initializers
from fastlstm.arrays import as_float, numbers_in
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, resolve_dtype, snake_case
from fastlstm.layers.cells import OWN_ARGUMENTS
from fastlstm.layers.core import positive
from fastlstm.layers.lstm import LSTM
from fastlstm.layout_parts import as_list
from fastlstm.layouts import tf1_to_keras
from fastlstm.tf1 import arguments


class LSTMStateTuple(NamedTuple):
    """The state of a cell: c, then h, as in TensorFlow 1 (Keras has h, c)."""

    c: Any
    h: Any

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of both arrays."""
        if self.c.dtype != self.h.dtype:
            raise FastLSTMError(f"LSTMStateTuple: c is {self.c.dtype} and h is {self.h.dtype}; expected the same")
        found: np.dtype[Any] = self.c.dtype
        return found


class HasWeights:
    """TensorFlow's names for what there are variables of; here these are copies, for reading only."""

    def get_weights(self) -> list[Array]:
        """Copies of the variables."""
        raise NotImplementedError

    @property
    def weights(self) -> list[Array]:
        """As ``get_weights()``."""
        return self.get_weights()

    variables = trainable_variables = trainable_weights = weights


class LSTMVariables(HasWeights):
    """Arguments and variables of one LSTM.

    A class that derives from it says in ``variable_shapes`` which variables there are, and in ``_layer_weights``
    what ``fastlstm.LSTM`` makes of them.

    Attributes
    ----------
    num_units : int
    forget_bias : float
        Added to the forget gate at run time; no variable has it.
    name : str
        Of the cell's scope.
    dtype : str or None
        float32 or float64, as the first use has settled it.
    """

    #: Other names that checkpoints have for a variable.
    also_saved_as: Mapping[str, tuple[str, ...]] = {
        "kernel": ("weights",), "bias": ("biases",), "projection/kernel": ("projection/weights",),
    }  # fmt: skip

    def __init__(
        self,
        num_units: int,
        forget_bias: float,
        activation: Any,
        name: str | None,
        dtype: Any,
        kwargs: dict[str, Any],
        initializer: Any = None,
        **options: Any,
    ) -> None:
        class_name = type(self).__name__
        self.name = arguments.text_or_none(name, f"{class_name}: name") or snake_case(class_name)
        arguments.refuse_unknown(kwargs, class_name)
        self.num_units = positive(num_units, f"{self.who}: num_units")
        self.forget_bias = arguments.real(forget_bias, f"{self.who}: forget_bias")
        self.dtype = None if dtype is None else resolve_dtype(dtype, self.who)
        initializers.get(initializer, f"{self.who}: initializer")
        self._initializer = initializer
        self._options = {
            "activation": arguments.activation(activation, f"{self.who}: activation"),
            **{key: value for key, value in options.items() if value},
            **{key: kwargs[key] for key in OWN_ARGUMENTS if key in kwargs},
        }
        self._new_layer("float32")  # says now what is wrong with an argument, not at the first step
        self._arrays: dict[str, Array] | None = None
        #: A layer, and the arrays that it was made of.
        self._made: tuple[dict[str, Array], LSTM] | None = None

    @property
    def who(self) -> str:
        """The class and the name, for errors."""
        return f"{type(self).__name__} {self.name!r}"

    def __repr__(self) -> str:
        return f"<{self.who} num_units={self.num_units}, built={self.built}>"

    @property
    def output_size(self) -> int:
        """Width of the output: num_units, or num_proj where there is a projection."""
        return int(self._options.get("projection", self.num_units))

    # -- variables ----------------------------------------------------------------------------------

    def variable_shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of each variable for inputs of that width, in the order of ``get_weights``."""
        raise NotImplementedError

    def _initial(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        """What a variable begins with that nothing was loaded for."""
        dtype = self.dtype or "float32"
        if name == "bias":
            return np.zeros(shape, dtype)
        # A new one for each variable: one and the same would give all peepholes the same numbers.
        return initializers.get(self._initializer, f"{self.who}: initializer")(shape, dtype)

    def _layer_weights(self, arrays: dict[str, Array]) -> list[Array]:
        """The variables as ``fastlstm.LSTM`` takes them, forget_bias in its bias."""
        peepholes = {name: arrays.get(name) for name in ("w_f_diag", "w_i_diag", "w_o_diag")}
        projection = arrays.get("projection/kernel")
        found = tf1_to_keras(
            arrays["kernel"], arrays["bias"], **peepholes, projection=projection, forget_bias=self.forget_bias
        )
        return found.as_list()

    @property
    def weight_names(self) -> list[str]:
        """Of the variables, in the order of ``get_weights``, without the scope."""
        return list(self.variable_shapes(1))

    @property
    def built(self) -> bool:
        """Whether there are variables."""
        return self._arrays is not None

    def build(self, inputs_shape: Sequence[int | None]) -> None:
        """Create the variables for inputs of that shape, of which the last size counts, with TensorFlow 1's values."""
        sizes = as_list(inputs_shape, f"{self.who}: inputs_shape", "(batch, features)") or [None]
        features = positive(sizes[-1], f"{self.who}: the last size of inputs_shape")
        self.keep({name: np.asarray(self._initial(name, s)) for name, s in self.variable_shapes(features).items()})

    def get_weights(self) -> list[Array]:
        """Copies of the variables as they were set, in the order of ``weight_names``; empty before there are any."""
        return [array.copy() for array in (self._arrays or {}).values()]

    def set_weights(self, weights: Sequence[ArrayLike] | Mapping[str, ArrayLike]) -> None:
        """Replace all variables at once.

        Parameters
        ----------
        weights : sequence of array_like, or mapping of names to them
            In the order of ``weight_names``, as TensorFlow 1 creates them: ``[kernel, bias]`` and, where the cell
            has them, ``w_f_diag, w_i_diag, w_o_diag`` and the projection's kernel. The kernel has rows of the
            input, then of h, and columns i, j, f, o.

        Raises
        ------
        FastLSTMError
            Variables missing or too many, a wrong shape, or no numbers; the cell is then unchanged.
        """
        self.keep(self.checked(weights))

    def checked(self, weights: Sequence[ArrayLike] | Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Copies of what ``set_weights`` takes, by name."""
        names = self.weight_names
        if isinstance(weights, Mapping):
            if set(weights) != set(names):
                found = sorted(map(str, weights))
                raise FastLSTMError(f"{self.who}: set_weights got {found}; expected {', '.join(names)}")
            weights = [weights[name] for name in names]
        weights = as_list(weights, f"{self.who}: set_weights: weights")
        if len(weights) != len(names):
            raise FastLSTMError(
                f"{self.who}: set_weights got {len(weights)} arrays; expected {len(names)}: {', '.join(names)}"
            )
        arrays = dict(zip(names, map(numbers_in, weights), strict=True))
        kernel = arrays[names[0]]
        features = kernel.shape[0] - self.output_size if kernel is not None and kernel.ndim == 2 else 1
        kept: dict[str, Array] = {}
        for name, shape in self.variable_shapes(max(1, features)).items():
            array = arrays[name]
            if array is None or array.shape != shape:
                shown = "no array of numbers" if array is None else f"of shape {array.shape}"
                raise FastLSTMError(f"{self.who}: set_weights: {name} is {shown}; expected numbers of shape {shape}")
            kept[name] = array.copy() if array.dtype.kind == "f" else array.astype(np.float64)
        return kept

    def keep(self, arrays: dict[str, Array]) -> None:
        """Take over checked variables, which become read-only."""
        for array in arrays.values():
            array.flags.writeable = False
        self._arrays = arrays

    def load_checkpoint(self, checkpoint: Any, scope: str = "") -> None:
        """Take the variables from a checkpoint of TensorFlow 1 or 2.

        Parameters
        ----------
        checkpoint : str, path-like or mapping
            What ``Saver.save`` was given, with the step; or what names the arrays already, such as what
            ``fastlstm.loading.tensor_bundle.read_checkpoint`` returns.
        scope : str
            Where in the checkpoint they are: one or more parts of the path before ``/kernel``, such as
            ``"rnn/basic_lstm_cell"`` or ``"bidirectional_rnn/fw"``. Empty where only one place fits.

        Raises
        ------
        ModelFileError
            The files are damaged, or no place in them fits; the message says which names there are.
        """
        from fastlstm.tf1.checkpoints import load_cells  # here, as the reader of files: most cells need none

        load_cells(checkpoint, scope, [((), self)])

    # -- computing ------------------------------------------------------------------------------------

    def computes_in(self, dtype: str | None) -> np.dtype[Any]:
        """Its own dtype or, where that was left open, this one."""
        return np.dtype(self.dtype or dtype or "float32")

    def check_features(self, features: int) -> None:
        """Refuse inputs of a width that the variables are not for."""
        if self._arrays is not None:
            expected = self._arrays[self.weight_names[0]].shape[0] - self.output_size
            if features != expected:
                raise FastLSTMError(f"{self.who}: inputs have {features} features; expected {expected}")

    def layer(self, features: int, dtype: str | None = None) -> LSTM:
        """The layer that computes this LSTM for inputs of that width; without variables it gets new ones.

        What it computes in is settled by that, for good.
        """
        self.check_features(features)
        self.dtype = self.computes_in(dtype).name
        if self._arrays is None:
            self.build((features,))
        arrays = self._arrays
        assert arrays is not None
        if self._made is None or self._made[0] is not arrays:
            layer = self._new_layer(self.dtype)
            layer.set_weights(self._layer_weights(arrays))
            self._made = arrays, layer
            return layer
        return self._made[1]

    def _new_layer(self, dtype: str) -> LSTM:
        return LSTM(
            self.num_units, **self._options, dtype=dtype, name=self.name,
            return_sequences=True, return_state=True, zero_output_for_mask=True,
        )  # fmt: skip

    def states(self, state: Any, batch: int, dtype: str) -> list[Array] | None:
        """``[h, c]`` for the layer, from a tuple of c and h; None where there is none."""
        if state is None:
            return None
        try:
            parts = list(state)
        except TypeError:
            parts = []
        if len(parts) != 2:
            raise FastLSTMError(f"{self.who}: state is {type(state).__name__} of {len(parts)}; expected (c, h)")
        found = []
        for key, part, width in zip("ch", parts, (self.num_units, self.output_size), strict=True):
            array = as_float(part, self.computes_in(dtype), f"{self.who}: state {key}")
            if array.shape != (batch, width):
                raise FastLSTMError(f"{self.who}: state {key} has shape {array.shape}; expected ({batch}, {width})")
            found.append(array)
        return found[::-1]
