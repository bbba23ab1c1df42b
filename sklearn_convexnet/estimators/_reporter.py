"""What a fit tells of its checks."""


class Reporter:
    """Tells of the checks of one output, on the terminal and to callbacks."""

    def __init__(self, estimator, n_outputs, task, k):
        self.estimator, self.task = estimator, task
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
            check = self.task.subcontext(entry["phase"])
            check = check.call_on_fit_task_begin(estimator=self.estimator)
            return check.call_on_fit_task_end(estimator=self.estimator, metadata=entry)
        return None

    def end(self):
        """No more checks are to come."""
        if self.task is not None:
            self.task.call_on_fit_task_end(estimator=self.estimator)
