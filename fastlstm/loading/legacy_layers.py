"""Layers' arguments as Keras 1 and 2 wrote them, by the names and with the meaning that Keras 3 gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastlstm.errors import ModelFileError, UnsupportedLayerError
from fastlstm.loading.jsonrules import shown
from fastlstm.loading.legacy_training import modern_initializer, modern_penalty

Config = dict[str, Any]
Nested = Callable[[Any, "Writer", str], dict[str, Any]]


class Writer(NamedTuple):
    """The Keras that wrote a file: 1, 2 or 3, its minor number, and whether it was the one in TensorFlow."""

    generation: int
    minor: int
    tf: bool

    @property
    def hard_by_default(self) -> bool:
        """Whether recurrent activations were hard_sigmoid where nothing was said."""
        return self.generation == 1 or (self.generation == 2 and not self.tf and self.minor < 3)


#: Names that older Kerases had for classes of Keras 3.
_RENAMED_CLASSES = {
    "AtrousConvolution1D": "Conv1D", "AtrousConvolution2D": "Conv2D", "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization", "Convolution1D": "Conv1D", "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D", "CuDNNGRU": "GRU", "CuDNNLSTM": "LSTM", "SyncBatchNormalization": "BatchNormalization",
    "TimeDistributedDense": "Dense", "UnifiedGRU": "GRU", "UnifiedLSTM": "LSTM",
}  # fmt: skip
_MERGES = {
    "sum": "Add", "mul": "Multiply", "concat": "Concatenate", "ave": "Average", "max": "Maximum", "dot": "Dot",
}  # fmt: skip
_MERGING = {*_MERGES.values(), "Subtract", "Minimum"}
_GONE = {"Highway", "MaxoutDense", "ParametricSoftplus", "SReLU"}
#: The classes that a node without a module is taken for Keras's own by.
KERAS_LAYERS = {*_RENAMED_CLASSES, *_MERGING, *_GONE, "Merge"} | set(
    """
    Activation ActivityRegularization AdditiveAttention AlphaDropout Attention AveragePooling1D AveragePooling2D
    AveragePooling3D BatchNormalization Bidirectional CategoryEncoding Conv1D Conv1DTranspose Conv2D Conv2DTranspose
    Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D
    DepthwiseConv2D Discretization Dropout ELU EinsumDense Embedding Flatten GRU GRUCell GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D GroupNormalization GroupQueryAttention Hashing Identity InputLayer IntegerLookup LSTM LSTMCell
    Lambda LayerNormalization LeakyReLU LocallyConnected1D LocallyConnected2D Masking MaxPooling1D MaxPooling2D
    MaxPooling3D MultiHeadAttention Normalization PReLU Permute RMSNormalization RNN ReLU RepeatVector Rescaling Reshape
    Resizing SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax SpatialDropout1D SpatialDropout2D
    SpatialDropout3D SpectralNormalization StackedRNNCells StringLookup TextVectorization ThresholdedReLU
    TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()
)

#: Arguments of Keras 1 and what Keras 2 renamed them to; the classes in which they have another name, or keep theirs.
_KERAS_1 = {
    "atrous_rate": "dilation_rate", "b_constraint": "bias_constraint", "b_regularizer": "bias_regularizer",
    "beta_init": "beta_initializer", "bias": "use_bias", "border_mode": "padding", "dim_ordering": "data_format",
    "dropout_U": "recurrent_dropout", "dropout_W": "dropout", "filter_length": "kernel_size",
    "gamma_init": "gamma_initializer", "init": "kernel_initializer", "inner_activation": "recurrent_activation",
    "inner_init": "recurrent_initializer", "length": "size", "nb_filter": "filters", "output_dim": "units",
    "p": "rate", "pool_length": "pool_size", "sigma": "stddev", "stride": "strides", "subsample": "strides",
    "subsample_length": "strides", "U_regularizer": "recurrent_regularizer", "W_constraint": "kernel_constraint",
    "W_regularizer": "kernel_regularizer",
}  # fmt: skip
_KERAS_1_IN = {
    "Embedding": {
        "W_constraint": "embeddings_constraint", "W_regularizer": "embeddings_regularizer",
        "init": "embeddings_initializer", "output_dim": "output_dim",
    },
    "PReLU": {"init": "alpha_initializer"},
}  # fmt: skip
_DIM_ORDERING = {"tf": "channels_last", "th": "channels_first"}

