"""Training by mini-batches: schedules, the bound on thresholds, latents that have died."""

import copy
import time
from dataclasses import dataclass

import numpy as np

from .adam import Adam
from .model import PARAMETERS

# steps between two entries of a history
CHECK = 100
# last share of the steps of a fit, in which the learning rate falls to zero
COOLING = 0.2


@dataclass(frozen=True)
class Settings:
    """What may change between two runs of a `Trainer`.

    Parameters
    ----------
    alpha : float
        Weight of the sparsity term.
    auxiliary : bool
        Whether there is an auxiliary term.
    learning_rate : float
    alpha_warmup, learning_rate_warmup : int
        Steps in which they rise from near zero.
    dead_latents : {"reset", "resample", None}
        What happens to dead latents.
    dead_after : int
        A latent is dead when it has not fired for that many steps.
    threshold : float
        Threshold of a latent that comes back.
    """

    alpha: float
    auxiliary: bool
    learning_rate: float
    alpha_warmup: int
    learning_rate_warmup: int
    dead_latents: str | None
    dead_after: int
    threshold: float


class Trainer:
    """An autoencoder in training, with all that the next step depends on.

    Parameters
    ----------
    model : Autoencoder
        Trained in place.
    rng : RandomState
        For the samples that dead latents are set to.
    """

    def __init__(self, model, rng):
        self.model, self.rng = model, rng
        self.adam = Adam(self._parameters(), unit_rows=("decoder",))
        self.n_steps = 0
        self._silent_for = np.zeros(len(model.encoder), dtype=int)
        self._warm_from = 0

    def copy(self):
        """The same training, to go on with apart from this one, but for the generator."""
        # that may be the caller's, or NumPy's, whose draws others count on
        return copy.deepcopy(self, {id(self.rng): self.rng})

    def run(self, batches, settings, *, n_steps=None, on_check=None):
        """Take a step for each batch.

        Parameters
        ----------
        batches : iterable of ndarray of shape (batch_size, n_features)
        settings : Settings
        n_steps : int, default=None
            Number of batches, where it is known: the learning rate then falls to zero in the last
            fifth of the steps, and dead latents are left alone there.
        on_check : callable, default=None
            Called with each entry of the history; a true value stops the run.

        Returns
        -------
        list of dict
            An entry per hundred steps and one for the rest: "iteration", means since the last one
            of the terms of the loss and of the number of non-zero codes of a sample ("l0"), the
            share of latents that are dead ("dead") and the seconds ("time").
        """
        history, since, start = [], [], time.perf_counter()
        cooling = None if n_steps is None else max(1, round(COOLING * n_steps))

        def check():
            entry = {"iteration": self.n_steps}
            entry |= {key: float(np.mean([one[key] for one in since])) for key in since[0]}
            entry["dead"] = float(np.mean(self._silent_for >= settings.dead_after))
            entry["time"] = time.perf_counter() - start
            since.clear()
            history.append(entry)
            return on_check is not None and on_check(entry)

        for k, X in enumerate(batches):
            share = 1.0 if cooling is None else min(1.0, (n_steps - k) / cooling)
            since.append(self._step(X, settings, share))
            if self.n_steps % settings.dead_after == 0 and share == 1.0:
                self._revive(X, settings)
            if self.n_steps % CHECK == 0 and check():
                break
        if since:
            check()
        parameters = [array.ravel() for array in self._parameters().values()]
        self._check_finite(np.concatenate(parameters), settings)
        return history

    def _check_finite(self, values, settings):
        if not np.isfinite(values).all():
            raise ValueError(
                f"Training diverged at step {self.n_steps}: decrease learning_rate, got "
                f"{settings.learning_rate!r}."
            )

    def _step(self, X, settings, share):
        model, parameters = self.model, self._parameters()
        alpha = settings.alpha * _ramp(self.n_steps, settings.alpha_warmup)
        with np.errstate(over="ignore", invalid="ignore"):
            losses, gradients, fires = model.gradients(
                X, sparsity=alpha, auxiliary=float(settings.auxiliary)
            )
            self._check_finite(list(losses.values()), settings)
            rise = _ramp(self.n_steps - self._warm_from, settings.learning_rate_warmup)
            self.adam.step(parameters, gradients, settings.learning_rate * rise * share)
        if model.two_sided:
            # thresholds of at least zero keep the two gates of a latent from opening together
            np.minimum(model.gate_bias, 0, out=model.gate_bias)
        self.n_steps += 1
        self._silent_for += 1
        self._silent_for[fires.any(axis=0)] = 0
        return losses | {"l0": np.count_nonzero(fires) / len(X)}

    @np.errstate(over="ignore", invalid="ignore")
    def _revive(self, X, settings):
        """Give dead latents a new start.

        "reset": gate, gain and offset as in the beginning. "resample": the direction too, which
        becomes that of a sample of the batch, drawn with a probability like its squared loss, with
        a short encoder row; the learning rate warms up again (as Rajamanoharan et al. do, arXiv
        2404.16014, after Bricken et al., "Towards Monosemanticity", 2023).
        """
        dead = self._silent_for >= settings.dead_after
        if settings.dead_latents is None or not dead.any():
            return
        model = self.model
        model.gate_bias[:, dead] = -settings.threshold
        model.log_gain[:, dead] = 0
        model.offset[:, dead] = 0
        if settings.dead_latents == "resample":
            rows = X - model.decoder_bias
            lengths = np.linalg.norm(rows, axis=1)
            errors = model.decode(model.encode(X)) - X
            weights = np.einsum("ij,ij->i", errors, errors).astype(float) ** 2 * (lengths > 0)
            total = weights.sum()
            self._check_finite(total, settings)
            if total:
                size = int(dead.sum())
                chosen = self.rng.choice(len(X), size, p=weights / total)
                typical = (
                    np.linalg.norm(model.encoder[~dead], axis=1).mean() if size < len(dead) else 1.0
                )
                model.decoder[dead] = rows[chosen] / lengths[chosen, None]
                model.encoder[dead] = 0.2 * typical * model.decoder[dead]
                self._warm_from = self.n_steps
        for name, moment in self.adam.moments.items():
            if name in ("encoder", "decoder"):
                self.adam.forget(moment, dead)
            elif name != "decoder_bias":
                self.adam.forget(moment.T, dead)
        self._silent_for[dead] = 0

    def _parameters(self):
        return {name: getattr(self.model, name) for name in PARAMETERS}


def minibatches(X, size, rng):
    """Mini-batches without end: pass after pass over the rows, each in a new order."""
    size = min(size, len(X))
    while True:
        order = rng.permutation(len(X))
        for start in range(0, len(X) - size + 1, size):
            yield X[order[start : start + size]]


def _ramp(step, length):
    return min(1.0, (step + 1) / length) if length else 1.0
