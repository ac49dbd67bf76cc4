"""Philox 4x32-10 and what turns its words into variates, as functions that kernels call.

Ten rounds of (c0, c1, c2, c3) -> (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)), with the key (k0, k1)
moved on by Weyl constants from round to round (Salmon, Moraes, Dror, Shaw 2011), take the 128-bit counter (path, block) to
two words of 64 random bits. Box-Muller on a quarter turn, with signs from spare bits, makes two normals of them: log, sin
and cos are needed on short intervals only and are branch-free polynomials there. The functions take single numbers or
vectors of them.

Every operation is an IEEE one or an explicit fused multiply-add, never a contraction the compiler may or may not make: the
same bits come out of scalar and vector code of any width. Errors against the exact values: `minus_log` below 2^-51 of itself,
`sin_cos_half_pi` below 2^-52, so a normal is within 4 * 2^-52 times its pair's radius of the exact map of its words.
"""

from __future__ import annotations

from ..kernels.instructions import Real, Word

__all__ = ["normal_pair", "philox", "three_point", "uniform"]

MULTIPLIERS, WEYL = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
LOW32, LOW52, SIGN, ONE = 0xFFFFFFFF, 0x000FFFFFFFFFFFFF, 0x8000000000000000, 0x3FF0000000000000
ROOT_HALF = 0x3FE6A09E667F3BCD  # bits of sqrt(1/2)
BIAS, TWO52 = 0x4000000000000000, 0x4330000000000000  # 1024 in the exponent field; bits of 2^52
ONE_THIRD = 715827883  # round(2^31 / 3): each of the three probabilities is off by less than 2^-32


def philox(path: Word, block: Word, key: Word, *, paths_on: Word | int = 0, blocks_on: Word | int = 0) -> tuple[Word, Word]:
    """The 128 bits of counter (path, block) under `key` as two words (w0 2^32 + w1, w2 2^32 + w3).

    `paths_on` and `blocks_on` move the counter on within the low half of either, which must not pass 2^32: a vector in one of
    them makes counters side by side of which the first rounds are half done on single numbers. The 32-bit words are kept in
    64-bit ones, whose upper halves hold rubbish that no product reads.
    """
    k0, k1 = key & LOW32, key >> 32
    c0, c1, c2, c3 = path + paths_on, path >> 32, block + blocks_on, block >> 32
    for turn in range(10):
        p0, p1 = (c0 & LOW32) * MULTIPLIERS[0], (c2 & LOW32) * MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32) ^ (c1 ^ (k0 + turn * WEYL[0])), p1, (p0 >> 32) ^ (c3 ^ (k1 + turn * WEYL[1])), p0
    return (c0 << 32) | (c1 & LOW32), (c2 << 32) | (c3 & LOW32)


def minus_log(u: Real) -> Real:
    """-log u for u in [2^-65, 1]: u = 2^e m, m in [sqrt(1/2), sqrt 2), log m = 2 artanh((m - 1) / (m + 1))."""
    shifted = (u.as_word() - ROOT_HALF) + BIAS
    exponent = ((shifted >> 52) | TWO52).as_real() - (2.0**52 + 1024.0)
    m = ((shifted & LOW52) + ROOT_HALF).as_real()
    s = (m - 1.0) / (m + 1.0)
    w = s * s
    p = _polynomial(w, 0.14616449685043406, 0.15331721600556042, 0.18182889125261723, 0.2222221113479508,
                    0.28571428625975487, 0.39999999999899505, 0.666666666666667)
    tail = (s * w).fma(p, s + s)
    return exponent.fma(-0.6931471805599453, -tail)


def sin_cos_half_pi(r: Real) -> tuple[Real, Real]:
    """(sin, cos) of pi r / 2 for r in [-1/2, 1/2]."""
    t = r * r
    s = _polynomial(t, 5.633933781537854e-08, -3.59864335298231e-06, 0.0001604411507421909, -0.004681754132340976,
                    0.07969262624604301, -0.6459640975062443, 1.5707963267948966)
    c = _polynomial(t, -6.321256869628588e-09, 4.710609726757823e-07, -2.520203677046026e-05, 0.0009192602741831558,
                    -0.02086348076331121, 0.2536695079010467, -1.2337005501361697, 1.0)
    return r * s, c


def _polynomial(x: Real, first: float, *rest: float) -> Real:
    """Horner's rule, highest power first."""
    value = x.fma(first, rest[0])
    for coefficient in rest[1:]:
        value = value.fma(x, coefficient)
    return value


def normal_pair(a: Word, b: Word, scale: Real) -> tuple[Real, Real]:
    """Two independent normals times `scale` from words a, b: cos phi = (c - s)/sqrt 2, sin phi = (c + s)/sqrt 2."""
    radius = scale * minus_log(a.rounded().fma(2.0**-64, 2.0**-65)).sqrt()
    s, c = sin_cos_half_pi(((b & LOW52) | ONE).as_real() - 1.5)
    return (((radius * (c - s)).as_word() ^ (b & SIGN)).as_real(),
            ((radius * (c + s)).as_word() ^ ((b << 1) & SIGN)).as_real())


def uniform(word: Word) -> Real:
    """A uniform in [2^-53, 1 - 2^-53] from the top 52 bits of a word; exact."""
    return ((word >> 12) | ONE).as_real() - (1.0 - 2.0**-53)


def three_point(word: Word, value: Real) -> Real:
    """+value, -value or 0 with probabilities 1/6, 1/6, 2/3 from the low 32 bits of `word`."""
    moves = (word & LOW32) >> 1
    return (moves < ONE_THIRD).pick(value.as_word() | (word << 63), 0).as_real()
