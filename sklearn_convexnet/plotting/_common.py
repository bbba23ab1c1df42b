"""What the displays share."""


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
    """Attributes of a fitted estimator; an error says what is wrong with another object."""
    name = type(estimator).__name__
    if isinstance(estimator, type):
        raise TypeError(f"estimator must be a fitted instance, got the class {estimator!r}.")
    if hasattr(estimator, "steps"):
        raise TypeError(f"estimator must be {of}, got {name}: pass its last step.")
    if hasattr(estimator, "best_estimator_"):
        raise TypeError(f"estimator must be {of}, got {name}: pass its best_estimator_.")
    missing = [one for one in names if not hasattr(estimator, one)]
    if missing:
        raise ValueError(
            f"estimator must be {of}; {name} has no {' and no '.join(missing)}. Is it fitted?"
        )
    return [getattr(estimator, one) for one in names]


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
