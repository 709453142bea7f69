"""fastlstm: the forward pass of trained LSTM models on CPUs, a drop-in for Keras at inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastlstm import layers
from fastlstm.config import show_config
from fastlstm.errors import FastLSTMError, ModelFileError, UnsupportedLayerError
from fastlstm.functional import Functional, Input
from fastlstm.layers import LSTM, LSTMCell
from fastlstm.live import from_keras
from fastlstm.loading import load_model
from fastlstm.model import Model
from fastlstm.sequential import Sequential
from fastlstm.stream import Stream
from fastlstm.threads import get_num_threads, set_num_threads

if TYPE_CHECKING:
    from fastlstm.torch import from_torch

__version__ = "0.1.0"

__all__ = [
    "LSTM",
    "FastLSTMError",
    "Functional",
    "Input",
    "LSTMCell",
    "Model",
    "ModelFileError",
    "Sequential",
    "Stream",
    "UnsupportedLayerError",
    "from_keras",
    "from_torch",
    "get_num_threads",
    "layers",
    "load_model",
    "set_num_threads",
    "show_config",
]


def __getattr__(name: str) -> Any:
    if name == "from_torch":  # its module is loaded by those who ask for it, as fastlstm.tf1 and fastlstm.onnx are
        from fastlstm.torch import from_torch

        return from_torch
    raise AttributeError(f"module 'fastlstm' has no attribute {name!r}")
