"""W2: SGD with decay on the scale-invariant quadratic, tangential noise, 1e4 paths, d = 16 and 64, full matrix and diagonal."""

from __future__ import annotations

import numpy as np

TITLE, UNIT = "scale-invariant quadratic with decay and tangential noise, 10,000 paths x 100 steps", "path-step"
LR, DECAY, SCALE, PATHS, STEPS = 0.1, 0.05, 0.5, 10_240, 100
EXPECTED = "the mean of ||w||^2, the same for every candidate of one d"


def matrix(d):
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0]
    product = rotation * np.linspace(0, 1, d) @ rotation.T
    return (product + product.T) / 2


def starts(d):
    w = np.random.default_rng(1).normal(size=(PATHS, d))
    return w / np.linalg.norm(w, axis=1, keepdims=True)


def simulate(d, diagonal):
    def prepare():
        import sdetheory as sdt

        noise = sdt.noises.Tangent(SCALE)
        loss = sdt.losses.RayleighQuotient(np.linspace(0, 1, d) if diagonal else matrix(d), noise=noise)
        rule, w0 = sdt.SGD(loss, lr=LR, weight_decay=DECAY), starts(d)
        options = dict(n_steps=STEPS, n_paths=PATHS, observe="sq_norm", keep_paths=False, rng=0)
        return lambda: sdt.simulate(rule, w0, **options).sq_norm[-1]

    return prepare


