r"""Exact second moments of an affine SDE and of its discretisations: weak errors without a random number.

A step that is affine in the state is linear in (1, x): :math:`(1, Y_{n+1}) = G(\Delta_n)\,(1, Y_n)`. Hence
:math:`E[(1,Y_n)^{\otimes2}] = (E\,G\otimes G)^n\,(1,x_0)^{\otimes2}`, and the mean over the increments is a finite sum:
their law is discrete, or normal and met by Gauss-Hermite nodes, since G is a polynomial of them. For the SDE itself the
power becomes
:math:`\exp(t\,(A\otimes1 + 1\otimes A + \sum_jB_j\otimes B_j))`.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import sympy
from scheme_problems import Problem
from scipy.linalg import expm

from sdetheory.schemes import Scheme, numpy_step

_nodes, _weights = np.polynomial.hermite_e.hermegauss(5)
LAWS = {"normal": (_nodes, _weights / _weights.sum()), "two_point": (np.array([-1.0, 1.0]), np.full(2, 0.5)),
        "three_point": (np.sqrt(3.0) * np.array([-1.0, 0.0, 1.0]), np.array([1.0, 4.0, 1.0]) / 6)}


def is_affine(problem: Problem) -> bool:
    """Whether drift and diffusion are affine in the state and free of time."""
    sde = problem.sde
    entries = [*sde.drift, *sde.diffusion]
    return all(e.is_polynomial(*sde.states) and sympy.Poly(e, *sde.states).total_degree() <= 1 and not e.has(sde.time)
               for e in entries)


def _start(problem: Problem) -> np.ndarray:
    start = np.array([1.0, *problem.x0])
    return np.kron(start, start)


def scheme_moments(scheme: Scheme, problem: Problem, dt: float) -> np.ndarray:
    """E of (1, Y)⊗(1, Y) at time 1, shape (1 + d, 1 + d)."""
    sde, d = problem.sde, problem.sde.dim
    rows = scheme.increments_shape(sde)
    laws = [LAWS[increment.kind] for increment in scheme.noise for _ in range(rows[increment.role])]
    values = np.sqrt(dt) * np.array(list(product(*(nodes for nodes, _ in laws)))).T
    weights = np.array([np.prod(w) for w in product(*(weights for _, weights in laws))])
    increments = dict(zip(rows, np.split(values, np.cumsum(list(rows.values()))[:-1]), strict=True))
    step = numpy_step(scheme, sde)
    lanes = np.ones(len(weights))
    images = [step(np.outer(column, lanes), 0.0, dt, increments) for column in np.vstack([np.zeros(d), np.eye(d)])]
    G = np.zeros((len(weights), 1 + d, 1 + d))
    G[:, 0, 0] = 1
    G[:, 1:, 0] = images[0].T
    for i, image in enumerate(images[1:]):
        G[:, 1:, 1 + i] = (image - images[0]).T
    mean = np.einsum("l,lij,lkm->ikjm", weights, G, G).reshape((1 + d) ** 2, (1 + d) ** 2)
    return (np.linalg.matrix_power(mean, round(1 / dt)) @ _start(problem)).reshape(1 + d, 1 + d)


def exact_moments(problem: Problem) -> np.ndarray:
    """E of (1, X)⊗(1, X) at time 1, shape (1 + d, 1 + d)."""
    sde, d = problem.sde, problem.sde.dim
    zero, one = dict.fromkeys(sde.states, 0), np.eye(1 + d)

    def augmented(column: sympy.Matrix) -> np.ndarray:
        A = np.zeros((1 + d, 1 + d))
        A[1:, 0] = np.array(column.subs(zero), dtype=float).ravel()
        A[1:, 1:] = np.array(column.jacobian(list(sde.states)), dtype=float)
        return A

    A = augmented(sympy.Matrix(sde.drift))
    noise = [augmented(sympy.Matrix(sde.diffusion[:, j])) for j in range(sde.noise_dim)]
    generator = np.kron(A, one) + np.kron(one, A) + sum(np.kron(B, B) for B in noise)
    return (expm(generator) @ _start(problem)).reshape(1 + d, 1 + d)
