"""The layer that turns ids into vectors: Embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import initializers
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.core import plain, positive, refuse_training_forms


class Embedding(Layer):
    """Look up a row of a table for each id. Arguments are those of ``keras.layers.Embedding``.

    Parameters
    ----------
    input_dim : int
        Rows of the table: the size of the vocabulary.
    output_dim : int
        Columns of the table.
    embeddings_initializer : str, dict or initializer
        Fills the table when no weights are loaded.
    mask_zero : bool
        Whether id 0 is padding, which the layers that follow are told to skip.
    weights : array_like or list of one, optional
        The table, shape ``(input_dim, output_dim)``.
    embeddings_regularizer, embeddings_constraint, lora_alpha
        Matter in training only: accepted and inert.
    lora_rank, quantization_config
        Not supported: an error unless None.

    Notes
    -----
    Ids may have any rank; those that are not int32 or int64 are cast to int32. As in Keras on a
    CPU an id of ``-n`` counts from the end of the table, and one outside it is an error.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("input_length", None)  # of Keras 2: said nothing that the input does not say
        super().__init__(**kwargs)
        who = f"Embedding {self.name!r}"
        refuse_training_forms(who, lora_rank, quantization_config)
        self.input_dim = positive(input_dim, f"{who}: input_dim")
        self.output_dim = positive(output_dim, f"{who}: output_dim")
        self.embeddings_initializer = initializers.get(
            embeddings_initializer, f"{who}: embeddings_initializer"
        )
        self.embeddings_regularizer = embeddings_regularizer
        self.embeddings_constraint = embeddings_constraint
        self.mask_zero = self.supports_masking = bool(mask_zero)
        if weights is not None:
            self.set_weights(weights if isinstance(weights, list) and len(weights) == 1 else [weights])

    def weight_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        return {"embeddings": (self.input_dim, self.output_dim)}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def build(self, input_shape: Any = None) -> None:
        super().build((None, None) if input_shape is None else input_shape)

    def _input_shape_from(self, arrays: list[Array]) -> Shape | None:
        return (None, None)

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        return self.embeddings_initializer(shape, self.dtype)

    def call(self, inputs: Array, *, mask: Array | None = None) -> Array:
        ids = inputs
        if ids.dtype != np.int32 and ids.dtype != np.int64:
            with np.errstate(invalid="ignore"):  # NaN becomes an id outside the table, refused below
                ids = ids.astype(np.int32)
        try:
            return np.take(self._weights["embeddings"], ids, axis=0)
        except IndexError:
            outside = ids[(ids < -self.input_dim) | (ids >= self.input_dim)]
            raise FastLSTMError(
                f"Embedding {self.name!r}: id {outside.flat[0]} is not in its vocabulary of "
                f"{self.input_dim}; expected 0 to {self.input_dim - 1}"
            ) from None

    def compute_mask(self, inputs: Array, mask: Array | None = None) -> Array | None:
        return np.not_equal(inputs, 0) if self.mask_zero else None

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": plain(self.embeddings_regularizer),
            "activity_regularizer": plain(self.activity_regularizer),
            "embeddings_constraint": plain(self.embeddings_constraint),
            "mask_zero": self.mask_zero,
        }
