"""Few combinations of many parameters."""

import itertools


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
