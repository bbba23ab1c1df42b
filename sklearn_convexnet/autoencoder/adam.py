"""Adam with a decoder whose rows keep unit length."""

import numpy as np


class Adam:
    """Second moments of the gradients, and the steps that they scale.

    Adam (Kingma & Ba, arXiv 1412.6980) with a first moment of 0, as Rajamanoharan et al. (arXiv
    2404.16014) train gated autoencoders. A parameter named in `unit_rows` moves on the sphere:
    the part of its gradient along the rows is left out, and the rows are normalised after the step.

    Parameters
    ----------
    parameters : dict
        Arrays by name; `step` writes into them.
    unit_rows : tuple of str
        Names of the matrices with rows of unit length.
    """

    DECAY, EPSILON = 0.999, 1e-8

    def __init__(self, parameters, unit_rows=()):
        self.unit_rows = unit_rows
        self.moments = {name: np.zeros_like(array) for name, array in parameters.items()}
        self.n_steps = 0

    def step(self, parameters, gradients, learning_rate):
        """Move the parameters against the gradients, in place."""
        self.n_steps += 1
        # of the bias towards 0 of a mean that started there
        correction = np.sqrt(1 - self.DECAY**self.n_steps)
        for name, gradient in gradients.items():
            array, moment = parameters[name], self.moments[name]
            if name in self.unit_rows:
                along = np.einsum("ij,ij->i", gradient, array)
                gradient = gradient - along[:, None] * array
            moment *= self.DECAY
            moment += (1 - self.DECAY) * gradient**2
            array -= (learning_rate * correction) * gradient / (np.sqrt(moment) + self.EPSILON)
            if name in self.unit_rows:
                array /= np.sqrt(np.einsum("ij,ij->i", array, array))[:, None]

    @staticmethod
    def forget(moment, chosen):
        """Give rows that start anew the second moments of a typical other row.

        Zeros would make their first steps huge: without a first moment, 1 / sqrt(1 - DECAY) = 32
        times the learning rate.

        Parameters
        ----------
        moment : ndarray of shape (n_rows, ...)
            One of `moments`, or its transpose; written into.
        chosen : ndarray of bool of shape (n_rows,)
        """
        if not chosen.all():
            moment[chosen] = moment[~chosen].mean(axis=0)
