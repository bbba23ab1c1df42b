"""Fitted networks for use elsewhere: scikit-learn's perceptrons, ONNX, plain arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from ._typing import Array
from ._version import __version__
from .core.network import TwoLayerReLU

if TYPE_CHECKING:
    import onnx

__all__ = ["to_dict", "to_mlp", "to_onnx"]

# what ONNX and the runtimes of these years understand
_OPSET, _IR_VERSION = 18, 10


def to_mlp(estimator: Any) -> MLPClassifier | MLPRegressor:
    """Convert a fitted estimator to a multi-layer perceptron of scikit-learn.

    Parameters
    ----------
    estimator : object
        Fitted estimator of this package, but no autoencoder.

    Returns
    -------
    MLPClassifier or MLPRegressor
        With the same predictions and probabilities, but for classes with separate hidden layers,
        where the perceptron has a softmax and our classifiers normalise logistic functions, and
        for regressors outside `output_range_`, which a perceptron does not know: clip its
        predictions, or fit with ``output_range=None``, for the same everywhere. Its
        ``partial_fit`` goes on training from the network; a constant one gets a neuron for that,
        of output weight zero.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from sklearn_convexnet import ConvexReLURegressor
    >>> from sklearn_convexnet.export import to_mlp
    >>> X, y = make_friedman1(n_samples=50, random_state=0)
    >>> model = ConvexReLURegressor(random_state=0).fit(X, y)
    >>> bool(abs(to_mlp(model).predict(X) - model.predict(X)).max() < 1e-12)
    True
    """
    network, classes = _fitted(estimator)
    if network.n_neurons == 0:
        network = _with_a_neuron(network)
    make = MLPRegressor if classes is None else MLPClassifier
    mlp = make(hidden_layer_sizes=(network.n_neurons,), random_state=0)
    mlp.coefs_ = [network.hidden_weights.copy(), network.output_weights.copy()]
    mlp.intercepts_ = [network.hidden_biases.copy(), network.output_biases.copy()]
    mlp.n_features_in_ = estimator.n_features_in_
    if hasattr(estimator, "feature_names_in_"):
        mlp.feature_names_in_ = estimator.feature_names_in_
    mlp.n_layers_, mlp.n_outputs_ = 3, len(network.output_biases)
    mlp.out_activation_ = "identity"
    if classes is not None:
        mlp.classes_, multilabel = classes, estimator.outputs_2d_
        # as a perceptron has learned them
        labels = np.eye(len(classes), dtype=int) if multilabel else classes
        mlp._label_binarizer = LabelBinarizer().fit(labels)
        mlp.out_activation_ = "logistic" if multilabel or len(classes) == 2 else "softmax"
    # the state of a training that is about to start
    mlp.n_iter_, mlp.t_, mlp._no_improvement_count = 0, 0, 0
    mlp.loss_, mlp.best_loss_, mlp.loss_curve_ = np.inf, np.inf, []
    mlp.validation_scores_, mlp.best_validation_score_ = None, None
    return mlp


def to_onnx(estimator: Any, *, dtype: DTypeLike = np.float64) -> onnx.ModelProto:
    """Convert a fitted estimator to an ONNX model; needs the package onnx.

    Parameters
    ----------
    estimator : object
        Fitted estimator of this package, but no autoencoder.
    dtype : {numpy.float64, numpy.float32}, default=numpy.float64
        Of the input ``X`` of shape (n_samples, n_features), and of the arithmetic.

    Returns
    -------
    onnx.ModelProto
        For a regressor with the output ``variable`` of shape (n_samples, n_outputs), limited to
        `output_range_`. For a
        classifier with ``label``, of integers (whole numbers of any type) or else strings; where
        there is `predict_proba` with ``probabilities`` of shape (n_samples, n_classes) as second
        output; and with ``scores`` of shape (n_samples, n_outputs). Of several labels ``label`` has
        shape (n_samples, n_labels).

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
    network, classes = _fitted(estimator)
    graph = _Graph(onnx, dtype)
    hidden = graph.node(
        "Gemm", ["X", graph.constant(network.hidden_weights), graph.constant(network.hidden_biases)]
    )
    rectified = graph.node("Relu", [hidden])
    last = [graph.constant(network.output_weights), graph.constant(network.output_biases)]
    n_outputs = len(network.output_biases)
    if classes is None:
        outputs = graph.limited(graph.node("Gemm", [rectified, *last]), estimator.output_range_)
        graph.output(outputs, graph.float_type, n_outputs)
        return graph.model(network.hidden_weights.shape[0])
    scores = graph.node("Gemm", [rectified, *last], "scores")
    activation = estimator.out_activation_
    multilabel = estimator.outputs_2d_
    if multilabel:
        labels = graph.several_labels(scores)
        graph.output(labels, onnx.TensorProto.INT64, n_outputs)
    else:
        classes = _whole(classes)
        labels = graph.labels(scores, classes)
        graph.output(labels, graph.label_type(classes))
    if activation != "identity":
        probabilities = graph.probabilities(scores, n_outputs, activation, multilabel)
        graph.output(probabilities, graph.float_type, len(classes))
    graph.output(scores, graph.float_type, n_outputs)
    return graph.model(network.hidden_weights.shape[0])


