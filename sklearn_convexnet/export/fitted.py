"""What is exported of a fitted estimator."""

from sklearn.utils.validation import check_is_fitted

from ..core.network import TwoLayerReLU


def fitted_network(estimator):
    """The network of a fitted estimator and its classes, None for a regressor."""
    network = getattr(estimator, "network_", None)
    if isinstance(network, TwoLayerReLU):
        return network, getattr(estimator, "classes_", None)
    if type(estimator).__module__.split(".")[0] == __package__.split(".")[0]:
        check_is_fitted(estimator, "network_")
    raise TypeError(f"estimator must be a fitted convex ReLU network, got {estimator!r}.")
