"""What the estimators compute, written as nodes of an ONNX graph, whoever keeps the nodes."""

import numpy as np


class Graph:
    """An ONNX graph that grows; values have names.

    Parameters
    ----------
    dtype : {numpy.float64, numpy.float32}
        Of the arithmetic.
    """

    def __init__(self, dtype):
        self.dtype = dtype

    def constant(self, array):
        """Keep an array, of integers, of strings or of floats, and return its name."""
        array = np.asarray(array)
        return self.keep(array.astype(self.dtype) if array.dtype.kind == "f" else array)

    def keep(self, array):
        """Keep an array as it is, and return its name."""
        raise NotImplementedError

    def node(self, operator, inputs, output=None, **attributes):
        """Add a node, and return the name of its output; None: a new one."""
        raise NotImplementedError

    def cast(self, value, dtype, output=None):
        """The values as another type of NumPy."""
        from onnx.helper import np_dtype_to_tensor_dtype

        return self.node("Cast", [value], output, to=np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def network(self, network, X, output=None):
        """The outputs of a network."""
        first = [self.constant(network.hidden_weights), self.constant(network.hidden_biases)]
        last = [self.constant(network.output_weights), self.constant(network.output_biases)]
        rectified = self.node("Relu", [self.node("Gemm", [X, *first])])
        return self.node("Gemm", [rectified, *last], output)

    def limited(self, values, limits, output=None):
        """The values clipped, an infinite limit being none."""
        # of float32, a limit may be infinite
        with np.errstate(over="ignore"):
            low, high = map(self.constant, limits)
        return self.node("Min", [self.node("Max", [values, low]), high], output)

    def labels(self, estimator, scores, table, output=None):
        """Labels of the largest output, or of a positive one, out of a table of them."""
        if estimator.outputs_2d_:
            return self._positive(scores, output)
        if len(table) == 2:
            column = [self._positive(scores), self.constant(np.array([-1]))]
            place = self.node("Reshape", column)
        else:
            place = self.node("ArgMax", [scores], axis=1, keepdims=0)
        return self.node("Gather", [self.constant(table), place], output)

    def _positive(self, scores, output=None):
        """1 where an output is positive, else 0."""
        positive = self.node("Greater", [scores, self.constant(np.zeros(1))])
        return self.cast(positive, np.int64, output)

    def probabilities(self, estimator, scores, output=None):
        """Softmax of the outputs, or their logistic functions, normalised over classes."""
        if estimator.out_activation_ == "softmax":
            return self.node("Softmax", [scores], output, axis=1)
        if estimator.outputs_2d_:
            return self.node("Sigmoid", [scores], output)
        if estimator.n_outputs_ == 1:
            negative = self.node("Sigmoid", [self.node("Neg", [scores])])
            return self.node("Concat", [negative, self.node("Sigmoid", [scores])], output, axis=1)
        # logarithms of the logistic function, which does not vanish in them; runtimes need not
        # have Softplus in double precision
        rest = self.node("Exp", [self.node("Neg", [self.node("Abs", [scores])])])
        rest = self.node("Log", [self.node("Add", [rest, self.constant(np.ones(1))])])
        logs = self.node("Sub", [self.node("Min", [scores, self.constant(np.zeros(1))]), rest])
        return self.node("Softmax", [logs], output, axis=1)

    def scores_of_classes(self, estimator, scores, output=None):
        """The outputs, a column for every class also where there are two."""
        if estimator.outputs_2d_ or estimator.n_outputs_ > 1:
            return self.node("Identity", [scores], output)
        return self.node("Concat", [self.node("Neg", [scores]), scores], output, axis=1)

    def codes(self, autoencoder, X, output=None, *, two_sided):
        """The codes of a sparse autoencoder, of one sign or of two."""
        centred = self.node("Sub", [X, self.constant(autoencoder.intercept_)])
        z = self.node("MatMul", [centred, self.constant(autoencoder.encoder_.T)])
        zero = self.constant(np.zeros(1))
        negative = self.node("Less", [z, zero])
        argument = self.node("Abs", [z]) if two_sided else z

        def of_side(parameter):
            positive, *other = (self.constant(row) for row in parameter)
            return self.node("Where", [negative, *other, positive]) if other else positive

        passed = self.node("Add", [argument, of_side(-autoencoder.thresholds_)])
        amplified = self.node("Mul", [argument, of_side(autoencoder.gains_)])
        codes = self.node("Relu", [self.node("Add", [amplified, of_side(autoencoder.offsets_)])])
        if two_sided:
            codes = self.node("Where", [negative, self.node("Neg", [codes]), codes])
        return self.node("Where", [self.node("Greater", [passed, zero]), codes, zero], output)


def label_table(classes):
    """Labels as ONNX knows them: 64-bit integers, or else strings."""
    if classes.dtype.kind not in "biuf":
        return np.array([str(label) for label in classes], dtype=object)
    low, high = int(classes.min()), int(classes.max())
    known = np.iinfo(np.int64)
    if low < known.min or high > known.max:
        raise ValueError(
            "The labels of an ONNX model must be 64-bit integers or strings, got labels from "
            f"{low} to {high}: encode them before fit, e.g. with LabelEncoder."
        )
    return classes.astype(np.int64)