def limit(d):
    """Our own d normals and one BLAS product a step, nothing else: the limit."""
    def prepare():
        from concurrent.futures import ThreadPoolExecutor

        from threadpoolctl import threadpool_limits

        from sdetheory import random
        from sdetheory.kernels import block_function, matrix_product
        from sdetheory.random.fill import draw_kernel

        a, key, lanes, batch = matrix(d), int(random.stream_key(0, "path")), 128, 10
        draw = draw_kernel("normal").call

        @block_function
        def products(A, W, G, n):
            for _ in range(n):
                matrix_product(A, W, G)

        blocks = [np.random.default_rng(0).normal(size=(2, d, lanes)) for _ in range(2)]
        noise = [np.empty((batch * d, lanes)) for _ in range(2)]

        def work(worker):
            place, (W, G) = noise[worker].ctypes.data, blocks[worker]
            for block in range(worker, PATHS // lanes, 2):
                for step in range(0, STEPS, batch):
                    draw(place, batch * d, lanes, block * lanes, step * d, key, 1.0)
                    products(a, W, G, batch)

        def call():
            with threadpool_limits(1), ThreadPoolExecutor(2) as pool:
                list(pool.map(work, range(2)))
            return blocks[0][1, 0, 0]

        return call

    return prepare


def numpy_loop(d):
    def prepare():
        generator, a = np.random.Generator(np.random.SFC64(0)), matrix(d)

        def call():
            w = starts(d)
            for _ in range(STEPS // 10):
                sq = np.einsum("ij,ij->i", w, w)[:, None]
                aw = w @ a
                z = generator.standard_normal(w.shape)
                noise = (z - w * (np.einsum("ij,ij->i", w, z)[:, None] / sq)) * (SCALE / np.sqrt(sq))
                w = (1 - LR * DECAY) * w - LR * ((aw - w * (np.einsum("ij,ij->i", w, aw)[:, None] / sq)) / sq + noise)
            return np.einsum("ij,ij->i", w, w).mean()

        return call

    return prepare


def jax_scan(d, precision):
    def prepare():
        import jax

        jax.config.update("jax_enable_x64", precision == "float64")
        import jax.numpy as jnp

        a, w0 = jnp.asarray(matrix(d), dtype=precision), jnp.asarray(starts(d), dtype=precision)

        def step(w, key):
            sq = jnp.sum(w * w, axis=1, keepdims=True)
            aw = w @ a
            z = jax.random.normal(key, w.shape, dtype=precision)
            noise = (z - w * (jnp.sum(w * z, axis=1, keepdims=True) / sq)) * (SCALE / jnp.sqrt(sq))
            grad = (aw - w * (jnp.sum(w * aw, axis=1, keepdims=True) / sq)) / sq
            return (1 - LR * DECAY) * w - LR * (grad + noise), None

        run = jax.jit(lambda key: jax.lax.scan(step, w0, jax.random.split(key, STEPS // 10))[0])
        return lambda: (run(jax.random.key(0)).block_until_ready() ** 2).sum(1).mean()

    return prepare


def diffrax_euler(d):
    def prepare():
        import diffrax
        import jax
        import jax.numpy as jnp
        import lineax

        jax.config.update("jax_enable_x64", True)
        a, w0 = jnp.asarray(matrix(d)), jnp.asarray(starts(d))

        def drift(t, w, args):
            sq = w @ w
            aw = a @ w
            return -LR * ((aw - w * (w @ aw) / sq) / sq + DECAY * w)

        def diffusion(t, w, args):
            sq = w @ w
            return lineax.FunctionLinearOperator(lambda z: LR * SCALE * (z - w * ((w @ z) / sq)) / jnp.sqrt(sq),
                                                 jax.ShapeDtypeStruct((d,), jnp.float64))

        def one(w, key):
            path = diffrax.UnsafeBrownianPath(shape=(d,), key=key)
            terms = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, path))
            return diffrax.diffeqsolve(terms, diffrax.Euler(), 0.0, STEPS / 10, 1.0, w, adjoint=diffrax.DirectAdjoint(),
                                       max_steps=200).ys[0]

        run = jax.jit(jax.vmap(one))
        return lambda: (run(w0, jax.random.split(jax.random.key(0), PATHS)).block_until_ready() ** 2).sum(1).mean()

    return prepare


def torchsde_euler(d):
    def prepare():
        import torch
        import torchsde

        a, w0 = torch.from_numpy(matrix(d)), torch.from_numpy(starts(d))

        class Sphere(torch.nn.Module):
            noise_type, sde_type = "general", "ito"

            def f(self, t, w):
                sq, aw = (w * w).sum(1, keepdim=True), w @ a
                return -LR * ((aw - w * (w * aw).sum(1, keepdim=True) / sq) / sq + DECAY * w)

            def g_prod(self, t, w, z):
                sq = (w * w).sum(1, keepdim=True)
                return LR * SCALE * (z - w * (w * z).sum(1, keepdim=True) / sq) / sq.sqrt()

            def f_and_g_prod(self, t, w, z):
                return self.f(t, w), self.g_prod(t, w, z)

        def call():
            with torch.no_grad():
                motion = torchsde.BrownianInterval(0.0, STEPS / 10, size=(PATHS, d), dtype=torch.float64)
                times = torch.tensor([0.0, STEPS / 10], dtype=torch.float64)
                return (torchsde.sdeint(Sphere(), w0, times, bm=motion, dt=1.0, method="euler")[-1] ** 2).sum(1).mean().item()

        return call

    return prepare


CANDIDATES = {}
for d in (16, 64):
    CANDIDATES |= {
        f"sdetheory d={d}": (simulate(d, False), PATHS * STEPS),
        f"sdetheory d={d}, diagonal": (simulate(d, True), PATHS * STEPS),
        f"limit d={d}: normals + product": (limit(d), PATHS * STEPS),
        f"NumPy d={d}, 10 steps": (numpy_loop(d), PATHS * STEPS // 10),
        f"jax float32 d={d}, 10 steps": (jax_scan(d, "float32"), PATHS * STEPS // 10),
        f"jax float64 d={d}, 10 steps": (jax_scan(d, "float64"), PATHS * STEPS // 10),
        f"diffrax d={d}, 10 steps": (diffrax_euler(d), PATHS * STEPS // 10),
        f"torchsde d={d}, 10 steps": (torchsde_euler(d), PATHS * STEPS // 10),
    }