#: What Keras 3 has no argument for, because it says nothing about results or is said elsewhere.
_DROPPED = {"batch_input_shape", "consume_less", "implementation", "input_dtype", "input_length", "input_shape"}
_DROPPED_IN = {
    "DepthwiseConv1D": {"groups"},
    "Embedding": {"dropout", "sparse"},
    "MultiHeadAttention": {"key_shape", "query_shape", "softmax_robust_masking", "value_shape"},
    "SeparableConv1D": {"groups", "kernel_constraint", "kernel_initializer", "kernel_regularizer"},
    "SpatialDropout1D": {"noise_shape", "trainable"},
    "SpatialDropout2D": {"noise_shape", "trainable"},
    "SpatialDropout3D": {"noise_shape", "trainable"},
}
#: What Keras 3 cannot do, unless it is off.
_REFUSED = ("causal", "num_constants", "ragged", "reverse_state_order", "time_major", "virtual_batch_size")
_GATED = ("LSTM", "GRU", "LSTMCell", "GRUCell")


def modern_layer(class_name: str, config: Config, writer: Writer, who: str, nested: Nested) -> tuple[str, Config]:
    """A layer's class and config in Keras 3.

    Parameters
    ----------
    class_name, config
        One of :data:`KERAS_LAYERS`, and what it was saved with.
    writer : Writer
    who : str
        Named in errors.
    nested : callable
        Does the same to a node inside the config: the layer of a wrapper, the cells of an RNN.
    """
    if writer.generation < 3:
        class_name, config = _renamed(class_name, config, writer, who)
        config = {key: _value(key, value, writer) for key, value in config.items()}
        config = {key: value for key, value in config.items() if value is not _NOTHING}
    made = dict(config)
    for key in ("layer", "backward_layer", "cell"):
        if isinstance(config.get(key), dict):
            made[key] = nested(config[key], writer, who)
    for key in ("cell", "cells"):
        if isinstance(config.get(key), list):
            made[key] = [nested(cell, writer, who) for cell in config[key]]
    for key in ("activation", "recurrent_activation"):
        if isinstance(config.get(key), dict) and isinstance(config[key].get("config"), dict):  # a layer
            made[key] = nested(config[key], writer, who)
    return class_name, made


def _renamed(class_name: str, config: Config, writer: Writer, who: str) -> tuple[str, Config]:
    """Class, names of arguments, defaults; the values as they were."""
    if class_name in _GONE:
        raise UnsupportedLayerError(f"{who}: Keras has had no {class_name} since Keras 2: replace it and train again")
    old, class_name = class_name, _RENAMED_CLASSES.get(class_name, class_name)
    if old == "Merge":
        return _merge(config, who)
    made = _keras_1(class_name, config, who) if writer.generation == 1 else dict(config)
    if class_name == "InputLayer":
        return class_name, _input(made)
    for key in _REFUSED:
        if made.pop(key, None):
            raise UnsupportedLayerError(f"{who}: {key} is {shown(config.get(key))}, which Keras 3 does not have")
    for key in _DROPPED | _DROPPED_IN.get(class_name, set()):
        made.pop(key, None)
    if class_name in _GATED:
        made.setdefault("recurrent_activation", "hard_sigmoid" if writer.hard_by_default else "sigmoid")
    if class_name in ("GRU", "GRUCell"):
        made.setdefault("reset_after", False)
    if old.startswith("CuDNN"):
        made.update(activation="tanh", recurrent_activation="sigmoid", use_bias=True)
        made.update({"reset_after": True} if class_name == "GRU" else {})
    if class_name in ("LeakyReLU", "ReLU") and "alpha" in made:
        made["negative_slope"] = made.pop("alpha")
    if class_name == "Embedding" and str(made.get("dtype")).startswith("int"):
        del made["dtype"]  # of the ids, not of the vectors
    axis = made.get("axis")
    if class_name in ("BatchNormalization", "LayerNormalization") and isinstance(axis, list) and len(axis) == 1:
        made["axis"] = axis[0]
    if class_name in _MERGING:
        made["mask_merging"] = "all"
    return class_name, made


