"""What a fit tells of its checks."""

from ._fit import network_attributes


def show_check(task, estimator, entry, **seen):
    """Show an entry of the history to callbacks, as attribute of the context of its task.

    `seen` is what they are given beside it. Returns whether they ask to stop.
    """
    task.history_entry = entry
    task.call_on_fit_task_begin(estimator=estimator)
    return task.call_on_fit_task_end(estimator=estimator, **seen)


class Reporter:
    """Tells of the checks of one output, on the terminal and to callbacks.

    Where its network is that of the estimator, `known` is what the network of a check needs to be
    one: the data, their metadata, the attributes that are set already, and what makes it one of the
    features of the data.
    """

    def __init__(self, estimator, n_outputs, task, known, k):
        self.estimator, self.task = estimator, task
        self.known = known if n_outputs == 1 and task is not None else None
        self.label = f"[{type(estimator).__name__}] "
        if n_outputs > 1:
            self.label += f"output {k + 1}/{n_outputs}  "
        if estimator.verbose:
            print(
                f"{self.label}{'phase':<9}{'iteration':>9}{'upper':>14}{'lower':>14}{'gap':>10}"
                f"{'time':>9}"
            )
        if task is not None:
            self.task = task.subcontext("output", k, max_subtasks=None)
            self.task.call_on_fit_task_begin(estimator=estimator)

    def __call__(self, entry):
        if self.estimator.verbose:
            print(
                f"{self.label}{entry['phase']:<9}{entry['iteration']:>9}"
                f"{entry['upper_bound']:>14.6g}{entry['lower_bound']:>14.6g}"
                f"{entry['gap']:>10.1e}{entry['time']:>8.2f}s"
            )
        if self.task is not None:
            return show_check(
                self.task.subcontext(entry["phase"]), self.estimator, **self._seen(entry)
            )
        return None

    def _seen(self, entry):
        if self.known is None or entry.network is None:
            return {"entry": dict(entry)}
        X, y, metadata, attributes, to_user = self.known

        def fitted():
            return {**attributes, **network_attributes(to_user(entry.network()))}

        data = {"X": X, "y": y, "metadata": metadata}
        return {"entry": dict(entry), **data, "reconstruction_attributes": fitted}

    def end(self):
        """No more checks are to come."""
        if self.task is not None:
            self.task.call_on_fit_task_end(estimator=self.estimator)
