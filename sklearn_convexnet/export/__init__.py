"""Fitted networks for use elsewhere: scikit-learn's perceptrons, ONNX, plain arrays."""

from .arrays import to_dict
from .converters import register_converters
from .onnx_model import to_onnx
from .perceptron import to_mlp

__all__ = ["register_converters", "to_dict", "to_mlp", "to_onnx"]
