"""Few combinations of many parameters."""

import itertools

import pytest


def pairwise(*factors, among=lambda *values: True):
    """Some of the combinations: any two values that meet in one of all meet in one of these.

    A fault that needs three values at once is rare; the whole grid costs several times as much.

    Parameters
    ----------
    *factors : iterables of hashable values
    among : callable, default: all
        Says of a combination whether there is one like that.
    """
    missing = {
        one: set(itertools.combinations(enumerate(one), 2))
        for one in itertools.product(*factors)
        if among(*one)
    }
    chosen = []
    while any(missing.values()):
        best = max(missing, key=lambda one: len(missing[one]))
        met = missing[best].copy()
        chosen.append(best)
        for pairs in missing.values():
            pairs -= met
    return chosen


def halved(*factors):
    """All combinations, every other one slow: cases that differ little, each of which is dear.

    In the quick run every value meets half of those of another factor; of three factors or more,
    each of which has two values at least, any two values meet.
    """
    places = itertools.product(*(range(len(factor)) for factor in factors))
    return [
        pytest.param(*values, marks=[pytest.mark.slow] if sum(place) % 2 else [])
        for place, values in zip(places, itertools.product(*factors), strict=True)
    ]
