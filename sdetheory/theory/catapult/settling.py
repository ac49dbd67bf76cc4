r"""After the catapult: the dynamics is linear again, about a curvature that hardly moves any more (CAT-11).

.. math:: X < 2: \qquad X - X_\infty = \frac{4-X}{X(2-X)}\,Y + O(Y^2), \qquad \frac{f'}{f} = 1-X+Y \to 1-X_\infty

with :math:`X=\eta\lambda`, :math:`Y=\eta^2f^2/n`. Every point of the axis Y = 0 with 0 < X < 2 is kept by the map and
attracts, Y by the factor (1−X)² a step, so X_∞ is a smooth function of where the orbit is, and is kept along it. Where
ηλ falls below 2 the loss is still near its peak: close to X_0 = 2 half of the fall of the curvature is yet to come.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ..formula import closed_form
from .peak import A0, EPS, TAU, pulse
from .universal_map import MEANINGS, XY, X, Y, universal_map

__all__ = ["fall_below_two_near_edge", "remaining_fall"]


def _derive_remaining(claimed: sympy.Expr) -> Derivation:
    d = Derivation("How far the curvature still falls")
    x, y = universal_map(d)
    d.residual("the points of the axis Y = 0 are kept", sympy.Matrix([x - X, y]).subs(Y, 0))
    d.step(r"There $Y$ is multiplied by this, which is below 1 if and only if $0<X<2$.",
           sympy.factor(sympy.diff(y, Y).subs(Y, 0)))
    d.residual("the factor", sympy.diff(y, Y).subs(Y, 0) - (1 - X) ** 2)
    slope = sympy.Function("c")
    ansatz = (X - slope(X) * Y) - (x - slope(x) * y)
    first = sympy.diff(ansatz, Y).subs(Y, 0).doit()
    d.step(r"$X_\infty=X-c(X)Y+O(Y^2)$ is the same before a step and after it. To first order in $Y$ that is 0 = ",
           sympy.factor(first))
    end = X - claimed
    kept = end - end.subs({X: x, Y: y}, simultaneous=True)
    d.residual("kept to first order in Y", sympy.diff(kept, Y).subs(Y, 0))
    d.residual("nothing is left to fall at Y = 0", claimed.subs(Y, 0))
    return d.residual("it is linear in Y", sympy.diff(claimed, Y, 2))


@closed_form("CAT-11", _derive_remaining, assumptions=XY, meanings=MEANINGS, needs=lambda X, Y: [X > 0, X < 2])
def remaining_fall(X, Y):
    r"""How far lr·curvature falls from here to the end, to first order in Y: what is left of it once the loss is small.

    >>> round(remaining_fall(X=1.0, Y=0.001), 6)
    0.003
    """
    return Y * (4 - X) / (X * (2 - X))


def _derive_below_two(claimed: sympy.Expr) -> Derivation:
    d = Derivation("How much of the fall comes after the curvature has become stable")
    a, b = pulse(d)
    crossing = sympy.solve(a, TAU)[0]
    d.step(r"$X=2$ is $a=0$: at this $\tau$, where $b$ is", b.subs(TAU, crossing))
    d.residual("there the loss is at its peak", sympy.diff(b, TAU).subs(TAU, crossing))
    rest = EPS * (a.subs(TAU, crossing) - sympy.limit(a, TAU, sympy.oo))
    d.step(r"From there $X$ falls to its end by", rest)
    whole = EPS * (sympy.limit(a, TAU, -sympy.oo) - sympy.limit(a, TAU, sympy.oo))
    d.residual("half of the whole fall", rest - whole / 2)
    return d.residual("value", rest.subs(A0, (X - 2) / EPS) - claimed)


@closed_form("CAT-11", _derive_below_two, assumptions={"X": {"nonnegative": True}},
             meanings={"X": "lr * curvature at the start"}, needs=lambda X: [X > 2, X < 4])
def fall_below_two_near_edge(X):
    r"""How far lr·curvature falls after it has reached 2: the leading term as its start X → 2 from above, width first."""
    return X - 2
