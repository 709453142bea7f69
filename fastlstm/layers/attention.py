"""Layers that look up values by how alike a query and keys are: Attention, AdditiveAttention."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlstm import activations, initializers
from fastlstm.arrays import as_float
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array, Layer, Shape
from fastlstm.layers.inputs import at_least, broadcast, input_arrays, input_shapes, numpy_errors

#: What Keras takes from the score of a masked step.
MASKED = 1e9


class Attention(Layer):
    """Luong's attention. Arguments are those of ``keras.layers.Attention``.

    Called on ``[query, value]`` or ``[query, value, key]`` of shapes ``(B, Tq, D)``, ``(B, Tv, E)`` and
    ``(B, Tv, D)``; gives ``(B, Tq, E)``. Without a key the value is the key. Semantics of
    ``keras/src/layers/attention/attention.py``.

    Parameters
    ----------
    use_scale : bool
        Whether a weight, ``scale``, multiplies the scores.
    score_mode : {"dot", "concat"}
        Scores are ``query @ key`` or ``concat_score_weight * sum(tanh(query + key))``.
    dropout, seed
        Matter in training only: accepted and inert.
    """

    supports_masking = True
    _tanh = activations.get("tanh", "Attention")
    _softmax = activations.get("softmax", "Attention")

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if score_mode not in ("dot", "concat"):
            raise FastLSTMError(f"{self.who}: score_mode is {score_mode!r}; expected 'dot' or 'concat'")
        self.use_scale = bool(use_scale)
        self.score_mode = score_mode
        self.dropout = at_least(0, dropout, f"{self.who}: dropout")
        self.seed = seed

    def weight_shapes(self, input_shape: Any) -> dict[str, tuple[int, ...]]:
        self.compute_output_shape(input_shape)
        shapes: dict[str, tuple[int, ...]] = {"scale": ()} if self.use_scale else {}
        return {**shapes, "concat_score_weight": ()} if self.score_mode == "concat" else shapes

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        return np.ones(shape)

    def _may_broadcast(self) -> bool:
        """Whether a feature of size 1 stands for all of them, as it does in a sum of query and key."""
        return self.score_mode == "concat"

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = input_shapes(input_shape, self.who, 2, 3)
        query, value, key = (*shapes, shapes[1])[:3]
        features, steps = {query[-1], key[-1]} - {None}, {value[-2:-1], key[-2:-1]} - {(None,)}
        if self._may_broadcast():
            features -= {1}
        if min(map(len, shapes)) < 2 or len(steps) > 1 or len(features) > 1:
            raise FastLSTMError(
                f"{self.who}: query, value and key have the shapes {query}, {value}, {key}; expected as many features "
                "in query and key, and as many steps in value and key"
            )
        broadcast([shape[:-2] for shape in shapes], f"{self.who}: all axes before the steps")
        return (*query[:-1], value[-1])

    def output_shape_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        shapes = self.input_shape_of(args, kwargs)
        output = self.compute_output_shape(shapes)
        return (output, (*shapes[0][:-1], shapes[-1][-2])) if kwargs.get("return_attention_scores") else output

    def scores(self, query: Array, key: Array) -> Array:
        """How alike each step of the query and each of the key are, (B, Tq, Tv)."""
        weights = self._weights
        if self.score_mode == "dot":
            scores = np.matmul(query, np.swapaxes(key, -2, -1))
            return np.asarray(scores * weights["scale"] if self.use_scale else scores)
        pairs = query[..., :, None, :] + key[..., None, :, :]
        pairs = pairs * weights["scale"] if self.use_scale else pairs
        return np.asarray(weights["concat_score_weight"] * np.sum(self._tanh(pairs), axis=-1))

    def call(
        self,
        inputs: Any,
        /,
        *,
        mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        arrays = [as_float(x, self.dtype, self.who) for x in input_arrays(inputs, self.dtype, self.who, 2, 3)]
        query, value, key = (*arrays, arrays[1])[:3]
        q_mask, v_mask = self._masks(mask)
        with numpy_errors(f"{self.who}: query, value and key of shapes {query.shape}, {value.shape}, {key.shape}"):
            scores = self.scores(query, key)
            allowed = v_mask
            if use_causal_mask:
                causal = np.tri(scores.shape[-2], scores.shape[-1], dtype=bool)[None]
                allowed = causal if v_mask is None else v_mask[..., None, :] & causal
            if allowed is not None:
                allowed = allowed[..., None, :] if allowed.ndim == 2 else allowed
                scores = np.where(allowed, scores, scores - scores.dtype.type(MASKED))
            weights = self._softmax(scores)
            output = np.matmul(weights, value)
            if q_mask is not None:
                output = np.where(q_mask[..., None], output, output.dtype.type(0))
        return (output, weights) if return_attention_scores else output

    def _masks(self, mask: Any) -> tuple[Array | None, Array | None]:
        """Of the query and of the value; one of the key is of no use, as in Keras."""
        if mask is None:
            return None, None
        if not isinstance(mask, list | tuple) or len(mask) not in (2, 3):
            raise FastLSTMError(f"{self.who}: mask is {type(mask).__name__}; expected [query_mask, value_mask]")
        q_mask, v_mask = (None if m is None else np.asarray(m, bool) for m in mask[:2])
        return q_mask, v_mask

    def compute_mask(self, inputs: Any, mask: Any = None) -> Array | None:
        return self._masks(mask)[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "use_scale": self.use_scale,
            "score_mode": self.score_mode,
            "dropout": self.dropout,
            "seed": self.seed,
        }


class AdditiveAttention(Attention):
    """Bahdanau's attention. Arguments are those of ``keras.layers.AdditiveAttention``.

    Scores are ``sum(scale * tanh(query + key))``; inputs and outputs are :class:`Attention`'s.

    Parameters
    ----------
    use_scale : bool
        Whether a weight, ``scale``, of one number for each feature multiplies before the sum.
    dropout, seed
        Matter in training only: accepted and inert.
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def weight_shapes(self, input_shape: Any) -> dict[str, tuple[int, ...]]:
        self.compute_output_shape(input_shape)
        if not self.use_scale:
            return {}
        features = input_shape[0][-1]
        if features is None:
            raise FastLSTMError(f"{self.who}: the query has shape {input_shape[0]}; expected a last axis of known size")
        return {"scale": (features,)}

    def _initial_weight(self, name: str, shape: tuple[int, ...]) -> ArrayLike:
        return initializers.get("glorot_uniform", self.who)(shape, self.dtype)

    def _may_broadcast(self) -> bool:
        return True

    def scores(self, query: Array, key: Array) -> Array:
        pairs = self._tanh(query[..., :, None, :] + key[..., None, :, :])
        return np.asarray(np.sum(self._weights["scale"] * pairs if self.use_scale else pairs, axis=-1))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["score_mode"]
        return config
