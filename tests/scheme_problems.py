"""SDEs on which orders of schemes are measured, by noise class, with the exact solution as a functional of the path.

Each class has a problem on which the orders declared for it are attained, and one with a solution in closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sympy

from sdetheory.schemes import Scheme
from sdetheory.sde import SDE

X, Y, Z, T = sympy.symbols("x y z t", real=True)


@dataclass(frozen=True)
class Problem:
    """An SDE on [0, 1] with its solution at 1 as a functional of the path, where there is one.

    `solution(dW, dU, h, error=0)` takes rows (n, m, paths) of a grid of step h and gives (d, paths). With `error=1`
    it solves another SDE: Itô's correction is missing (Stratonovich's reading), or, where that changes nothing, a
    coefficient is off.
    `sharp`: the declared orders are attained and not exceeded.
    """

    noise: str
    sde: SDE
    x0: tuple[float, ...]
    solution: Callable | None = None
    sharp: bool = True
    on_sphere: bool = False


def _ornstein_uhlenbeck() -> Problem:
    """dx = −x dt + s dW."""
    s = 0.8

    def solution(dW, dU, h, error=0.0):
        x = np.ones(dW.shape[-1])
        for w, u in zip(dW[:, 0], dU[:, 0], strict=True):  # ∫_0^h e^{u-h} dW_u = dW − ∫_0^h W du + O(h^{5/2})
            x = np.exp(-h) * x + s * (1 + error / 4) * (w - h / 2 * (w + u / np.sqrt(3)))
        return x[None]

    sde = SDE([X], drift=[-X], diffusion=[[sympy.Float(s)]], time=T)
    return Problem("additive", sde, (1.0,), solution, sharp=False)  # linear: strong order 1.5 schemes reach 2


def _linear_complex(noise: str, mu: float, columns: tuple[complex, ...]) -> Problem:
    """dz = mu z dt + sum_j s_j z dW_j in the plane: z = exp(mu − ½ sum_j s_j² + sum_j s_j W_j)."""

    def solution(dW, dU, h, error=0.0):
        W = dW.sum(axis=0)
        z = np.exp(mu + sum(s * w - (1 - error) * s**2 / 2 for s, w in zip(columns, W, strict=True)))
        return np.stack([z.real, z.imag])

    sde = SDE([X, Y], drift=[mu * X, mu * Y],
              diffusion=[[s.real * X - s.imag * Y for s in columns], [s.imag * X + s.real * Y for s in columns]],
              time=T)
    return Problem(noise, sde, (1.0, 0.0), solution)


def _geometric() -> Problem:
    """Two geometric Brownian motions."""
    mu, s = np.array([[0.3], [-0.2]]), np.array([[0.4], [-0.6]])

    def solution(dW, dU, h, error=0.0):
        return np.exp(mu - (1 - error) * s**2 / 2 + s * dW.sum(axis=0))

    return Problem("diagonal", SDE([X, Y], drift=[0.3 * X, -0.2 * Y], diffusion=[[0.4 * X, 0], [0, -0.6 * Y]], time=T),
                   (1.0, 1.0), solution)


def _area() -> Problem:
    """dx = dW¹, dy = x dW¹ + x dW²: y = ½(W¹² − t) + ∫W¹dW², the last an Itô sum on the grid."""

    def solution(dW, dU, h, error=0.0):
        W = dW[:, 0].cumsum(axis=0)
        return np.stack([W[-1], (W[-1]**2 - (1 - error)) / 2 + ((W - dW[:, 0]) * dW[:, 1]).sum(axis=0)])

    return Problem("general", SDE([X, Y], drift=[0, 0], diffusion=[[1, 0], [X, X]], time=T), (0.0, 0.0), solution)


def _shear() -> Problem:
    """dX = A X dt + B_1 X dW¹ + B_2 X dW², where [B_1, B_2] ≠ 0."""
    sde = SDE([X, Y], drift=[-X / 2 + Y / 4, -X / 4], diffusion=[[0.6 * Y, 0.2 * X], [0, -0.5 * X - 0.3 * Y]], time=T)
    return Problem("general", sde, (1.0, 0.5))


def _circle(noise: str, columns: tuple[float, ...]) -> Problem:
    """dangle = cos(angle) ∘ sum_j s_j dW_j: (cos, sin)(angle) = (sech, tanh)(sum_j s_j W_j)."""

    def solution(dW, dU, h, error=0.0):
        u = np.tensordot(columns, dW.sum(axis=0), axes=1) + error / 4
        return np.stack([1 / np.cosh(u), np.tanh(u)])

    s2 = sum(s**2 for s in columns)
    forward, turn = -s2 * X * Y / 2, X  # Itô: dangle = forward dt + turn sum s dW
    sde = SDE([X, Y], drift=[-forward * Y - s2 * turn**2 * X / 2, forward * X - s2 * turn**2 * Y / 2],
              diffusion=[[-s * turn * Y for s in columns], [s * turn * X for s in columns]], time=T)
    return Problem(noise, sde, (1.0, 0.0), solution, on_sphere=True)


def _brownian_on_sphere() -> Problem:
    """dX = s P dW − s² X dt on S²."""
    x, s = sympy.Matrix([X, Y, Z]), sympy.Rational(3, 4)
    sde = SDE([X, Y, Z], drift=list(-s**2 * x), diffusion=(s * (sympy.eye(3) - x * x.T)).tolist(), time=T)
    return Problem("general", sde, (0.6, 0.0, 0.8), on_sphere=True)


def _pendulum() -> Problem:
    """dx = −sin 2x dt + (1 + ½ sin 2t) dW."""
    sde = SDE([X], drift=[-sympy.sin(2 * X)], diffusion=[[1 + sympy.sin(2 * T) / 2]], time=T)
    return Problem("additive", sde, (0.5,))


PROBLEMS = {
    "Ornstein-Uhlenbeck": _ornstein_uhlenbeck(),
    "pendulum": _pendulum(),
    "linear, one noise": _linear_complex("scalar", 0.3, (0.4 + 0.5j,)),
    "geometric": _geometric(),
    "linear, two noises": _linear_complex("commutative", 0.3, (0.4 + 0.2j, 0.5j)),
    "area": _area(),
    "shear": _shear(),
    "circle, one noise": _circle("scalar", (0.9,)),
    "circle, two noises": _circle("commutative", (0.7, 0.5)),
    "sphere": _brownian_on_sphere(),
}


def problems_of(scheme: Scheme) -> list[str]:
    """Names of the problems a scheme accepts: those of flat space, or else those on the sphere."""
    def accepted(problem: Problem) -> bool:
        try:
            scheme.check(problem.sde)
        except ValueError:
            return False
        return True

    names = [name for name, problem in PROBLEMS.items() if accepted(problem)]
    return [name for name in names if not PROBLEMS[name].on_sphere] or names
