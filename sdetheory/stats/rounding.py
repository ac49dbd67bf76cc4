r"""Is it only rounding? What floating-point arithmetic explains of an error or a gap.

.. math:: \mathrm{fl}(a \circ b) = (a \circ b)(1+\delta),\ |\delta| \le u, \qquad
          \prod_{i=1}^n (1+\delta_i)^{\pm1} = 1+\theta_n,\ |\theta_n| \le \gamma_n = \frac{nu}{1-nu}

with :math:`\circ` one of + − × / √ and u the unit roundoff, 2⁻⁵³ in float64 (N. Higham, *Accuracy
and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002, section 2.2 and lemma 3.1). Without
overflow and underflow.

| what is compared | what rounding explains of it |
|---|---|
| a number after n roundings in series, with what is exact | `gamma_n(n)` of it |
| a sum, a scalar product | `sum_error(terms)`, `dot_error(x, y)` |
| eigenvalues, singular values | `spectrum_error(sizes)` |
| a recursion that multiplies errors by known factors | `recursion_error` |
| … by known Jacobians | `propagated_error` |
| a run whose response to errors is only measured | `response_error` |
| two runs of one algebra, no rounding counted | `explained_gap`, from a narrower format |

The first, the sums and `recursion_error` are bounds, `propagated_error` is one to first order. The
constant of `spectrum_error` and the response in `response_error` are measured, and `explained_gap`
has a rate of false alarms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..validation import finite_array, number

__all__ = [
    "SLACK",
    "dot_error",
    "explained_gap",
    "gamma_n",
    "propagated_error",
    "recursion_error",
    "response_error",
    "spectrum_error",
    "sum_error",
    "unit_roundoff",
]

#: How many times the expected gap is still rounding: false alarms, at most 0.4 %, are derived in
#: `explained_gap`.
SLACK = 16.0
Values = NDArray[np.float64]


def unit_roundoff(dtype: DTypeLike = "float64") -> float:
    """Return u, the largest relative error of one rounding to nearest.

    Half the distance from 1 to the next number.

    >>> unit_roundoff() == 2.0**-53, unit_roundoff("float32") == 2.0**-24
    (True, True)
    """
    kind: Any = np.dtype(dtype)
    if kind.kind != "f":
        raise ValueError(
            f"dtype: expected a real floating-point format, got {kind}; give float64 or float32"
        )
    return float(np.finfo(kind).eps) / 2


def gamma_n(n: ArrayLike, dtype: DTypeLike = "float64") -> Any:
    r"""Return :math:`\gamma_n = nu/(1-nu)`, a bound of the relative error of n roundings in series.

    A factor whose power is a root counts as less: :math:`\sqrt{1+\theta_n}` is within
    :math:`\gamma_{\lceil n/2\rceil}`.

    Parameters
    ----------
    n : array_like
        How many roundings, >= 0; nu < 1.
    dtype : dtype_like
        The format of the arithmetic.

    Returns
    -------
    float or ndarray
        Of the shape of n.

    Raises
    ------
    ValueError
        Where n is negative or nu >= 1: so many roundings bound nothing.

    >>> gamma_n(2**10, "float32") == 2.0**-14 / (1 - 2.0**-14)
    True
    """
    count, u = finite_array("n", n), unit_roundoff(dtype)
    if not ((count >= 0) & (count * u < 1)).all():
        raise ValueError(
            f"n: expected at least 0 and fewer than {1 / u:.3g} roundings in {np.dtype(dtype)}, "
            f"got {count.min():g} to {count.max():g}; take a wider format or fewer steps"
        )
    bound = count * u / (1 - count * u)
    return float(bound) if bound.ndim == 0 else bound


def sum_error(terms: ArrayLike, axis: int = -1, dtype: DTypeLike = "float64") -> Values:
    r"""Return a bound of the error of a sum, in whatever order: :math:`\gamma_n\sum_i|x_i|`.

    A term passes through n − 1 additions at most (Higham, section 4.2). One rounding more covers
    those of the bound itself while n² u < 1: to 9·10⁷ terms in float64.

    Parameters
    ----------
    terms : array_like
        The terms, (…, n, …), which are exact in `dtype`.
    axis : int
        Which is summed over.
    dtype : dtype_like
        The format in which the sum is formed. The bound is formed in float64.

    Returns
    -------
    ndarray
        float64, of the shape without `axis`.

    >>> bool(abs(sum([0.1] * 10) - 1.0) <= sum_error([0.1] * 10))
    True
    """
    size = np.abs(finite_array("terms", terms))
    return np.asarray(gamma_n(size.shape[axis], dtype) * size.sum(axis))


def dot_error(x: ArrayLike, y: ArrayLike, axis: int = -1, dtype: DTypeLike = "float64") -> Values:
    r"""Return a bound of the error of a scalar product: :math:`\gamma_{n+1}\sum_i|x_iy_i|`.

    Each product is rounded, then summed in whatever order (Higham, section 3.1); with fused
    products it is less. One rounding more than Higham's n covers those of the bound itself.
    Parameters as for `sum_error`; x and y broadcast.

    >>> float(dot_error([1.0, 2.0], [3.0, 4.0])) == 11 * gamma_n(3)
    True
    """
    size = np.abs(finite_array("x", x) * finite_array("y", y))
    return np.asarray(gamma_n(size.shape[axis] + 1, dtype) * size.sum(axis))


def spectrum_error(sizes: ArrayLike, dtype: DTypeLike = "float64") -> float:
    r"""Return how far computed eigenvalues or singular values may be off: :math:`8nu\|A\|_2`.

    Eigenvalues are those of a symmetric matrix. A backward stable method gives the exact values of
    A + E, which are within ‖E‖₂ of those of A (Weyl), and :math:`\|E\|_2 = p(n)\,u\,\|A\|_2` with p
    of order n (*LAPACK Users' Guide*, 3rd ed., SIAM 1999, sections 4.7 and 4.9). The proven p are
    quadratic and far from what happens, so the 8 is measured: the largest gap of 4,000 symmetric
    matrices of size 2 to 16, with entries over six decades, of low rank or normal, is 4.6 nu‖A‖ (at
    n = 3; 0.8 at n = 16).

    Parameters
    ----------
    sizes : array_like
        The n computed values; the largest in size is ‖A‖₂.
    dtype : dtype_like
        The format in which they were computed.

    >>> spectrum_error([3.0, -4.0]) == 8 * 2 * 4 * 2.0**-53
    True
    """
    found = finite_array("sizes", sizes, ndim=1)
    return float(8 * len(found) * unit_roundoff(dtype) * np.abs(found).max(initial=0.0))


def recursion_error(local: ArrayLike, growth: ArrayLike = 1.0, *, start: ArrayLike = 0.0) -> Values:
    r"""Return bounds of the error along a recursion, :math:`e_{k+1} = L_ke_k + l_k`.

    Of :math:`x_{k+1} = F_k(x_k)` is computed :math:`\hat x_{k+1} = F_k(\hat x_k) + \delta_k`. Where
    :math:`|\delta_k| \le l_k` and :math:`|F_k(x) - F_k(y)| \le L_k|x-y|`, the triangle inequality
    gives :math:`|\hat x_k - x_k| \le e_k` by induction.

    Parameters
    ----------
    local : array_like
        l_0 … l_{n−1}, (…, n): what the step k → k + 1 adds. The roundings of one step, `gamma_n`
        times its size.
    growth : array_like
        L_0 … L_{n−1}, a Lipschitz constant of each step; broadcasts with `local`.
    start : array_like
        e_0, (…).

    Returns
    -------
    ndarray
        e_0 … e_n, (…, n + 1).

    >>> recursion_error([1.0, 1.0, 1.0], 2.0).tolist()
    [0.0, 1.0, 3.0, 7.0]
    """
    added, factor = np.broadcast_arrays(
        finite_array("local", local), finite_array("growth", growth)
    )
    if added.ndim == 0 or (added < 0).any() or (factor < 0).any():
        raise ValueError(
            f"local, growth: expected bounds >= 0, one a step, got {local!r}, {growth!r}; "
            "give both as arrays whose last axis is the steps"
        )
    bounds = [np.broadcast_to(finite_array("start", start), added.shape[:-1])]
    for k in range(added.shape[-1]):
        bounds.append(factor[..., k] * bounds[-1] + added[..., k])
    return np.stack(bounds, -1)


def propagated_error(jacobians: ArrayLike, local: ArrayLike, start: ArrayLike) -> Values:
    r"""Return bounds of the errors of d numbers along a recursion, to first order.

    .. math:: e_t = \sum_{s\le t} |J_{t-1}\cdots J_s|\,l_s

    As `recursion_error`, to first order in the errors and without a norm: the error of each step is
    moved along by the Jacobians, and sizes are taken only at the end. It sees that errors turn and
    cancel, where a product of norms grows.

    Parameters
    ----------
    jacobians : array_like
        J_0 … J_{n−1}, (…, n, d, d), of the steps k → k + 1 at the computed states.
    local : array_like
        What each step adds to each number, (…, n, d), >= 0.
    start : array_like
        l_0, (…, d), >= 0.

    Returns
    -------
    ndarray
        e_0 … e_n, (…, n + 1, d).

    >>> quarter = [[0.0, -1.0], [1.0, 0.0]]
    >>> propagated_error([quarter] * 4, [[0.0, 0.0]] * 4, [1.0, 0.0]).tolist()
    [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """
    jacobian, added, first = (
        finite_array("jacobians", jacobians),
        finite_array("local", local),
        finite_array("start", start),
    )
    n, d = added.shape[-2:] if added.ndim > 1 else (0, 0)
    if (
        jacobian.shape[-3:] != (n, d, d)
        or first.shape != (*added.shape[:-2], d)
        or (added < 0).any()
        or (first < 0).any()
    ):
        raise ValueError(
            f"jacobians, local, start: expected shapes (…, n, d, d), (…, n, d), (…, d) and errors "
            f">= 0, got {jacobian.shape}, {added.shape}, {first.shape}; give both for each step"
        )
    eye, bounds = np.eye(d), [first]
    spread = first[..., None] * eye  # columns: the errors of each step so far, moved along to now
    for t in range(n):
        spread = np.concatenate([jacobian[..., t, :, :] @ spread, added[..., t, :, None] * eye], -1)
        bounds.append(np.abs(spread).sum(-1))
    return np.stack(bounds, -2)


def response_error(
    moved: ArrayLike,
    steps: ArrayLike,
    *,
    probe: float,
    roundings: float,
    leverage: float = 1.0,
    besides: ArrayLike = 0.0,
    linear: float = 0.05,
) -> Values:
    r"""Return what rounding may do to a run of measured response: :math:`u(1+k)(c\,R_k + b_k)`.

    The run is made once more with everything that is given (start, data, learning rate) changed by
    ± `probe`, relatively, at the start and at each step. :math:`R_k = \max_{j\le k}` moved/probe,
    and at least 1, is what a relative error 1 in everything becomes. A step makes at most c
    roundings, each a relative change u of something given, and in the worst case those of all steps
    add up.

    Parameters
    ----------
    moved : array_like
        How far the changed run is from the first at each saved step, (saves,).
    steps : array_like
        k of each, (saves,).
    probe : float
        The relative change: so small that the response is linear, so large that rounding is not
        seen.
    roundings : float
        c, the roundings of a step, of both runs where two are compared.
    leverage : float
        By how much a rounding may exceed that of a thing given: 1 + |ηβ|/(1 − μ) where a buffer
        holds β times the weights, for it keeps a rounding for 1/(1 − μ) steps.
    besides : array_like
        b_k, further roundings of a step that are not multiplied, (saves,).
    linear : float
        Above this part moved the response is not linear, and nothing can be said: the bound is
        √(largest float64).

    Returns
    -------
    ndarray
        float64, (saves,).

    >>> bound = response_error([0.0, 2e-7, 4e-7], [0, 10, 20], probe=1e-7, roundings=10)
    >>> (bound / unit_roundoff()).round().tolist()
    [10.0, 220.0, 840.0]
    """
    apart, k = np.asarray(moved, dtype=np.float64), finite_array("steps", steps, ndim=1)
    probe, besides = number("probe", probe, above=0), finite_array("besides", besides)
    if apart.shape != k.shape or (k < 0).any() or not (apart >= 0).all():
        raise ValueError(
            "moved, steps: expected a distance >= 0 (inf where the run is lost) per saved step, "
            f"got shapes {apart.shape}, {k.shape} and {apart.min(initial=np.inf):g} at least"
        )
    response = np.maximum.accumulate(np.maximum(apart / probe, 1.0)) * leverage
    response[response * probe > linear] = np.finfo(np.float64).max ** 0.5
    return unit_roundoff() * (1 + k) * (roundings * response + besides)


def explained_gap(
    parted: ArrayLike,
    narrow: DTypeLike = "float32",
    wide: DTypeLike = "float64",
    *,
    size: float = 1.0,
) -> Any:
    r"""Return the largest gap of two runs in `wide` that rounding explains.

    Known from how far the two are from their exact course.

    .. math:: \text{explained} = s\,\max\bigl(\rho\,u_w/u_n,\ 2u_w\,\text{size}\bigr), \qquad s = 16

    Two computations agree in exact arithmetic. The same two in `narrow` are off from those in
    `wide` by ρ in all, the sum of both distances. Errors are linear in u, so :math:`\rho\,u_w/u_n`
    is the gap to expect in `wide`; and less than u of the size of each number compared is never
    known. The roundings in the two formats are different draws, though: by the central limit
    theorem a run's error is :math:`u\sigma Z`, Z normal (N. Higham, T. Mary, SIAM J. Sci. Comput.
    41 (2019) A2815). With one component, of one size in both runs, :math:`\rho \propto |Z_1| +
    |Z_2| \ge R` where R is Rayleigh's, and the gap is :math:`\sqrt2\,|Z|`, so that

    .. math:: P(\text{gap} > \text{explained}) \le P(\sqrt2\,|Z| > sR)
              = 1 - (1 + 2/s^2)^{-1/2} \approx s^{-2}

    is 0.4 % at s = 16, and less with more components or where ρ is the largest of many steps. A gap
    that is no rounding is the same in both formats, and stands out by u_n/u_w, 5·10⁸ between
    float32 and float64.

    Parameters
    ----------
    parted : array_like
        ρ, >= 0; NaN, of runs that are lost, explains nothing: it gives NaN, and no gap is below
        that.
    narrow, wide : dtype_like
        The format ρ was found in, and that of the gap. The same twice: the gap in the narrow format
        itself.
    size : float
        Of the numbers that are compared.

    >>> bool(explained_gap(2.0**-20) == 16 * 2.0**-49)
    True
    """
    ratio, found = unit_roundoff(wide) / unit_roundoff(narrow), np.asarray(parted, dtype=np.float64)
    if (found < 0).any():
        raise ValueError(f"parted: expected distances >= 0, got {found.min():g}")
    return SLACK * np.maximum(found * ratio, 2 * unit_roundoff(wide) * size)