def to_dict(estimator: Any) -> dict[str, Array]:
    """Convert a fitted estimator to a dictionary of arrays.

    Parameters
    ----------
    estimator : object
        Fitted estimator of this package, but no autoencoder.

    Returns
    -------
    dict
        With ``hidden_weights`` of shape (n_features, n_neurons), ``hidden_biases`` of shape
        (n_neurons,), ``output_weights`` of shape (n_neurons, n_outputs), ``output_biases`` of
        shape (n_outputs,): outputs are
        ``maximum(X @ hidden_weights + hidden_biases, 0) @ output_weights + output_biases``. Also
        ``classes`` of a classifier, or ``output_range`` of a regressor, of shape (2, n_outputs):
        predictions are ``clip(outputs, *output_range)``.
        ``numpy.savez(file, **to_dict(model))`` stores it; lists of it, `array.tolist()`, are ready
        for JSON, and floats are read back from there exactly.
    """
    network, classes = _fitted(estimator)
    arrays = {name: np.array(getattr(network, name)) for name in TwoLayerReLU.__dataclass_fields__}
    if classes is None:
        return {**arrays, "output_range": np.array(estimator.output_range_)}
    return {**arrays, "classes": np.array(classes)}


def _fitted(estimator):
    """The network of a fitted estimator and its classes, None for a regressor."""
    network = getattr(estimator, "network_", None)
    if isinstance(network, TwoLayerReLU):
        return network, getattr(estimator, "classes_", None)
    if type(estimator).__module__.split(".")[0] == __package__:
        check_is_fitted(estimator, "network_")
    raise TypeError(f"estimator must be a fitted convex ReLU network, got {estimator!r}.")


def _whole(classes):
    """Labels as integers, where they are whole numbers."""
    if classes.dtype.kind == "f" and (classes == np.floor(classes)).all():
        return classes.astype(np.int64)
    return classes


def _with_a_neuron(network):
    """The same constant as a network of one neuron, which has no effect yet."""
    n_features, n_outputs = len(network.hidden_weights), len(network.output_biases)
    # the bias makes it active: of zeros only, its gradient would be zero for ever
    return TwoLayerReLU(
        np.zeros((n_features, 1)), np.ones(1), np.zeros((1, n_outputs)), network.output_biases
    )


class _Graph:
    """An ONNX graph that grows."""

    def __init__(self, onnx, dtype):
        self.onnx, self.dtype = onnx, dtype
        self.float_type = onnx.helper.np_dtype_to_tensor_dtype(dtype)
        self.nodes, self.constants, self.outputs = [], [], []

    def constant(self, array):
        array = np.asarray(array)
        if array.dtype.kind == "f":
            array = array.astype(self.dtype)
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, operator, inputs, output=None, **attributes):
        output = output or f"value_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def output(self, name, kind, *shape):
        described = self.onnx.helper.make_tensor_value_info(name, kind, [None, *shape])
        self.outputs.append(described)

    def limited(self, outputs, limits):
        """The outputs clipped, an infinite limit being none."""
        # of float32, a limit may be infinite
        with np.errstate(over="ignore"):
            low, high = map(self.constant, limits)
        return self.node("Min", [self.node("Max", [outputs, low]), high], "variable")

    def label_type(self, classes):
        kind = self.onnx.TensorProto
        return kind.INT64 if classes.dtype.kind in "biu" else kind.STRING

    def labels(self, scores, classes):
        """Labels of the largest output, or of a positive one."""
        if classes.dtype.kind in "biu":
            table = self.constant(classes.astype(np.int64))
        else:
            table = self.constant(np.array([str(label) for label in classes], dtype=object))
        if len(classes) == 2:
            positive = self.node("Greater", [scores, self.constant(np.zeros(1))])
            column = self.node("Cast", [positive], to=self.onnx.TensorProto.INT64)
            place = self.node("Reshape", [column, self.constant(np.array([-1]))])
        else:
            place = self.node("ArgMax", [scores], axis=1, keepdims=0)
        return self.node("Gather", [table, place], "label")

    def several_labels(self, scores):
        """1 where an output is positive, else 0."""
        positive = self.node("Greater", [scores, self.constant(np.zeros(1))])
        return self.node("Cast", [positive], "label", to=self.onnx.TensorProto.INT64)

    def probabilities(self, scores, n_outputs, activation, multilabel):
        """Softmax of the outputs, or their logistic functions, normalised over classes."""
        if activation == "softmax":
            return self.node("Softmax", [scores], "probabilities", axis=1)
        if multilabel:
            return self.node("Sigmoid", [scores], "probabilities")
        if n_outputs == 1:
            negative = self.node("Sigmoid", [self.node("Neg", [scores])])
            both = [negative, self.node("Sigmoid", [scores])]
            return self.node("Concat", both, "probabilities", axis=1)
        # -softplus is the logarithm of the logistic function: its softmax cannot vanish
        return self.node(
            "Softmax",
            [self.node("Neg", [self.node("Softplus", [self.node("Neg", [scores])])])],
            "probabilities",
            axis=1,
        )

    def model(self, n_features):
        helper = self.onnx.helper
        features = helper.make_tensor_value_info("X", self.float_type, [None, n_features])
        graph = helper.make_graph(
            self.nodes, "two_layer_relu", [features], self.outputs, self.constants
        )
        model = helper.make_model(
            graph,
            producer_name="sklearn_convexnet",
            producer_version=__version__,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
        )
        self.onnx.checker.check_model(model)
        return model