def _keras_1(class_name: str, config: Config, who: str) -> Config:
    names = {**_KERAS_1, **_KERAS_1_IN.get(class_name, {})}
    made = {names.get(key, key): value for key, value in config.items()}
    if "data_format" in made:
        made["data_format"] = _DIM_ORDERING.get(str(made["data_format"]))
    if made.get("data_format", "") is None:  # whatever the user's own settings were
        del made["data_format"]
    if "nb_row" in made or "nb_col" in made:
        made["kernel_size"] = [made.pop("nb_row", None), made.pop("nb_col", None)]
    if "forget_bias_init" in made:
        made["unit_forget_bias"] = made.pop("forget_bias_init") == "one"
    if class_name != "Embedding":
        made.pop("input_dim", None)
    if class_name == "BatchNormalization" and made.pop("mode", 0) != 0:
        raise UnsupportedLayerError(f"{who}: mode is {shown(config['mode'])}; Keras has had mode 0 alone since Keras 2")
    return made


def _merge(config: Config, who: str) -> tuple[str, Config]:
    """Keras 1's one class for all ways to merge. Its cosine has an axis more than any layer of Keras 3 gives."""
    mode = config.get("mode")
    if config.get("mode_type", "raw") != "raw" or not isinstance(mode, str) or mode not in _MERGES:
        raise UnsupportedLayerError(f"{who}: merging by {shown(mode)} is not supported; expected {', '.join(_MERGES)}")
    made = {"name": config.get("name"), "mask_merging": "all"}
    if mode == "concat":
        made["axis"] = config.get("concat_axis", -1)
    elif mode == "dot":
        made["axes"] = config.get("dot_axes", -1)
    return _MERGES[mode], made


def _input(config: Config) -> Config:
    """Of an InputLayer, whose shape and dtype went by other names."""
    if config.get("ragged") or config.get("sparse"):
        kind = "ragged" if config.get("ragged") else "sparse"
        raise UnsupportedLayerError(f"input {shown(config.get('name'))} is {kind}; pass padded arrays instead")
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    if shape is None and isinstance(config.get("input_shape"), list):
        shape = [None, *config["input_shape"]]
    if not isinstance(shape, list):
        raise ModelFileError(f"input {shown(config.get('name'))}: its shape is {shown(shape)}; expected a list")
    dtype = config.get("dtype", config.get("input_dtype")) or "float32"
    return {"batch_shape": shape, "dtype": dtype, "sparse": False, "name": config.get("name")}


_NOTHING = object()


def _value(key: str, value: Any, writer: Writer) -> Any:
    """One argument's value in Keras 3's form; ``_NOTHING`` if it is best left at its default."""
    if isinstance(value, dict) and value.get("type") == "ndarray" and "value" in value:
        value = value["value"]  # Keras 2 saved some numbers as arrays
    if key in ("activation", "recurrent_activation"):
        return _activation(value)
    if key == "dtype":
        return _dtype(value)
    if key.endswith("_initializer"):
        found = modern_initializer(value)
        return _NOTHING if found is None else found
    if key.endswith(("_regularizer", "_constraint")):
        return modern_penalty(value)
    return value


def _activation(value: Any) -> Any:
    """A name, or the saved form of a function or a layer."""
    if isinstance(value, dict) and isinstance(value.get("config"), str) and value.get("class_name") == "function":
        value = value["config"] if value.get("module") in (None, "builtins", "keras.activations") else value
    return "hard_sigmoid_keras2" if value == "hard_sigmoid" else value


def _dtype(value: Any) -> Any:
    """The name of a plain policy; anything else as it is, for the layer to judge."""
    if isinstance(value, dict) and value.get("class_name") in ("Policy", "PolicyV1"):
        config = value.get("config")
        name = config.get("name") if isinstance(config, dict) else None
        return name if isinstance(name, str) else value
    return value
