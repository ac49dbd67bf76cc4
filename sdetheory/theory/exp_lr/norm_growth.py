r"""How the norm grows without weight decay, and that this makes every learning rate converge (EXP-2, EXP-13).

.. math:: v' = \mu v + g, \quad w' = w - \eta v', \quad \langle g, w\rangle = 0:\qquad
          \|w'\|^2 = \|w\|^2 - 2\eta\mu\langle w, v\rangle + \eta^2\|v'\|^2.

Every dimension (algebra of inner products).
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from ..inner_products import InnerProducts

LR, MU, R, GRAD = symbol("lr"), symbol("momentum"), symbol("sq_norm"), symbol("sq_grad")
OVERLAP, BUFFER, TOP = symbol("overlap"), symbol("sq_buffer"), symbol("curvature_bound")
GAP, END = symbol("loss_gap"), symbol("sq_norm_end")
W, V, G = sympy.symbols("w v g", real=True)


def _momentum_step(d: Derivation) -> tuple[sympy.Expr, sympy.Expr]:
    """Derive |w'|² and <w', v'> from the update; return them in terms of <w, v> and |v'|²."""
    gradient_overlap = sympy.Symbol("c", real=True)
    d.assume(r"$\langle g,w\rangle=0$ (EXP-1), no weight decay. Any dimension.")
    inner = InnerProducts({(W, W): R, (W, V): OVERLAP, (W, G): 0, (G, G): GRAD, (G, V): gradient_overlap,
                           (V, V): sympy.Symbol("q", positive=True)})
    buffer = MU * V + G
    new = W - LR * buffer
    d.step(r"The buffer and the weights after the step.", sympy.Matrix([buffer, new]))
    # |v'|² is taken for the variable instead of |v|²
    before = sympy.solve(inner(buffer, buffer) - BUFFER, GRAD)[0]
    found = tuple(sympy.expand(e.subs(GRAD, before)) for e in (inner(new, new), inner(new, buffer)))
    d.step(r"$\|w'\|^2$ and $\langle w',v'\rangle$ in terms of $\|v'\|^2$.", sympy.Matrix(found))
    return found


def _derive_norm(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The norm after a step with momentum")
    found, _ = _momentum_step(d)
    d.residual("squared norm", found - claimed)
    return d.residual("without momentum it is Pythagoras", claimed.subs(MU, 0) - (R + LR**2 * BUFFER))


@closed_form("EXP-2", _derive_norm)
def sq_norm_step_momentum(sq_norm, overlap, lr, momentum, sq_buffer):
    r"""|w|² after a step with momentum and no decay: it does not fall while the overlap <w, v> is <= 0.

    A positive overlap, that of a buffer that points outwards, can make it fall.

    >>> sq_norm_step_momentum(sq_norm=1.0, overlap=0.5, lr=0.1, momentum=0.9, sq_buffer=1.0) < 1
    True
    """
    return sq_norm - 2 * lr * momentum * overlap + lr**2 * sq_buffer


def _derive_overlap(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The buffer stays behind")
    _, found = _momentum_step(d)
    d.step(r"By induction $\langle w,v\rangle\le0$ at every step if it is at first, as it is for $v_0=0$: both terms are "
           r"then $\le0$.", found)
    return d.residual("overlap", found - claimed)


@closed_form("EXP-2", _derive_overlap)
def overlap_step(overlap, lr, momentum, sq_buffer):
    r"""<w, v> after a step without decay; `sq_buffer` is |v|² after it. Once <= 0 it stays <= 0."""
    return momentum * overlap - lr * sq_buffer


def _derive_sum(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The squared steps add up to the growth of the norm")
    d.assume(r"$\langle\nabla L_t(w),w\rangle=0$ for the loss of each step (minibatches too), no momentum, no decay.")
    inner = InnerProducts({(W, W): R, (W, G): 0, (G, G): GRAD})
    update = W - LR * G
    square = inner(update - W, update - W)
    growth = inner(update, update) - R
    d.step(r"A step has the squared length", square)
    d.residual("by so much the squared norm grows", growth - square)
    t, n = sympy.Symbol("t", integer=True), sympy.Symbol("T", integer=True, positive=True)
    norm = sympy.Function("r")
    total = sympy.Sum(norm(t + 1) - norm(t), (t, 0, n - 1)).doit()
    d.step(r"$\sum_{t<T}\eta^2\|\nabla L\|^2=\sum_{t<T}(r_{t+1}-r_t)$ telescopes.", total)
    return d.residual("sum", total.subs({norm(n): END, norm(0): R}) - claimed)


@closed_form("EXP-13", _derive_sum)
def sum_of_squared_steps(sq_norm, sq_norm_end):
    r"""Σ lr²·|∇L(w_t)|² over a run without momentum and decay, from |w|² at its start and at its end."""
    return sq_norm_end - sq_norm


def _decrease(d: Derivation) -> sympy.Expr:
    s = sympy.Symbol("s", positive=True)
    d.assume(r"$|\nabla^2L|\le h$ on the unit sphere, full batch, no momentum, no decay.")
    inner = InnerProducts({(W, W): R, (W, G): 0, (G, G): GRAD})
    along = W - s * LR * G
    outward = sympy.expand(inner(along, along) - R)
    d.step(r"On the way from $w$ to $w'$ the squared norm has grown by", outward)
    d.residual("it has not shrunk: the growth is a square", outward - inner(along - W, along - W))
    curvature = TOP / R
    d.step(r"so the Hessian there, of degree $-2$, is at most", curvature)
    lost = sympy.integrate((1 - s) * curvature * inner(LR * G, LR * G), (s, 0, 1))
    d.step(r"Taylor with remainder: the loss falls at least by $\langle\nabla L,\eta\nabla L\rangle$ less", lost)
    return inner(G, LR * G) - lost


def _derive_decrease(claimed: sympy.Expr) -> Derivation:
    d = Derivation("What a step does to the loss at least")
    return d.residual("decrease", _decrease(d) - claimed)


@closed_form("EXP-13", _derive_decrease)
def guaranteed_decrease(sq_norm, lr, sq_grad, curvature_bound):
    r"""A lower bound of L(w_t) - L(w_{t+1}) for a full-batch step; positive once lr/|w|² < 2/curvature_bound.

    `curvature_bound` bounds the norm of the Hessian of L on the unit sphere, `sq_grad` is |∇L(w_t)|².
    """
    return lr * sq_grad * (1 - lr * curvature_bound / (2 * sq_norm))


def _derive_bound(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Without decay the norm stays bounded, so gradient descent converges")
    decrease = _decrease(d)
    edge, above = LR * TOP, sympy.Symbol("a", nonnegative=True)
    half = sympy.simplify(decrease.subs(R, edge))
    d.step(r"At $r=\eta h$ the loss falls at least by", half)
    surplus = sympy.factor(sympy.simplify(decrease.subs(R, edge + above) - half))
    d.step(r"and at $r=\eta h+a$ by this more, which is $\ge0$; $r$ never falls.", surplus)
    d.residual("nothing more at the edge", surplus.subs(above, 0))
    growth_per_loss = sympy.cancel(LR**2 * GRAD / half)
    d.step(r"So $\|w\|^2$ grows by at most so much for each unit that the loss falls.", growth_per_loss)
    d.step(r"It falls by at most its gap to the minimum. $\sum\eta^2\|\nabla L(w_t)\|^2$ is finite and $\|w_t\|$ bounded: "
           r"$\nabla L(w_t)\to0$ and $\nabla L(\hat w_t)=\|w_t\|\nabla L(w_t)\to0$.", R + growth_per_loss * GAP)
    return d.residual("bound", R + growth_per_loss * GAP - claimed)


@closed_form("EXP-13", _derive_bound)
def sq_norm_limit_bound(sq_norm, lr, loss_gap):
    r"""An upper bound of |w|² for ever after, from a step on at which |w|² >= lr·h, h the bound of the Hessian on the sphere.

    `loss_gap` is L there less its minimum. Smaller norms grow until |w|² >= lr·h or the gradient is gone.
    """
    return sq_norm + 2 * lr * loss_gap
