r"""The curvature of the uv model: its NTK and the spectrum of the Hessian (CAT-5).

.. math:: H(a,b) = \frac{\langle a,v\rangle+\langle u,b\rangle}{n}(v,u) + \frac{f}{\sqrt n}(b,a)

on directions (a, b) of R^n × R^n. span{(v,u), (u,v)} is invariant, and on what is orthogonal to it H is f/√n times the swap
(a,b) → (b,a): so the spectrum is found for every width n.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .two_numbers import CURVATURE, CURVED, INNER, A, B, F, N, U, V, loss_along

Pair = tuple[sympy.Expr, sympy.Expr]
MEANINGS = {"f": "output of the net", "curvature": "NTK (|u|^2 + |v|^2)/n", "sq_u": "|u|^2", "sq_v": "|v|^2"}
_NORMS = {"sq_u": {"nonnegative": True}, "sq_v": {"nonnegative": True}}


def _pairing(one: Pair, other: Pair) -> sympy.Expr:
    return INNER(one[0], other[0]) + INNER(one[1], other[1])


def _hessian(at: Pair) -> Pair:
    along = (INNER(at[0], V) + INNER(U, at[1])) / N
    bent = F / sympy.sqrt(N)
    return along * V + bent * at[1], along * U + bent * at[0]


def _derive_ntk(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The NTK of the uv model")
    shift = sympy.Symbol("epsilon", real=True)
    output = INNER(U + shift * A, V + shift * B) / sympy.sqrt(N)
    slope = sympy.diff(output, shift).subs(shift, 0)
    gradient = V / sympy.sqrt(N), U / sympy.sqrt(N)
    d.step(r"The slope of $f=\langle u,v\rangle/\sqrt n$ along $(a,b)$.", sympy.expand(slope))
    d.residual("it is the product with the gradient", slope - _pairing(gradient, (A, B)))
    found = _pairing(gradient, gradient)
    d.step(r"The NTK is $\|\nabla f\|^2$.", found)
    stated = claimed.subs({symbol("sq_u", nonnegative=True): INNER(U, U), symbol("sq_v", nonnegative=True): INNER(V, V)})
    return d.residual("value", found - stated)


@closed_form("CAT-5", _derive_ntk, assumptions=_NORMS, meanings=MEANINGS)
def ntk(sq_u, sq_v, width):
    r"""The neural tangent kernel of the uv model at its one input: what the papers call its curvature."""
    return (sq_u + sq_v) / width


def _spectrum(d: Derivation, claimed: sympy.Expr) -> sympy.Expr:
    """Derive the Hessian and its characteristic polynomial on span{(v,u), (u,v)}; return it at `claimed`."""
    shift = sympy.Symbol("epsilon", real=True)
    d.assume(r"$L=\langle u,v\rangle^2/(2n)$. Any width: algebra of inner products.")
    second = sympy.expand(sympy.diff(loss_along(shift), shift, 2).subs(shift, 0))
    d.step(r"The second derivative of $L$ along $(a,b)$.", second)
    d.residual("it is the quadratic form of H", second - _pairing((A, B), _hessian((A, B))))
    first, swapped = (V, U), (U, V)
    columns = _hessian(first), _hessian(swapped)
    matrix = sympy.Matrix([[column[0].expand().coeff(vector, 1) for column in columns] for vector in (V, U)])
    d.step(r"$H$ in the basis $(v,u)$, $(u,v)$.", matrix)
    for name, column, entries in (("(v,u)", columns[0], matrix[:, 0]), ("(u,v)", columns[1], matrix[:, 1])):
        d.residual(f"H{name} stays in their span", sympy.Matrix(
            [column[i] - entries[0] * first[i] - entries[1] * swapped[i] for i in range(2)]).applyfunc(sympy.expand))
    d.step(r"What is orthogonal to both has $\langle a,v\rangle+\langle u,b\rangle=0$ and is kept by the swap: there $H$ is "
           r"$f/\sqrt n$ times the swap, with eigenvalues $\pm f/\sqrt n$ ($n-1$ times each).")
    mu = sympy.Symbol("mu", real=True)
    polynomial = sympy.expand((mu * sympy.eye(2) - matrix).det())
    d.step(r"The characteristic polynomial on the span.", polynomial)
    return polynomial.subs(mu, claimed)


def _derive_top(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The top eigenvalue of the Hessian")
    d.residual("it is a root", sympy.expand(_spectrum(d, claimed)))
    d.residual("it is the larger root: the two add up to the curvature and this one is half of that plus a square root",
               (claimed - CURVATURE / 2) ** 2 - CURVATURE**2 / 4 - 3 * F**2 / N)
    least = symbol("s", nonnegative=True)
    at = {CURVATURE: 2 * least, F: least * sympy.sqrt(N)}
    d.step(r"Cauchy–Schwarz: $\lambda\ge2|f|/\sqrt n$. The root grows with $\lambda$, so it is at least $3|f|/\sqrt n$, above "
           r"the others' $|f|/\sqrt n=s$. At $\lambda=2s$:", claimed.subs(at))
    d.residual("its least value", claimed.subs(at) - 3 * least)
    return d.residual("where f = 0 it is the NTK", claimed.subs(F, 0) - CURVATURE)


@closed_form("CAT-5", _derive_top, assumptions=CURVED, meanings=MEANINGS)
def top_hessian_eigenvalue(f, curvature, width):
    r"""The largest eigenvalue of the Hessian of the loss, at every width; it is the NTK where f = 0.

    >>> top_hessian_eigenvalue(f=0.0, curvature=1.5, width=10)
    1.5
    """
    return curvature / 2 + sympy.sqrt(curvature**2 / 4 + 3 * f**2 / width)


def _derive_lowest(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The lowest eigenvalue of the Hessian")
    d.residual("it is a root", sympy.expand(_spectrum(d, claimed)))
    return d.residual("it is the smaller root", claimed + top_hessian_eigenvalue.expr - CURVATURE)


@closed_form("CAT-5", _derive_lowest, assumptions=CURVED, meanings=MEANINGS)
def lowest_hessian_eigenvalue(f, curvature, width):
    r"""The other eigenvalue of the Hessian on span{(v,u), (u,v)}: ≤ 0; the lowest of all iff curvature ≤ 2|f|/√width."""
    return curvature / 2 - sympy.sqrt(curvature**2 / 4 + 3 * f**2 / width)


def _derive_bulk(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The bulk of the spectrum")
    _spectrum(d, sympy.S.Zero)
    size = symbol("size", nonnegative=True)
    d.residual("squared", claimed**2 - (F / sympy.sqrt(N)) ** 2)
    d.residual("trace: the two others add up to the curvature, the bulk to 0", INNER(V, V) / N + INNER(U, U) / N
               - top_hessian_eigenvalue.expr - lowest_hessian_eigenvalue.expr)
    return d.residual("sign", claimed.subs(F, size) - size / sympy.sqrt(N))


@closed_form("CAT-5", _derive_bulk, meanings=MEANINGS)
def hessian_bulk(f, width):
    r"""The size of the other 2(width − 1) eigenvalues of the Hessian: half of them plus, half of them minus this."""
    return sympy.Abs(f) / sympy.sqrt(width)
