"""W1: geometric Brownian motion by Euler–Maruyama, 1e5 paths, 1000 steps, final state only; float64.

The packages in Rust keep all paths, and have no way not to.
"""

from __future__ import annotations

import math

import numpy as np

TITLE, UNIT = "scalar SDE, Euler–Maruyama, 100,000 paths x 1000 steps", "path-step"
MU, SIGMA, DT, PATHS, STEPS = 0.5, 0.5, 1e-3, 100_352, 1000
EXPECTED = f"E x(1) = {math.exp(MU):.4f}"


def simulate():
    import sympy

    import sdetheory as sdt

    x = sympy.Symbol("x")
    gbm = sdt.SDE([x], drift=[MU * x], diffusion=[[SIGMA * x]])
    return lambda: sdt.simulate(gbm, [1.0], t1=1.0, dt=DT, n_paths=PATHS, rng=0, keep_paths=False).x[-1]


def simulate_callables():
    import numba

    import sdetheory as sdt

    @numba.njit
    def drift(x, t):
        return MU * x

    @numba.njit
    def diffusion(x, t):
        return SIGMA * x

    gbm = sdt.SDE.from_callables(drift, diffusion, dim=1, noise_dim=1)
    return lambda: sdt.simulate(gbm, [1.0], t1=1.0, dt=DT, n_paths=PATHS, rng=0, keep_paths=False)[gbm.states[0].name][-1]


def normals_alone():
    """Our own normals and nothing else: the limit."""
    from concurrent.futures import ThreadPoolExecutor

    from sdetheory import random
    from sdetheory.random.fill import draw_kernel

    blocks = [np.empty((8, 512)) for _ in range(2)]
    key, draw = int(random.stream_key(0, "path")), draw_kernel("normal").call

    def fill(worker):
        place = blocks[worker].ctypes.data
        for block in range(worker, PATHS // 512, 2):
            for step in range(0, STEPS, 8):
                draw(place, 8, 512, block * 512, step, key, 1.0)

    def call():
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(fill, range(2)))
        return blocks[0][0, 0]

    return call


def numpy_loop():
    generator = np.random.Generator(np.random.SFC64(0))

    def call():
        x, z = np.ones(PATHS), np.empty(PATHS)
        for _ in range(STEPS // 10):
            generator.standard_normal(out=z)
            x += MU * x * DT + SIGMA * x * (math.sqrt(DT) * z)
        return x.mean()

    return call


def mkl_loop():
    import mkl_random

    generator = mkl_random.RandomState(0, brng="PHILOX4X32X10")

    def call():
        x = np.ones(PATHS)
        for _ in range(STEPS // 10):
            x += MU * x * DT + SIGMA * x * (math.sqrt(DT) * generator.standard_normal(PATHS, method="ICDF"))
        return x.mean()

    return call


def jax_scan(precision):
    def prepare():
        import jax

        jax.config.update("jax_enable_x64", precision == "float64")
        import jax.numpy as jnp

        def step(x, key):
            z = jax.random.normal(key, (PATHS,), dtype=precision)
            return x + MU * x * DT + SIGMA * x * math.sqrt(DT) * z, None

        run = jax.jit(lambda key: jax.lax.scan(step, jnp.ones(PATHS, dtype=precision), jax.random.split(key, STEPS // 10))[0])
        return lambda: run(jax.random.key(0)).block_until_ready().mean()

    return prepare


def diffrax_euler():
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def one(key):
        path = diffrax.UnsafeBrownianPath(shape=(), key=key)
        terms = diffrax.MultiTerm(diffrax.ODETerm(lambda t, y, a: MU * y), diffrax.ControlTerm(lambda t, y, a: SIGMA * y, path))
        return diffrax.diffeqsolve(terms, diffrax.Euler(), 0.0, 0.1, DT, jnp.asarray(1.0), adjoint=diffrax.DirectAdjoint(),
                                   max_steps=200).ys[0]

    run = jax.jit(jax.vmap(one))
    return lambda: run(jax.random.split(jax.random.key(0), PATHS)).block_until_ready().mean()


def torchsde_euler():
    import torch
    import torchsde

    class GBM(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, y):
            return MU * y

        def g(self, t, y):
            return SIGMA * y

    gbm, times = GBM(), torch.tensor([0.0, 0.1], dtype=torch.float64)

    def call():
        with torch.no_grad():
            start = torch.ones(PATHS, 1, dtype=torch.float64)
            return torchsde.sdeint(gbm, start, times, dt=DT, method="euler")[-1].mean().item()

    return call


def stochastic_rs():
    """Without a seed, for with one it runs on one thread; `n` counts points, not steps."""
    import stochastic_rs

    gbm = stochastic_rs.PyGbm(mu=MU, sigma=SIGMA, n=STEPS // 10 + 1, x0=1.0, t=STEPS // 10 * DT)
    return lambda: gbm.sample_par(PATHS)[:, -1].mean()


def pathwise_sde():
    import pathwise

    gbm, euler = pathwise.gbm(MU, SIGMA), pathwise.euler()
    return lambda: pathwise.simulate(gbm, euler, n_paths=PATHS, n_steps=STEPS // 10, t1=STEPS // 10 * DT, x0=1.0)[:, -1].mean()


def sde_sim_rs():
    """A long table comes back, a row a path and time; slow enough for fewer paths."""
    import sde_sim_rs

    equation, times = [f"dX = ( {MU} * X ) * dt + ( {SIGMA} * X ) * dW1"], [step * DT for step in range(STEPS // 10 + 1)]

    def call():
        table = sde_sim_rs.simulate(equation, times, PATHS // 10, {"X": 1.0}, "pseudo", "euler")
        return table["value"].to_numpy()[STEPS // 10 :: STEPS // 10 + 1].mean()

    return call


CANDIDATES = {
    "sdetheory (SymPy SDE)": (simulate, PATHS * STEPS),
    "sdetheory (njit callables)": (simulate_callables, PATHS * STEPS),
    "our normals alone": (normals_alone, PATHS * STEPS),
    "NumPy SFC64, to t = 0.1": (numpy_loop, PATHS * STEPS // 10),
    "NumPy + MKL ICDF, to t = 0.1": (mkl_loop, PATHS * STEPS // 10),
    "jax scan float32, to t = 0.1": (jax_scan("float32"), PATHS * STEPS // 10),
    "jax scan float64, to t = 0.1": (jax_scan("float64"), PATHS * STEPS // 10),
    "diffrax Euler, to t = 0.1": (diffrax_euler, PATHS * STEPS // 10),
    "torchsde Euler, to t = 0.1": (torchsde_euler, PATHS * STEPS // 10),
    "stochastic-rs, all kept, to t = 0.1": (stochastic_rs, PATHS * STEPS // 10),
    "pathwise-sde Euler, all kept, to t = 0.1": (pathwise_sde, PATHS * STEPS // 10),
    "sde-sim-rs, 10,035 paths kept, to t = 0.1": (sde_sim_rs, PATHS // 10 * (STEPS // 10)),
}
