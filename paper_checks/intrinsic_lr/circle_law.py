r"""The law of a diffusion on the circle, and of its geodesic steps, by Fourier modes: no paths.

.. math:: d\theta = -f'(\theta)\,d\tau + (2T)^{1/2}dB_\tau, \qquad \theta' = \theta - hf'(\theta) + (2Th)^{1/2}z

in the flow time τ. A law is held as its means E exp(−ikθ), k = −MODES … MODES; f is a loss with a `profile`.
"""

import numpy as np

MODES = 48  # the law in a well of curvature 1 and width T^(1/2) has none beyond: exp(-k^2 T/2) < 1e-15 at T = 0.03
WAVES = np.arange(-MODES, MODES + 1)
ANGLES = 2 * np.pi * np.arange(256) / 256
AT_ZERO = np.ones(WAVES.size, dtype=complex)  # the law of theta = 0


def generator(loss, temperature):
    """Matrix of d/dtau of the means of the SDE."""
    slope = np.fft.fft(loss.profile(ANGLES, 1)) / ANGLES.size
    return 1j * WAVES[:, None] * slope[(WAVES[:, None] - WAVES) % ANGLES.size] - temperature * np.diag(WAVES**2)


def one_step(loss, temperature, h):
    """Matrix of a step of the means: E exp(-ik(theta - h f' + (2Th)^(1/2) z)), expanded in exp(-ij theta)."""
    turned = np.exp(1j * WAVES[:, None] * h * loss.profile(ANGLES, 1))
    coefficients = np.fft.fft(turned, axis=1) / ANGLES.size
    moved = np.take_along_axis(coefficients, (WAVES[:, None] - WAVES) % ANGLES.size, axis=1)
    return np.exp(-temperature * h * WAVES[:, None] ** 2) * moved


def mean_of(values, law):
    """E f(theta) under laws, shape (waves,) or (waves, laws); `values` are the f at ANGLES."""
    return ((np.fft.fft(values) / ANGLES.size)[-WAVES % ANGLES.size] @ law).real


def gap(loss, temperature):
    """The slowest rate, per unit of the flow time."""
    return float(np.sort(-np.linalg.eigvals(generator(loss, temperature)).real)[1])


def at_rest(values, loss, temperature):
    """E f under exp(-L/T) (the rule of equal weights converges faster than any power on a circle)."""
    weights = np.exp(-loss.profile(ANGLES) / temperature)
    return float(values @ weights / weights.sum())


def laws_at(times, loss, temperature):
    """The laws of the SDE from theta = 0 at some flow times, shape (waves, times)."""
    rates, vectors = np.linalg.eig(generator(loss, temperature))
    return vectors @ (np.linalg.solve(vectors, AT_ZERO)[:, None] * np.exp(rates[:, None] * times))
