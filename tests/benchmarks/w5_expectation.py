"""W5: E x(1)² of geometric Brownian motion (mu = sigma = 0.5, x(0) = 1), to a root-mean-square relative error of 1e-3 and 1e-4.

Time to a tolerance, so the unit is one answer. `expect` is asked for a margin of two standard errors, 2e-3 or 2e-4 relative at
95.45 %, bias bound included; `calls_rms` gives the error that it really has. Peers are timed at a part of the paths they need.
"""

from __future__ import annotations

import math

import numpy as np

TITLE, UNIT = "E x(1)^2 of geometric Brownian motion to a relative error of 1e-3 and 1e-4", "answer"
MU, SIGMA, CONFIDENCE = 0.5, 0.5, 0.9545
EXACT = math.exp(2 * MU + SIGMA**2)
EXPECTED = f"E x(1)^2 = {EXACT:.6f}"
RELATIVE_VARIANCE = math.exp(4 * SIGMA**2) - 1  # of x(1)²


def expect(error, **options):
    """Another seed each call, so that what is timed is not one lucky stream."""
    def prepare():
        import itertools

        import sympy

        import sdetheory as sdt

        x = sympy.Symbol("x")
        gbm = sdt.SDE([x], drift=[MU * x], diffusion=[[SIGMA * x]])
        seeds = itertools.count()

        def call():
            return sdt.expect(gbm, x**2, [1.0], t1=1.0, rtol=2 * error, confidence=CONFIDENCE, rng=next(seeds), **options).value

        return call

    return prepare


def calls_rms(error, calls=50, **options):
    """Root mean square of the relative errors of `calls` answers."""
    call = expect(error, **options)()
    return math.sqrt(np.mean([(call() / EXACT - 1) ** 2 for _ in range(calls)]))


def simulate_weak_order_2():
    """What a user would write without `expect`: 16 steps of weak order 2, as many paths as 1e-3 takes."""
    import sympy

    import sdetheory as sdt

    x = sympy.Symbol("x")
    gbm = sdt.SDE([x], drift=[MU * x], diffusion=[[SIGMA * x]])
    paths = int(RELATIVE_VARIANCE / 1e-6)
    return lambda: sdt.simulate(gbm, [1.0], t1=1.0, dt=1 / 16, n_paths=paths, scheme="weak_order_2_three_point",
                                observe={"square": x**2}, keep_paths=False, rng=0).square[-1]


def numpy_euler(part):
    """Euler–Maruyama in NumPy: bias 1e-3/√2 takes about 900 steps; `part` of the paths."""
    def prepare():
        generator = np.random.Generator(np.random.SFC64(0))
        paths, steps = int(2 * RELATIVE_VARIANCE / 1e-6 * part), 900

        def call():
            x = np.ones(paths)
            for _ in range(steps):
                x += MU * x / steps + SIGMA * x * generator.standard_normal(paths) / math.sqrt(steps)
            return np.mean(x**2)

        return call

    return prepare


CANDIDATES = {
    "sdetheory expect, 1e-3": (expect(1e-3), 1),
    "sdetheory expect, 1e-4": (expect(1e-4), 1),
    "expect multilevel, 1e-3": (expect(1e-3, method="multilevel", control=False), 1),
    "expect multilevel, 1e-4": (expect(1e-4, method="multilevel", control=False), 1),
    "expect no control, 1e-3": (expect(1e-3, control=False), 1),
    "simulate, weak order 2, 1e-3": (simulate_weak_order_2, 1),
    "NumPy Euler, 1e-3, 1/100 of it": (numpy_euler(0.01), 0.01),
}

if __name__ == "__main__":
    print({error: calls_rms(error) for error in (1e-3, 1e-4)})
