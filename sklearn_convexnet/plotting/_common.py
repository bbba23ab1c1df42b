"""What the displays share."""

from ..robustness.model import Model


def axes_or_new(ax):
    """The given axes, or those of a new figure."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as pyplot
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib: install it, e.g. with pip install 'sklearn-convexnet[plot]'."
        ) from error
    return pyplot.subplots(layout="constrained")[1]


def line_style(defaults, kwargs):
    """Keywords of a line, those of the user over ours; "c" and "color" are the same."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return defaults | normalize_kwargs(kwargs, Line2D)


def labelled(name, what):
    """A label of the legend."""
    return what if name is None else f"{name}, {what}"


def check_choice(parameter, value, choices):
    """Raise unless a parameter has one of the values that are possible here."""
    if value not in choices:
        raise ValueError(f"{parameter} must be one of {sorted(choices)}, got {value!r}.")


def fitted_attributes(estimator, names, of):
    """Attributes of a fitted estimator, or of the one that a search or a pipeline ends with.

    An error says what is wrong with another object.
    """
    if isinstance(estimator, type):
        raise TypeError(f"estimator must be a fitted instance, got the class {estimator!r}.")
    while (inner := _last_step(chosen(estimator))) is not estimator:
        estimator = inner
    name = type(estimator).__name__
    missing = [one for one in names if not hasattr(estimator, one)]
    if missing:
        raise ValueError(
            f"estimator must be {of}; {name} has no {' and no '.join(missing)}. Is it fitted?"
        )
    return [getattr(estimator, one) for one in names]


def chosen(estimator):
    """The estimator that a search has chosen; any other as it is."""
    return getattr(estimator, "best_estimator_", estimator)


def _last_step(estimator):
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def network_model(estimator, display):
    """What a display that takes X draws: an estimator, or that of a search, and its network."""
    estimator = chosen(estimator)
    if hasattr(estimator, "steps"):
        # its X is not that of the network
        raise TypeError(
            f"estimator must be a network, got {type(estimator).__name__}: with `model` for it, "
            f"call {display}.from_estimator(model[-1], model[:-1].transform(X), ...)."
        )
    return estimator, Model.of(estimator)


def choose_output(output, n_outputs):
    """The index of an output; the only one where there is one."""
    if output is None and n_outputs == 1:
        return 0
    if isinstance(output, bool) or output not in range(n_outputs):
        raise ValueError(
            f"output must be an index below {n_outputs}, the number of outputs of the network, "
            f"got {output!r}."
        )
    return int(output)
