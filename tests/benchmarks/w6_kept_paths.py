"""W6: geometric Brownian motion by Euler–Maruyama, 1e5 paths, 100 steps, every path at every step; float64.

Each candidate makes a new array of all paths at each call and answers with the mean of their ends. Our streamed ones are there
to say what keeping costs, and the array alone what any kept one has to pay. The packages in Rust have geometric Brownian motion
by the same scheme (sde-sim-rs as an equation in a string) and always keep all; sde-sim-rs is slow enough for a tenth of the paths.
"""

from __future__ import annotations

import math

import numpy as np

TITLE, UNIT = "scalar SDE, Euler–Maruyama, 100,000 paths x 100 steps, all kept", "path-step"
MU, SIGMA, DT, PATHS, STEPS = 0.5, 0.5, 1e-2, 100_000, 100
EXPECTED = f"E x(1) = {math.exp(MU):.4f}, by the scheme {(1 + MU * DT) ** STEPS:.4f}; the array alone answers 1"


def simulate(**kept):
    def prepare():
        import sympy

        import sdetheory as sdt

        x = sympy.Symbol("x")
        gbm = sdt.SDE([x], drift=[MU * x], diffusion=[[SIGMA * x]])
        return lambda: sdt.simulate(gbm, [1.0], t1=1.0, dt=DT, n_paths=PATHS, rng=0, **kept).x.values[..., -1].mean()

    return prepare


def array_alone():
    """A new array of that size, written once: the limit."""
    return lambda: np.ones((PATHS, STEPS + 1))[:, -1].mean()


def numpy_cumulative():
    generator = np.random.Generator(np.random.SFC64(0))

    def call():
        x = np.ones((PATHS, STEPS + 1))
        factors = generator.standard_normal((PATHS, STEPS))
        factors *= SIGMA * math.sqrt(DT)
        factors += 1 + MU * DT
        np.cumprod(factors, axis=1, out=x[:, 1:])
        return x[:, -1].mean()

    return call


def numpy_loop():
    generator = np.random.Generator(np.random.SFC64(0))

    def call():
        x, z = np.ones((STEPS + 1, PATHS)), np.empty(PATHS)
        for step in range(STEPS):
            generator.standard_normal(out=z)
            x[step + 1] = x[step] + MU * x[step] * DT + SIGMA * x[step] * (math.sqrt(DT) * z)
        return x[-1].mean()

    return call


def jax_scan(precision):
    def prepare():
        import jax

        jax.config.update("jax_enable_x64", precision == "float64")
        import jax.numpy as jnp

        def step(x, key):
            x = x + MU * x * DT + SIGMA * x * math.sqrt(DT) * jax.random.normal(key, (PATHS,), dtype=precision)
            return x, x

        def paths(key):
            start = jnp.ones(PATHS, dtype=precision)
            return jnp.concatenate([start[None], jax.lax.scan(step, start, jax.random.split(key, STEPS))[1]])

        run = jax.jit(paths)
        return lambda: run(jax.random.key(0)).block_until_ready()[-1].mean()

    return prepare


def stochastic_rs(seed):
    """With a seed it runs on one thread, without on all cores; `n` counts points, not steps."""

    def prepare():
        import stochastic_rs

        gbm = stochastic_rs.PyGbm(mu=MU, sigma=SIGMA, n=STEPS + 1, x0=1.0, t=STEPS * DT, seed=seed)
        return lambda: gbm.sample_par(PATHS)[:, -1].mean()

    return prepare


def pathwise_sde():
    import pathwise

    gbm, euler = pathwise.gbm(MU, SIGMA), pathwise.euler()
    return lambda: pathwise.simulate(gbm, euler, n_paths=PATHS, n_steps=STEPS, t1=STEPS * DT, x0=1.0)[:, -1].mean()


def sde_sim_rs():
    """A long table comes back, a row a path and time, whose values are the array."""
    import sde_sim_rs

    equation, times = [f"dX = ( {MU} * X ) * dt + ( {SIGMA} * X ) * dW1"], [step * DT for step in range(STEPS + 1)]

    def call():
        table = sde_sim_rs.simulate(equation, times, PATHS // 10, {"X": 1.0}, "pseudo", "euler")
        return table["value"].to_numpy().reshape(PATHS // 10, STEPS + 1)[:, -1].mean()

    return call


CANDIDATES = {
    "sdetheory (all paths kept)": (simulate(save_every=1), PATHS * STEPS),
    "sdetheory (streamed, the end)": (simulate(keep_paths=False), PATHS * STEPS),
    "sdetheory (streamed, every step)": (simulate(keep_paths=False, save_every=1), PATHS * STEPS),
    "the array alone": (array_alone, PATHS * STEPS),
    "NumPy SFC64, cumulative product": (numpy_cumulative, PATHS * STEPS),
    "NumPy SFC64, step by step": (numpy_loop, PATHS * STEPS),
    "jax scan float32": (jax_scan("float32"), PATHS * STEPS),
    "jax scan float64": (jax_scan("float64"), PATHS * STEPS),
    "stochastic-rs, no seed": (stochastic_rs(None), PATHS * STEPS),
    "stochastic-rs, a seed, so one thread": (stochastic_rs(0), PATHS * STEPS),
    "pathwise-sde Euler": (pathwise_sde, PATHS * STEPS),
    "sde-sim-rs Euler, 10,000 paths": (sde_sim_rs, PATHS // 10 * STEPS),
}
