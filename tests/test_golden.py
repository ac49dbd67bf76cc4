"""Golden numbers: what small runs gave before the engine was rewritten, on every processor.

These runs take + − × ÷ √, explicit fused multiply-adds and the noise alone; libm, BLAS and reassociated sums differ from one
processor to another and are left out. A hash that changes has its reason in the commit that changes it.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import sympy

import sdetheory as sdt

x, y, mu = sympy.symbols("x y mu", real=True)
t = sympy.Symbol("t", real=True)
LINE = sdt.SDE([x], [-x * mu + t], [[1 + x / 4]])
PLANE = sdt.SDE([x, y], [-x + y / 4, 1 - y], [[x / 2, 0], [y / 8, sympy.Rational(3, 8)]])
AREA = sdt.SDE([x, y], [x - x**3, x], [[sympy.Rational(1, 2)], [0]])
QUADRATIC = sdt.losses.RayleighQuotient([1.0, 0.75, 0.5, 0.0, 0.0], noise=sdt.noises.Tangent(0.5))
SAMPLES = sdt.losses.FiniteSum([sdt.losses.RayleighQuotient(a) for a in ([2.0, 0.0, 1.0], [0.0, 1.0, 0.5], [1.0, 1.0, 0.0])])
START = np.array([1.0, -0.5, 0.25, 0.125, -1.0])


def branch(state, time):
    return -state if state < 2.0 else -2.0 * state


def eighth(state, time):
    return 0.125


def step(process, start, n_steps, **options):
    return sdt.simulate(process, start, n_steps=n_steps, rng=1, **{"n_paths": 70, **options})


def sde(process, start, n_steps, **options):
    return step(process, start, n_steps, dt=0.0625, **options)


LINE_2 = LINE.subs({mu: sympy.Rational(1, 2)})
CASES = {
    "euler": (lambda: sde(LINE_2, [0.5], 21, save_every=5), "556f6c8235499379"),
    "one path": (lambda: sde(LINE_2, [0.5], 9000, n_paths=1, save_every=4000), "12fe8f001a328b7a"),
    "milstein": (lambda: sde(LINE_2, [0.5], 21, scheme="milstein"), "06062ca70aa25041"),
    "three-point": (lambda: sde(PLANE, [0.5, 0.25], 21, scheme="weak_order_2_three_point"), "4aaa17ad5d1bad9b"),
    "strong order 1.5": (lambda: sde(AREA, [0.5, 0.25], 21, scheme="strong_order_1_5"), "cfdad76fc28ccc0b"),
    "nested grid": (lambda: sde(LINE_2, [0.5], 21, brownian_dt=2.0**-6), "6c331ebfc55b34c3"),
    "nested grid with area": (lambda: sde(AREA, [0.5, 0.25], 16, scheme="strong_order_1_5", brownian_dt=2.0**-6), "1f521831fcceedbe"),
    "sweep": (lambda: sde(LINE, [0.5], 21, sweep={"mu": [0.25, 0.5, 1.0]}), "62d9514b5e763a10"),
    "means alone": (lambda: sde(LINE_2, [0.5], 20, n_paths=601, save_every=4, keep_paths=False, keep_diverged_at=True),
                    "9f98d7f4fcd1fccb"),
    "diverging": (lambda: sde(sdt.SDE([x], [x**3], [[1]]), [2.0], 40, save_every=1), "b91bd84ad7e67f60"),
    "functions": (lambda: sde(sdt.SDE.from_callables(branch, eighth), [0.5], 21, save_every=5), "14e18c7f7d1ed255"),
    "sgd": (lambda: step(sdt.SGD(QUADRATIC, lr=0.125, weight_decay=0.0625), START, 40, save_every=9,
                         observe=["w", "sq_norm", "loss", "sq_grad", "effective_lr"]), "d47eb463322e33f7"),
    "momentum": (lambda: step(sdt.SGD(QUADRATIC, lr=0.125, weight_decay=0.0625, momentum=0.5), START, 40), "2230cb6985ac1972"),
    "schedule": (lambda: step(sdt.SGD(QUADRATIC, lr=lambda k: 0.125 / (1 + k)), START, 40), "cb891ca527c1da15"),
    "minibatches": (lambda: step(sdt.SGD(SAMPLES, lr=0.125), START[:3], 40), "d4f73c08b0d2a43c"),
    "svag": (lambda: step(sdt.SVAG(QUADRATIC, lr=0.125, amplification=4), START, 40), "7b6a28ea8e4f3f66"),
    "noisy gd": (lambda: step(sdt.dynamics.NoisyGD(SAMPLES, lr=0.125), START[:3], 20), "268846070efa9e9a"),
    "near miss": (lambda: step(sdt.dynamics.SingleBatchNearMiss(QUADRATIC, lr=0.125, amplification=5), START, 40), "aa398938c4bade04"),
    "gradient flow": (lambda: sde(sdt.dynamics.GradientFlow(QUADRATIC, weight_decay=0.125), START, 20), "951e7cbfd8e31206"),
    "two numbers": (lambda: step(sdt.dynamics.OutputCurvatureMap(width=8, lr=1.0), [1.5, 2.5], 60, sweep={"lr": [0.5, 1.0, 2.0]},
                                 save_every=7), "d61f297b2d360be3"),
}


def digest(result):
    found = hashlib.sha256()
    for name in sorted(map(str, result.data_vars)):
        array = np.ascontiguousarray(result[name].values)
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), np.nan, array)  # which NaN it is depends on the processor
        found.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_are_the_same_as_ever(name):
    make, expected = CASES[name]
    with np.errstate(all="ignore"):
        assert digest(make()) == expected
