"""W3: one long path of an Ornstein–Uhlenbeck process by Euler–Maruyama, 1e7 steps."""

from __future__ import annotations

import math

import numpy as np

TITLE, UNIT = "one path, Euler–Maruyama, 10,000,000 steps", "step"
STEPS, DT = 10_000_000, 1e-3
EXPECTED = "a draw from N(0, 0.25)"


def simulate():
    import sympy

    import sdetheory as sdt

    x = sympy.Symbol("x")
    ou = sdt.SDE([x], drift=[-0.5 * x], diffusion=[[0.5]])
    return lambda: sdt.simulate(ou, [0.0], n_steps=STEPS, dt=DT, n_paths=1, rng=0).x[0, -1]


def numpy_lfilter():
    from scipy.signal import lfilter

    generator = np.random.Generator(np.random.SFC64(0))
    return lambda: lfilter([0.5 * math.sqrt(DT)], [1.0, -(1 - 0.5 * DT)], generator.standard_normal(STEPS))[-1]


def numba_random():
    import numba

    @numba.njit
    def path(generator):
        x = 0.0
        for _ in range(STEPS):
            x += -0.5 * x * DT + 0.5 * math.sqrt(DT) * generator.standard_normal()
        return x

    generator = np.random.Generator(np.random.SFC64(0))
    return lambda: path(generator)


def jax_scan():
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    def run(key):
        z = jax.random.normal(key, (STEPS // 10,), dtype=jnp.float64)
        return jax.lax.scan(lambda x, dw: (x - 0.5 * x * DT + 0.5 * math.sqrt(DT) * dw, None), 0.0, z)[0]

    jitted = jax.jit(run)
    return lambda: jitted(jax.random.key(0)).block_until_ready()


CANDIDATES = {
    "sdetheory (SymPy SDE)": (simulate, STEPS),
    "NumPy + SciPy lfilter (linear only)": (numpy_lfilter, STEPS),
    "Numba Generator loop": (numba_random, STEPS),
    "jax scan float64, 1e6 steps": (jax_scan, STEPS // 10),
}
