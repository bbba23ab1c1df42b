r"""The gated sparse autoencoder, one-sided or two-sided: codes, losses, gradients.

One formula serves both. With :math:`z = W_\mathrm{enc}(x - b_\mathrm{dec})`, a one-sided latent
looks at :math:`a = z` and has the sign :math:`s = 1`; a two-sided one looks at :math:`a = |z|` and
has :math:`s = \operatorname{sign} z`. Then

.. math::

    \pi = a + b, \qquad f = s \, 1[\pi > 0] \, (e^r a + c)_+, \qquad
    \hat x = W_\mathrm{dec}^\top f + b_\mathrm{dec}

with the gate bias b, the log-gain r and the offset c of the side that z lies on. These are the
gates and the magnitudes of both sides, written once: with thresholds :math:`-b \ge 0` the gates
:math:`z + b^+ > 0` and :math:`-z + b^- > 0` are never open together.
"""

from dataclasses import dataclass

import numpy as np

# what training moves: the names of attributes, and of their gradients
PARAMETERS = ("encoder", "gate_bias", "log_gain", "offset", "decoder", "decoder_bias")


@dataclass
class Autoencoder:
    r"""Weights of a gated sparse autoencoder.

    Parameters
    ----------
    encoder : ndarray of shape (n_latents, n_features)
        :math:`W_\mathrm{enc}`, shared by gate and magnitude.
    gate_bias, log_gain, offset : ndarray of shape (1, n_latents) or (2, n_latents)
        b, r and c. Two rows: of the positive side and of the negative; one row: of all there are.
    decoder : ndarray of shape (n_latents, n_features)
        :math:`W_\mathrm{dec}`, rows of unit length.
    decoder_bias : ndarray of shape (n_features,)
        :math:`b_\mathrm{dec}`.
    two_sided : bool
        Whether latents fire on both sides, with signed codes.
    """

    encoder: np.ndarray
    gate_bias: np.ndarray
    log_gain: np.ndarray
    offset: np.ndarray
    decoder: np.ndarray
    decoder_bias: np.ndarray
    two_sided: bool

    @classmethod
    def start(cls, n_latents, n_features, rng, *, threshold, two_sided, tied, dtype):
        """Random unit decoder rows, the encoder equal to them, and all gates at one threshold."""
        decoder = rng.standard_normal((n_latents, n_features))
        decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
        decoder = decoder.astype(dtype)
        zeros = np.zeros((1 if tied or not two_sided else 2, n_latents), dtype=dtype)
        return cls(
            encoder=decoder.copy(),
            gate_bias=zeros - float(threshold),
            log_gain=zeros.copy(),
            offset=zeros.copy(),
            decoder=decoder,
            decoder_bias=np.zeros(n_features, dtype=dtype),
            two_sided=two_sided,
        )

    def in_units(self, center, scale):
        """The same for rows ``scale * x + center``; its codes are `scale` times as large."""
        return Autoencoder(
            encoder=self.encoder.copy(),
            gate_bias=scale * self.gate_bias,
            log_gain=self.log_gain.copy(),
            offset=scale * self.offset,
            decoder=self.decoder.copy(),
            decoder_bias=scale * self.decoder_bias + center,
            two_sided=self.two_sided,
        )

    def encode(self, X):
        """Codes of the rows of X, shape (n_samples, n_latents)."""
        _, argument, sign = self._arguments(X)
        is_open = argument + self._of_side(self.gate_bias, sign) > 0
        codes = np.exp(self._of_side(self.log_gain, sign)) * argument
        codes += self._of_side(self.offset, sign)
        codes *= is_open & (codes > 0)
        codes *= sign
        codes += 0  # no negative zeros
        return codes

    def decode(self, codes):
        """Rows that the codes stand for, shape (n_samples, n_features)."""
        return codes @ self.decoder + self.decoder_bias

    def losses(self, X, *, frozen=None):
        r"""The three terms of the loss, means over the rows of X.

        .. math::

            \|x - \hat x\|^2, \qquad \sum_i (\pi_i)_+, \qquad
            \|x - \bar W_\mathrm{dec}^\top (s \circ (\pi)_+) - \bar b_\mathrm{dec}\|^2

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        frozen : tuple of two ndarray, default=None
            The constants :math:`\bar W_\mathrm{dec}` and :math:`\bar b_\mathrm{dec}` of the
            auxiliary term; by default the current decoder.

        Returns
        -------
        dict
            "reconstruction", "sparsity" and "auxiliary".
        """
        decoder, bias = (self.decoder, self.decoder_bias) if frozen is None else frozen
        _, argument, sign = self._arguments(X)
        passed = np.maximum(argument + self._of_side(self.gate_bias, sign), 0)
        return {
            "reconstruction": _mean_square(self.decode(self.encode(X)) - X),
            "sparsity": float(passed.sum(dtype=np.float64) / len(X)),
            "auxiliary": _mean_square((passed * sign) @ decoder + bias - X),
        }

    def gradients(self, X, *, reconstruction=1.0, sparsity, auxiliary=1.0):
        """The losses, and the gradient of a weighted sum of them.

        Where derivatives stop: the step function of a gate has none, so the reconstruction does
        not move the gate biases. The decoder inside the auxiliary term is a constant, so that this
        term moves only what decides on the gates: encoder, gate biases, and the decoder's bias
        where it centres X in front of the encoder.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        reconstruction, sparsity, auxiliary : float
            Weights of the terms; an auxiliary one of 0 saves its cost.

        Returns
        -------
        losses : dict
            As of `losses`, without "auxiliary" if its weight is 0.
        gradients : dict
            An array for each of `PARAMETERS`.
        fires : ndarray of bool of shape (n_samples, n_latents)
            Where the codes are not zero.
        """
        n = len(X)
        centred, argument, sign = self._arguments(X)
        passed = argument + self._of_side(self.gate_bias, sign)
        is_open = passed > 0
        passed *= is_open
        gain = np.exp(self._of_side(self.log_gain, sign))
        amplified = gain * argument
        codes = amplified + self._of_side(self.offset, sign)
        fires = is_open & (codes > 0)
        codes *= fires
        codes *= sign

        error = self.decode(codes) - X
        losses = {
            "reconstruction": _mean_square(error),
            "sparsity": float(passed.sum(dtype=np.float64) / n),
        }
        error *= 2 * reconstruction / n
        by_magnitude = error @ self.decoder.T
        by_magnitude *= sign
        by_magnitude *= fires

        by_gate = np.zeros_like(passed)
        if auxiliary:
            passed *= sign
            soft_error = self.decode(passed) - X
            losses["auxiliary"] = _mean_square(soft_error)
            soft_error *= 2 * auxiliary / n
            np.matmul(soft_error, self.decoder.T, out=by_gate)
            by_gate *= sign
        by_gate += sparsity / n
        by_gate *= is_open

        amplified *= by_magnitude
        by_z = gain * by_magnitude
        by_z += by_gate
        by_z *= sign
        gradients = {
            "encoder": by_z.T @ centred,
            "gate_bias": self._sum_by_side(by_gate, sign),
            "log_gain": self._sum_by_side(amplified, sign),
            "offset": self._sum_by_side(by_magnitude, sign),
            "decoder": codes.T @ error,
            "decoder_bias": error.sum(axis=0) - by_z.sum(axis=0) @ self.encoder,
        }
        return losses, gradients, fires

    def _arguments(self, X):
        """Centred rows, what the latents look at, and the signs of their codes."""
        centred = X - self.decoder_bias
        z = centred @ self.encoder.T
        return (centred, np.abs(z), np.sign(z)) if self.two_sided else (centred, z, 1)

    def _of_side(self, parameter, sign):
        """The parameter of the side that each z lies on."""
        if len(parameter) == 1:
            return parameter
        return np.where(sign < 0, parameter[1], parameter[0])

    def _sum_by_side(self, values, sign):
        """Sums over the samples, for each side that has parameters of its own."""
        total = values.sum(axis=0)
        if len(self.gate_bias) == 1:
            return total[None]
        negative = np.sum(values, axis=0, where=sign < 0)
        return np.stack([total - negative, negative])


def _mean_square(errors):
    """Mean over the rows of the squared length."""
    return float(np.einsum("ij,ij->", errors, errors) / len(errors))
