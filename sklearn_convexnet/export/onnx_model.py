"""Fitted estimators, and pipelines that end in one, as ONNX models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike
from sklearn.pipeline import Pipeline, make_pipeline

from .._version import __version__
from .converters import convert_steps
from .fitted import fitted_network
from .graph import Graph, label_table

if TYPE_CHECKING:
    import onnx

# what ONNX and the runtimes of these years understand
_OPSET, _IR_VERSION = 18, 10


def to_onnx(estimator: Any, *, dtype: DTypeLike = np.float64) -> onnx.ModelProto:
    """Convert a fitted estimator, or a pipeline that ends in one, to an ONNX model.

    It needs the package onnx, and for a pipeline skl2onnx. The features are one matrix of numbers;
    for columns of several types see `register_converters`.

    Parameters
    ----------
    estimator : object
        Fitted estimator of this package, but no autoencoder; or a fitted pipeline of steps that
        skl2onnx, or this package, can convert, and such an estimator in the end.
    dtype : {numpy.float64, numpy.float32}, default=numpy.float64
        Of the input ``X`` of shape (n_samples, n_features), and of the arithmetic.

    Returns
    -------
    onnx.ModelProto
        For a regressor with the output ``variable`` of shape (n_samples, n_outputs), limited to
        `output_range_`. For a
        classifier with ``label``, of integers (numbers of any type) or else strings; where
        there is `predict_proba` with ``probabilities`` of shape (n_samples, n_classes) as second
        output; and with ``scores`` of shape (n_samples, n_outputs). Of several labels ``label`` has
        shape (n_samples, n_labels).

    Raises
    ------
    ValueError
        If a label is a number that does not fit 64-bit integers.

    See Also
    --------
    register_converters : For skl2onnx itself.

    Examples
    --------
    >>> import pytest
    >>> onnx = pytest.importorskip("onnx")
    >>> from sklearn.datasets import make_moons
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> from sklearn_convexnet.export import to_onnx
    >>> X, y = make_moons(n_samples=50, random_state=0)
    >>> model = to_onnx(ConvexReLUClassifier(random_state=0).fit(X, y))
    >>> [output.name for output in model.graph.output]
    ['label', 'probabilities', 'scores']
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "to_onnx needs the package onnx: install it, e.g. with pip install "
            "'sklearn-convexnet[onnx]'."
        ) from error
    dtype = np.dtype(dtype)
    if dtype not in (np.float64, np.float32):
        raise ValueError(f"dtype must be numpy.float64 or numpy.float32, got {dtype}.")
    steps, last = _steps(estimator)
    network, classes = fitted_network(last)
    graph = _Model(onnx, dtype)
    X = "X"
    if steps:
        X = graph.start_from(convert_steps(make_pipeline(*steps), X, dtype, _OPSET))
    else:
        graph.input(X, network.hidden_weights.shape[0])
    if classes is None:
        graph.limited(graph.network(network, X), last.output_range_, "variable")
        graph.output("variable", dtype, network.n_outputs)
        return graph.model()
    scores = graph.network(network, X, "scores")
    multilabel = last.outputs_2d_
    table = label_table(classes)
    graph.labels(last, scores, table, "label")
    graph.output("label", table.dtype, *[network.n_outputs] * multilabel)
    if hasattr(last, "predict_proba"):
        graph.probabilities(last, scores, "probabilities")
        graph.output("probabilities", dtype, len(classes))
    graph.output("scores", dtype, network.n_outputs)
    return graph.model()


def _steps(estimator):
    """The steps of a pipeline that come before the last one, and that one."""
    if not isinstance(estimator, Pipeline):
        return [], estimator
    *steps, last = (step for _, step in estimator.steps if step not in (None, "passthrough"))
    inner, last = _steps(last)
    return steps + inner, last


class _Model(Graph):
    """A graph of its own."""

    def __init__(self, onnx, dtype):
        super().__init__(dtype)
        self.onnx = onnx
        self.opsets = [onnx.helper.make_opsetid("", _OPSET)]
        self.nodes, self.constants, self.inputs, self.outputs = [], [], [], []

    def start_from(self, model):
        """Go on from a model of one output, whose names begin otherwise than those here."""
        graph = model.graph
        # the nodes of ONNX itself are of the version that was asked for
        self.opsets += [opset for opset in model.opset_import if opset.domain]
        self.nodes, self.constants = list(graph.node), list(graph.initializer)
        self.inputs = list(graph.input)
        return self.cast(graph.output[0].name, self.dtype)

    def keep(self, array):
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, operator, inputs, output=None, **attributes):
        output = output or f"value_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _described(self, name, dtype, *shape):
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.onnx.helper.make_tensor_value_info(name, kind, [None, *shape])

    def input(self, name, n_features):
        self.inputs.append(self._described(name, self.dtype, n_features))

    def output(self, name, dtype, *shape):
        self.outputs.append(self._described(name, dtype, *shape))

    def model(self):
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes, "two_layer_relu", self.inputs, self.outputs, self.constants
        )
        model = helper.make_model(
            graph,
            producer_name="sklearn_convexnet",
            producer_version=__version__,
            opset_imports=self.opsets,
            ir_version=_IR_VERSION,
        )
        self.onnx.checker.check_model(model)
        return model
