"""Gated sparse autoencoders, one-sided and sign-aware: the numerics, and what to judge them by."""

from .metrics import (
    bipolar_fraction,
    dead_fraction,
    l0,
    r2,
    recovered_fraction,
    relative_reconstruction_bias,
)

__all__ = [
    "bipolar_fraction",
    "dead_fraction",
    "l0",
    "r2",
    "recovered_fraction",
    "relative_reconstruction_bias",
]
