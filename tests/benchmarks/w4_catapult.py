"""W4: a phase map of the uv model, 128 learning rates x 128 nets, n = 512, 200 steps; all weights, and two numbers; float64."""

from __future__ import annotations

from functools import partial

import numpy as np

TITLE, UNIT = "catapult phase map, n = 512, 200 steps, 128 x 128 cells unless told", "cell-step"
WIDTH, STEPS, CELLS = 512, 200, 128


def axes(cells=CELLS):
    """Learning rates, from far below 2/λ_0 to far beyond 4/λ_0, and the weights (u, v) of the nets."""
    return np.linspace(0.25, 2.5, cells), np.random.default_rng(0).standard_normal((cells, 2 * WIDTH))


def share(f):
    """The share of cells that diverged."""
    return 1 - np.isfinite(np.asarray(f)).mean()


def edge():
    lr, w0 = axes()
    return (lr[:, None] > 4 / (np.sum(w0**2, axis=1) / WIDTH)).mean()


EXPECTED = f"share of cells beyond lr = 4/curvature = {edge():.5f} (another grid at 256 x 256)"


def full(cells=CELLS):
    import sdetheory as sdt
    from sdetheory.dynamics.uv_weights import UVDescent

    lr, w0 = axes(cells)
    return lambda: share(sdt.simulate(UVDescent(width=WIDTH, lr=1.0), w0, n_steps=STEPS, n_paths=cells, observe=["f"],
                                      sweep={"lr": lr}).f)


def products():
    """All weights by two products: what the weights are at the end, at the price of two numbers."""
    import sdetheory as sdt
    from sdetheory.dynamics.uv_weights import UVProducts

    lr, w0 = axes()
    return lambda: share(sdt.simulate(UVProducts(width=WIDTH, lr=1.0), w0, n_steps=STEPS, n_paths=CELLS, observe=["f"],
                                      sweep={"lr": lr}).f)


def reduced(cells=CELLS):
    import sdetheory as sdt
    from sdetheory.dynamics.uv_maps import OutputCurvatureMap

    lr, w0 = axes(cells)
    start = OutputCurvatureMap.reduce(w0)
    return lambda: share(sdt.simulate(OutputCurvatureMap(width=WIDTH, lr=1.0), start, n_steps=STEPS, n_paths=cells,
                                      observe=["f"], sweep={"lr": lr}).f)


def numpy_full():
    lr, w0 = axes()

    def call():
        ends = []
        with np.errstate(all="ignore"):
            for eta in lr:  # a row of the map at a time: its weights stay in the cache
                u, v = w0[:, :WIDTH].copy(), w0[:, WIDTH:].copy()
                for _ in range(STEPS):
                    s = (eta / WIDTH * np.einsum("ij,ij->i", u, v))[:, None]
                    u, v = u - s * v, v - s * u
                ends.append(np.einsum("ij,ij->i", u, v))
        return share(ends)

    return call


def two_numbers():
    w0 = axes()[1]
    u, v = w0[:, :WIDTH], w0[:, WIDTH:]
    return np.sum(u * v, axis=1) / np.sqrt(WIDTH), np.sum(w0**2, axis=1) / WIDTH


def numpy_reduced():
    lr = axes()[0][:, None]
    f0, curvature0 = two_numbers()

    def call():
        f, curvature = np.broadcast_to(f0, (CELLS, CELLS)), np.broadcast_to(curvature0, (CELLS, CELLS))
        with np.errstate(all="ignore"):
            for _ in range(STEPS):
                size, x = lr * f * f / WIDTH, lr * curvature
                f, curvature = (1 - x + lr * size) * f, curvature + size * (x - 4)
        return share(f)

    return call


def jax_full(precision):
    def prepare():
        import jax

        jax.config.update("jax_enable_x64", precision == "float64")
        import jax.numpy as jnp

        lr, w0 = (jnp.asarray(a, dtype=precision) for a in axes())

        def row(eta):
            def step(_, uv):
                u, v = uv
                s = (eta / WIDTH * jnp.sum(u * v, axis=1))[:, None]
                return u - s * v, v - s * u

            u, v = jax.lax.fori_loop(0, STEPS, step, (w0[:, :WIDTH], w0[:, WIDTH:]))
            return jnp.sum(u * v, axis=1)

        run = jax.jit(partial(jax.lax.map, row))
        return lambda: share(run(lr).block_until_ready())

    return prepare


def jax_reduced(precision):
    def prepare():
        import jax

        jax.config.update("jax_enable_x64", precision == "float64")
        import jax.numpy as jnp

        lr = jnp.asarray(axes()[0], dtype=precision)[:, None]
        starts = [jnp.broadcast_to(jnp.asarray(a, dtype=precision), (CELLS, CELLS)) for a in two_numbers()]

        def step(_, state):
            f, curvature = state
            size, x = lr * f * f / WIDTH, lr * curvature
            return (1 - x + lr * size) * f, curvature + size * (x - 4)

        run = jax.jit(lambda f, curvature: jax.lax.fori_loop(0, STEPS, step, (f, curvature))[0])
        return lambda: share(run(*starts).block_until_ready())

    return prepare


UNITS = CELLS**2 * STEPS
CANDIDATES = {
    "sdetheory all weights": (full, UNITS),
    "sdetheory all weights 256 x 256": (partial(full, 2 * CELLS), 4 * UNITS),
    "sdetheory weights by products": (products, UNITS),
    "sdetheory two numbers": (reduced, UNITS),
    "sdetheory two numbers 256 x 256": (partial(reduced, 2 * CELLS), 4 * UNITS),
    "NumPy all weights": (numpy_full, UNITS),
    "jax float32 all weights": (jax_full("float32"), UNITS),
    "jax float64 all weights": (jax_full("float64"), UNITS),
    "NumPy two numbers": (numpy_reduced, UNITS),
    "jax float32 two numbers": (jax_reduced("float32"), UNITS),
    "jax float64 two numbers": (jax_reduced("float64"), UNITS),
}
