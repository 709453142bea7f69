"""ONNX's LSTM operator in its own shapes, from nodes and files of ONNX; and the way to ONNX files, to_onnx."""

from fastlstm.onnx.export import to_onnx
from fastlstm.onnx.lstm import LSTM

__all__ = ["LSTM", "to_onnx"]
