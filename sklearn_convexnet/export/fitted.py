"""What is exported of a fitted estimator."""

from sklearn.utils.validation import check_is_fitted

from ..core.network import TwoLayerReLU


def fitted_network(estimator):
    """The network of a fitted estimator and its classes, None for a regressor."""
    network, name = getattr(estimator, "network_", None), type(estimator).__name__
    if isinstance(network, TwoLayerReLU):
        return network, getattr(estimator, "classes_", None)
    if type(estimator).__module__.split(".")[0] == __package__.split(".")[0]:
        check_is_fitted(estimator, "network_")
    if hasattr(estimator, "best_estimator_"):
        raise TypeError(f"estimator must be a network, got {name}: pass its best_estimator_.")
    if hasattr(estimator, "steps"):
        raise TypeError(f"estimator must be a network, got {name}: pass its last step.")
    raise TypeError(f"estimator must be a fitted convex ReLU network, got {name}.")
