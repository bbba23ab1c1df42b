"""The estimators of the package for skl2onnx, which converts whole pipelines of scikit-learn."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..autoencoder.estimators import GatedSparseAutoencoder, SignAwareGatedSparseAutoencoder
from ..estimators.classifier import ConvexReLUClassifier
from ..estimators.cross_validation import ConvexReLUClassifierCV, ConvexReLURegressorCV
from ..estimators.gradient_descent import GradientDescentReLUClassifier
from ..estimators.regressor import ConvexReLURegressor
from ..estimators.robust import RobustConvexReLUClassifier
from .fitted import fitted_network
from .graph import Graph, label_table

_CLASSIFIERS = (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    GradientDescentReLUClassifier,
    RobustConvexReLUClassifier,
)
_REGRESSORS = (ConvexReLURegressor, ConvexReLURegressorCV)
_AUTOENCODERS = (GatedSparseAutoencoder, SignAwareGatedSparseAutoencoder)
# those of scikit-learn's linear classifiers
_OPTIONS = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
    "raw_scores": [True, False],
}


def register_converters() -> None:
    """Make the estimators of this package known to skl2onnx.

    After it ``skl2onnx.to_onnx`` converts whatever contains them: pipelines, also with a
    `ColumnTransformer` in front, searches, ensembles. It needs the package skl2onnx. To call it
    again changes nothing.

    The outputs are those of scikit-learn's own estimators in skl2onnx. Of a classifier these are
    the label and the probabilities, with the options ``zipmap``, ``nocl``,
    ``output_class_labels`` and ``raw_scores`` of its linear classifiers; where there is no
    `predict_proba`, the scores stand in the place of the probabilities, of two classes those of
    both. Of a regressor, and of an autoencoder, which is a transformer, it is ``variable``.

    Raises
    ------
    ImportError
        Without skl2onnx.

    See Also
    --------
    to_onnx : Estimators, and pipelines of a matrix of numbers, without a call before.

    Examples
    --------
    >>> import pytest
    >>> skl2onnx = pytest.importorskip("skl2onnx")
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> from sklearn_convexnet.export import register_converters
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), ConvexReLUClassifier(random_state=0)).fit(X, y)
    >>> register_converters()
    >>> model = skl2onnx.to_onnx(pipeline, X[:1], options={"zipmap": False})
    >>> [output.name for output in model.graph.output]
    ['label', 'probabilities']
    """
    register = _skl2onnx("register_converters").update_registered_converter
    kinds = (
        (_CLASSIFIERS, _classifier_shapes, _convert_classifier, _OPTIONS),
        (_REGRESSORS, _regressor_shapes, _convert_regressor, None),
        (_AUTOENCODERS, _codes_shapes, _convert_autoencoder, None),
    )
    for estimators, shapes, convert, options in kinds:
        for estimator in estimators:
            register(estimator, f"Convexnet{estimator.__name__}", shapes, convert, options=options)


def convert_steps(pipeline, name, dtype, opset):
    """A pipeline of transformers as an ONNX model of one input, other names beginning anew."""
    skl2onnx = _skl2onnx("to_onnx of a pipeline")
    from onnx.compose import add_prefix

    register_converters()
    # its first step may not know the number of features
    shape = [None, getattr(pipeline, "n_features_in_", None)]
    model = skl2onnx.convert_sklearn(
        pipeline,
        initial_types=[(name, _tensor(dtype)(shape))],
        target_opset={"": opset, "ai.onnx.ml": 3},
    )
    return add_prefix(model, "steps_", rename_inputs=False)


def _skl2onnx(who):
    try:
        import skl2onnx
    except ImportError as error:
        raise ImportError(
            f"{who} needs the package skl2onnx: install it, e.g. with pip install "
            "'sklearn-convexnet[onnx]'."
        ) from error
    return skl2onnx


def _tensor(dtype):
    """The type of tensors of floats."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    return DoubleTensorType if dtype == np.float64 else FloatTensorType


def _dtype(operator):
    """The arithmetic of an operator: in double precision where its input is, else in single."""
    from skl2onnx.common.data_types import DoubleTensorType

    return np.float64 if isinstance(operator.inputs[0].type, DoubleTensorType) else np.float32


def _set_shape(operator, place, tensor, *shape):
    operator.outputs[place].set_type(tensor([operator.inputs[0].get_first_dimension(), *shape]))


def _classifier_shapes(operator):
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    estimator = operator.raw_operator
    _, classes = fitted_network(estimator)
    table = _table(operator.scope_inst, estimator)
    labels = StringTensorType if table.dtype == object else Int64TensorType
    _set_shape(operator, 0, labels, *[len(classes)] * estimator.outputs_2d_)
    _set_shape(operator, 1, _tensor(_dtype(operator)), len(classes))


def _convert_classifier(scope, operator, container):
    estimator = operator.raw_operator
    label, second = (output.full_name for output in operator.outputs)
    graph = _Container(scope, container, _dtype(operator))
    scores = graph.network(estimator.network_, graph.input(operator))
    graph.labels(estimator, scores, _table(scope, estimator), label)
    raw = container.get_options(estimator, {"raw_scores": False})["raw_scores"]
    if raw or not hasattr(estimator, "predict_proba"):
        graph.scores_of_classes(estimator, scores, second)
    else:
        graph.probabilities(estimator, scores, second)


def _table(scope, estimator):
    """The labels that are returned: the classes, or their numbers where that is the option."""
    from skl2onnx.common.utils_classifier import get_label_classes

    return label_table(get_label_classes(scope, estimator))


def _regressor_shapes(operator):
    network, _ = fitted_network(operator.raw_operator)
    _set_shape(operator, 0, _tensor(_dtype(operator)), network.n_outputs)


def _convert_regressor(scope, operator, container):
    estimator = operator.raw_operator
    graph = _Container(scope, container, _dtype(operator))
    outputs = graph.network(estimator.network_, graph.input(operator))
    graph.limited(outputs, estimator.output_range_, operator.outputs[0].full_name)


def _codes_shapes(operator):
    check_is_fitted(operator.raw_operator, "components_")
    _set_shape(operator, 0, _tensor(_dtype(operator)), len(operator.raw_operator.components_))


def _convert_autoencoder(scope, operator, container):
    estimator = operator.raw_operator
    graph = _Container(scope, container, _dtype(operator))
    X, codes = graph.input(operator), operator.outputs[0].full_name
    two_sided = isinstance(estimator, SignAwareGatedSparseAutoencoder)
    graph.codes(estimator, X, codes, two_sided=two_sided)


class _Container(Graph):
    """The graph that skl2onnx is writing."""

    def __init__(self, scope, container, dtype):
        super().__init__(dtype)
        self.scope, self.store = scope, container

    def input(self, operator):
        """The input of an operator, in the type of the arithmetic."""
        return self.cast(operator.inputs[0].full_name, self.dtype)

    def keep(self, array):
        from onnx.helper import np_dtype_to_tensor_dtype

        values = array.ravel()
        if array.dtype == object:
            values = [text.encode() for text in values]
        name = self.scope.get_unique_variable_name("constant")
        self.store.add_initializer(name, np_dtype_to_tensor_dtype(array.dtype), array.shape, values)
        return name

    def node(self, operator, inputs, output=None, **attributes):
        output = output or self.scope.get_unique_variable_name("value")
        name = self.scope.get_unique_operator_name(operator)
        self.store.add_node(operator, inputs, output, name=name, **attributes)
        return output
