"""Claims of `sdetheory.random`: the generator is Philox, the kernels are its twins, the law and the nesting are exact.

Seeds are fixed, so nothing here flickers. A statistical test fails a right generator with probability below ALARM / TESTS.
Accuracy: with e = 2^-52 and R the radius of a pair, the kernel is within 4 e R of the exact map of its words (log 1 + sqrt
1/2, sin and cos 2.5 / sqrt 2, product 1/2, rounded up) and the twin within 4 e R (libm within 1 ulp, the angle's rounding
0.8), so the two agree within 8 e R.
"""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy import special, stats

from sdetheory import random
from sdetheory.kernels.compilation import compiled_now
from sdetheory.kernels.instructions import Real
from sdetheory.random import fill_normals, fill_three_point, fill_two_point, fill_uniforms, philox

EPS = 2.0**-52
ALARM, TESTS = 1e-3, 40
Z = stats.norm.isf(ALARM / TESTS / 2)
KEY = random.stream_key(20261122, "path")
FILLS = {"normal": (fill_normals, random.normals), "uniform": (fill_uniforms, random.uniforms),
         "two_point": (fill_two_point, random.two_point), "three_point": (fill_three_point, random.three_point)}
KNOWN_ANSWERS = [  # Random123, kat_vectors, philox4x32 10
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1")]


def fill(kind, rows, lanes, path=0, index=0, key=KEY, scale=1.0, in_time=False):
    """Noise of `kind` as (rows, lanes), whichever way it was made; every entry is written or the NaN shows."""
    out = np.full((lanes, rows) if in_time else (rows, lanes), np.nan)
    FILLS[kind][0](out, path, index, key, *(() if kind == "uniform" else (scale,)), in_time=in_time)
    return out.T if in_time else out


def twin(kind, rows, lanes, path=0, index=0, key=KEY):
    return FILLS[kind][1](key, path + np.arange(lanes), index + np.arange(rows)[:, None])


def words(text):
    return [int(word, 16) for word in text.split()]


def evaluate(formula, *columns):
    """The results of a formula of `random.philox` on arrays of words or of floats, compiled: one array a result."""
    columns = [np.ascontiguousarray(column) for column in np.broadcast_arrays(*columns)]
    n, found = columns[0].size, []

    def body(k, size, *addresses):
        with k.loop(size) as i:
            given = [(k.real if column.dtype == float else k.integer)(address, i)
                     for column, address in zip(columns, addresses, strict=False)]
            results = formula(*given)
            results = results if isinstance(results, tuple) else (results,)
            if not found:
                found.extend(isinstance(result, Real) for result in results)
            for j, result in enumerate(results):
                k.put_real(addresses[-1], i * len(results) + j, result if isinstance(result, Real) else result.as_real())

    call, out = compiled_now("i" * (len(columns) + 2), body), np.empty(4 * n)
    assert call(n, *(column.ctypes.data for column in columns), out.ctypes.data) == 0
    numbers = out[:n * len(found)].reshape(n, len(found))
    return [numbers[:, j].copy() if real else numbers[:, j].copy().view(np.uint64) for j, real in enumerate(found)]


def words_of(*numbers):
    return [np.atleast_1d(np.asarray(number, np.uint64)) for number in numbers]


def normal_pairs(a, b):
    a, b = words_of(a, b)
    return tuple(evaluate(lambda a, b: philox.normal_pair(a, b, one(a)), a, b))


def one(word):
    return (word & 0).rounded() + 1.0


# The generator


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_kernel_and_twin_give_the_known_answers_of_random123(counter, key, answer):
    c, k, expected = words(counter), words(key), words(answer)
    assert random.philox_numpy(c, k).tolist() == expected
    ((a,), (b,)) = evaluate(philox.philox, *words_of(c[0] | c[1] << 32, c[2] | c[3] << 32, k[0] | k[1] << 32))
    a, b = int(a), int(b)
    assert [a >> 32, a & 0xFFFFFFFF, b >> 32, b & 0xFFFFFFFF] == expected


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_nine_rounds_or_swapped_keys_do_not_give_the_known_answers(counter, key, answer):
    c, k = words(counter), words(key)
    assert random.philox_numpy(c, k, rounds=9).tolist() != words(answer)
    if k[0] != k[1]:
        assert random.philox_numpy(c, k[::-1]).tolist() != words(answer)


def test_the_definition_in_python_integers_gives_the_known_answer():
    c, (k0, k1) = words(KNOWN_ANSWERS[2][0]), words(KNOWN_ANSWERS[2][1])
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 // 2**32 ^ c[1] ^ k0, p1 % 2**32, p0 // 2**32 ^ c[3] ^ k1, p0 % 2**32]
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    assert c == words(KNOWN_ANSWERS[2][2])


# Kernels against twins, and the same bits however the work is split


PLACES = [(0, 0), (5, 3), (2**32 - 7, 2**33 - 5), (2**40 + 1, 2**41 + 127)]  # both counter halves carry over 2^32


@pytest.mark.parametrize(("path", "index"), PLACES)
@pytest.mark.parametrize("kind", FILLS)
def test_kernel_equals_its_numpy_twin(kind, path, index):
    rows, lanes = 140, 19
    got, expected = fill(kind, rows, lanes, path, index), twin(kind, rows, lanes, path, index)
    if kind != "normal":
        np.testing.assert_array_equal(got, expected)
        return
    i, k = index + np.arange(rows)[:, None], path + np.arange(lanes)
    radius = np.hypot(random.normals(KEY, k, i - i % 2), random.normals(KEY, k, i - i % 2 + 1))
    assert np.all(np.abs(got - expected) <= 8 * EPS * radius)


@pytest.mark.parametrize("kind", FILLS)
def test_same_bits_for_every_split_of_rows_lanes_and_first_index(kind):
    whole = fill(kind, 150, 40)
    for index in (0, 1, 2, 63, 64, 65, 127, 128, 129):
        for rows in (0, 1, 2, 3, 4, 5, 21):
            for path, lanes in ((0, 1), (3, 8), (7, 17)):
                part = fill(kind, rows, lanes, path, index)
                want = whole[index:index + rows, path:path + lanes]
                assert part.tobytes() == want.tobytes(), (kind, index, rows, path, lanes)


@pytest.mark.parametrize("kind", FILLS)
def test_in_time_version_gives_the_same_bits(kind):
    for path, index in PLACES:
        for rows in (1, 2, 77, 140):
            assert (fill(kind, rows, 5, path, index, scale=0.3, in_time=True).tobytes()
                    == fill(kind, rows, 5, path, index, scale=0.3).tobytes())


def one_by_one(kind, rows, lanes, path, index, scale):
    """Normals, uniforms or three-point noise as (rows, lanes) from scalar code, number by number."""
    per = 4 if kind == "three_point" else 2
    i, paths = index + np.arange(rows)[:, None], path + np.arange(lanes)
    blocks, slots = np.broadcast_arrays(i // per, i % per)
    a, b = evaluate(philox.philox, *words_of(np.broadcast_to(paths, (rows, lanes)).ravel(),
                                             np.broadcast_to(blocks, (rows, lanes)).ravel(), KEY))
    if kind == "normal":
        numbers = evaluate(lambda a, b: philox.normal_pair(a, b, one(a) * scale), a, b)
    elif kind == "uniform":
        numbers = evaluate(lambda a, b: (philox.uniform(a), philox.uniform(b)), a, b)
    else:
        value = np.sqrt(3.0) * scale
        numbers = evaluate(lambda *words: tuple(philox.three_point(word, one(word) * value) for word in words),
                           *words_of(a >> np.uint64(32), a, b >> np.uint64(32), b))
    return np.choose(np.broadcast_to(slots, (rows, lanes)), [column.reshape(rows, lanes) for column in numbers])


@pytest.mark.parametrize("kind", ["normal", "uniform", "three_point"])
@pytest.mark.parametrize("lanes", [1, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 512, 515])
def test_vectors_of_any_length_give_the_bits_of_single_numbers_and_write_nothing_else(kind, lanes):
    """Whole groups of counters and what is left over, few paths and many, across 2^32 in either half; scalar code judges."""
    for path, index in (*PLACES, (2**32 - 20, 2**33 - 41), (0, 2**34 - 42)):
        want = one_by_one(kind, 131, lanes, path, index, 0.3)
        for rows in (1, 2, 3, 67, 131):
            for in_time in (False, True):
                around = np.full(rows * lanes + 256, np.pi)
                inside = around[128:-128].reshape((lanes, rows) if in_time else (rows, lanes))
                FILLS[kind][0](inside, path, index, KEY, *(() if kind == "uniform" else (0.3,)), in_time=in_time)
                assert (inside.T if in_time else inside).tobytes() == want[:rows].tobytes(), (path, index, rows, in_time)
                assert np.all(around[:128] == np.pi)
                assert np.all(around[-128:] == np.pi)


@pytest.mark.parametrize("kind", FILLS)
def test_same_bits_on_one_thread_and_on_many(kind):
    whole, out = fill(kind, 66, 500), np.empty((10, 66, 50))
    tail = () if kind == "uniform" else (1.0,)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda j: FILLS[kind][0](out[j], 50 * j, 0, KEY, *tail), range(10)))
    assert np.concatenate(list(out), axis=1).tobytes() == whole.tobytes()


@pytest.mark.parametrize("processor", [{"SDETHEORY_PREFER_256": "1"}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}])
def test_same_bits_with_narrow_vectors_and_without_fused_multiply_add(processor, tmp_path):
    """Another process compiles for narrower vectors, or for the plainest processor, where fma is a library call."""
    program = ("import hashlib, numpy as np; from sdetheory.random import *; z, t = np.empty((66, 37)), np.empty((2, 165))\n"
               "fill_normals(z, 3, 5, stream_key(1, 'path'), 0.1); fill_normals(t, 3, 5, stream_key(1, 'path'), 0.1, in_time=True)\n"
               "print(hashlib.sha256(z.tobytes() + t.tobytes()).hexdigest())")
    z, t = np.empty((66, 37)), np.empty((2, 165))
    fill_normals(z, 3, 5, random.stream_key(1, "path"), 0.1)
    fill_normals(t, 3, 5, random.stream_key(1, "path"), 0.1, in_time=True)
    environment = os.environ | processor | {"SDETHEORY_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == hashlib.sha256(z.tobytes() + t.tobytes()).hexdigest()


@pytest.mark.parametrize("kind", ["normal", "two_point", "three_point"])
def test_scale_multiplies_the_noise(kind):
    """Scale enters once, so a power of two is exact and 0.3 costs the roundings of two more products."""
    bare = fill(kind, 70, 20)
    np.testing.assert_array_equal(fill(kind, 70, 20, scale=0.25), 0.25 * bare)
    np.testing.assert_allclose(fill(kind, 70, 20, scale=0.3), 0.3 * bare, rtol=2 * EPS, atol=0)


# The map from words to normals


def test_log_sin_and_cos_are_within_2e_15_of_libm_and_within_their_stated_bounds():
    g = np.random.default_rng(1)
    u = np.concatenate([2.0**-g.uniform(0, 65, 20000), g.uniform(0, 1, 60000), 1 - 2.0**-g.uniform(1, 52, 20000), [2.0**-65]])
    r = np.concatenate([g.uniform(-0.5, 0.5, 100000 - 1), [-0.5, 0.5]])
    logs, sines, cosines = evaluate(lambda u, r: (philox.minus_log(u), *philox.sin_cos_half_pi(r)), u, r)
    np.testing.assert_allclose(logs, -np.log(u), rtol=2e-15, atol=0)
    np.testing.assert_allclose(sines, np.sin(np.pi / 2 * r), rtol=0, atol=2e-15)
    np.testing.assert_allclose(cosines, np.cos(np.pi / 2 * r), rtol=0, atol=2e-15)
    with mpmath.workdps(40):
        for i in range(0, u.size, 40):
            exact, angle = -mpmath.log(mpmath.mpf(u[i])), mpmath.pi * mpmath.mpf(r[i]) / 2
            assert abs(logs[i] - exact) <= 2 * EPS * exact
            assert abs(sines[i] - mpmath.sin(angle)) <= EPS
            assert abs(cosines[i] - mpmath.cos(angle)) <= EPS


def test_extreme_words_give_the_extreme_normals():
    """Smallest u: radius sqrt(130 log 2); largest u rounds to 1: radius 0; signs come from bits 63 and 62 of b."""
    largest = np.sqrt(130 * np.log(2))
    for sign_bits, signs in ((0, (1, 1)), (1, (1, -1)), (2, (-1, 1)), (3, (-1, -1))):
        first, second = normal_pairs(0, [sign_bits << 62, sign_bits << 62 | 1 << 51])
        np.testing.assert_allclose(first, signs[0] * largest * np.array([1, np.sqrt(0.5)]), rtol=4 * EPS)
        np.testing.assert_allclose(second, signs[1] * largest * np.array([0, np.sqrt(0.5)]), rtol=4 * EPS,
                                   atol=4 * EPS * largest)
    assert normal_pairs(2**64 - 1, 0) == (0.0, 0.0)


def count_above(z, b):
    """How many words a give a first normal above z, by bisection (it falls in a), for each angle word b."""
    low, high = np.zeros(b.size, np.uint64), np.full(b.size, 2**64 - 1, np.uint64)
    while np.any(low < high):
        middle = low + (high - low) // np.uint64(2)
        above = normal_pairs(middle, b)[0] > z
        low, high = np.where(above, middle + np.uint64(1), low), np.where(above, high, middle)
    return low


@pytest.mark.parametrize("z", [1.0, 3.0, 5.0, 7.0, 8.0, 9.0])
def test_tails_of_the_normals_are_right_to_8_sigma_and_beyond(z):
    """P(N > z | phi > 0) = mean over phi of #{a : N > z} / 2^64 against erfc(z / sqrt 2), with no sampling.

    For one angle the count is x 2^64 rounded, x = exp(-z^2 / 2 cos^2 phi), off by 1/2 and by the relative error
    2 L e of the radius at L = z^2 / 2 cos^2 phi (x changes by 2 L a relative change of the radius). The midpoint rule over a
    smooth even periodic function converges geometrically: 400 nodes leave nothing.
    """
    nodes = 400
    b = (2 * np.arange(nodes, dtype=np.uint64) + np.uint64(1)) * np.uint64(2**52 // (2 * nodes))
    cosines = np.cos(b.astype(float) * 2.0**-52 * np.pi / 2)
    exponent = z**2 / 2 / cosines**2
    exact = np.exp(-exponent)
    counted = count_above(z, b).astype(float) * 2.0**-64
    allowed = 2.0**-65 + exact * (2.0**-53 + 2 * exponent * 8 * EPS / cosines)
    assert np.all(np.abs(counted - exact) <= allowed)
    probability = special.erfc(z / np.sqrt(2))
    assert abs(counted.mean() - probability) <= allowed.mean() + probability * 100 * EPS * (1 + z**2)
    if z == 8.0:
        assert allowed.mean() < 3e-5 * probability  # the bound itself says something
        assert abs(count_above(z * 1.0001, b).astype(float).mean() * 2.0**-64 - probability) > 100 * allowed.mean()


# The law


def moment_scores(x):
    """z-scores of the first four moments, by their exact variances 1, 2, 15, 96 under the normal law."""
    return np.array([(np.mean(x**k) - m) / np.sqrt(v / x.size) for k, m, v in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96))])


def test_normals_have_the_normal_moments_and_distribution():
    x = fill("normal", 512, 1024).ravel()
    assert np.all(np.abs(moment_scores(x)) < Z)
    assert stats.kstest(x[::2], "norm").pvalue > ALARM / TESTS


@pytest.mark.parametrize("wrong", [lambda x: 1.01 * x, lambda x: x + 0.01, lambda x: np.clip(x, -3, 3),
                                   lambda x: x + 0.01 * (x**3 - 3 * x)])
def test_moments_catch_a_wrong_normal_law(wrong):
    assert np.any(np.abs(moment_scores(wrong(fill("normal", 512, 1024).ravel()))) > Z)


@pytest.mark.parametrize("power", [1, 2])
def test_neighbouring_paths_indices_and_streams_are_independent(power):
    x = fill("normal", 512, 1024)
    child = np.random.SeedSequence(20261122).spawn(1)[0]
    others = {"next path": (x[:, :-1], x[:, 1:]), "other half of the pair": (x[0::2], x[1::2]),
              "next pair": (x[:-2], x[2:]), "path and index exchanged": (x[:, :512], x[:, :512].T),
              "other stream": (x, fill("normal", 512, 1024, key=random.stream_key(20261122, "initial"))),
              "next seed": (x, fill("normal", 512, 1024, key=random.stream_key(20261123, "path"))),
              "spawned child": (x, fill("normal", 512, 1024, key=random.stream_key(child, "path")))}
    off_diagonal = ~np.eye(512, dtype=bool)
    for name, (y, z) in others.items():
        if name.startswith("path and index"):
            upper = np.triu(off_diagonal)
            y, z = y[upper], z[upper]
        product = (y**power - (power == 2)) * (z**power - (power == 2))
        assert abs(product.mean()) < Z * np.sqrt({1: 1.0, 2: 4.0}[power] / product.size), name


def test_uniforms_are_uniform_and_open():
    u = fill("uniform", 256, 1024).ravel()
    assert u.min() > 0 and u.max() < 1
    counts = np.bincount((u * 256).astype(int), minlength=256)
    assert stats.chisquare(counts).pvalue > ALARM / TESTS
    assert evaluate(philox.uniform, *words_of([0, 2**64 - 1]))[0].tolist() == [2.0**-53, 1 - 2.0**-53]


def test_two_point_noise_is_fair_and_its_bits_are_independent():
    x = fill("two_point", 1024, 512)
    assert set(np.unique(x)) == {-1.0, 1.0}
    for y in (x, x[1:] * x[:-1], x[64:] * x[:-64], x[128:] * x[:-128], x[:, 1:] * x[:, :-1]):
        assert abs(y.mean()) < Z / np.sqrt(y.size)


def test_three_point_noise_has_its_probabilities_and_first_five_moments():
    """The law of weak order 2: moments 0, 1, 0, 3, 0. The probabilities are also exact by construction, within 2^-32."""
    x = fill("three_point", 1024, 512)
    values, counts = np.unique(x, return_counts=True)
    assert values.tolist() == [-np.sqrt(3.0), 0.0, np.sqrt(3.0)]
    assert stats.chisquare(counts, x.size * np.array([1, 4, 1]) / 6).pvalue > ALARM / TESTS
    assert abs(Fraction(int(philox.ONE_THIRD), 2**31) - Fraction(1, 3)) < Fraction(1, 2**32)
    for y in (x[1:] * x[:-1], x[4:] * x[:-4], x[:, 1:] * x[:, :-1]):
        assert abs(y.mean()) < Z / np.sqrt(y.size)


# Seeds and streams


def test_keys_depend_on_seed_stream_and_spawn_key_and_on_nothing_else():
    child, sibling = np.random.SeedSequence(7).spawn(2)
    keys = [int(random.stream_key(rng, stream)) for rng in (7, 8, child, sibling)
            for stream in ("path", "initial", "minibatch")]
    assert len(set(keys)) == len(keys)
    np.random.seed(0)
    again = int(random.stream_key(np.int64(7), "path"))
    assert again == keys[0] == int(random.stream_key(np.random.SeedSequence(7), "path"))
    assert isinstance(random.stream_key(7, "path"), np.uint64)


def test_a_generator_gives_fresh_but_reproducible_streams():
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    assert random.stream_key(first, "path") == random.stream_key(second, "path")
    assert random.stream_key(first, "path") != random.stream_key(np.random.default_rng(3), "path")
    assert random.seed_sequence(None).entropy != random.seed_sequence(None).entropy


def test_seeding_leaves_numpys_global_state_alone():
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    random.stream_key(None, "path"), random.stream_key(np.random.default_rng(0), "path")
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(("rng", "stream", "error", "message"), [
    (-1, "path", ValueError, "rng: expected an integer >= 0, got -1"),
    (True, "path", TypeError, "rng: expected an int >= 0"),
    (1.5, "path", TypeError, "rng: expected an int >= 0"),
    (np.random.RandomState(0), "path", TypeError, "pass e.g. rng=0"),
    (0, "", ValueError, "stream: expected a name that is not empty"),
    (0, 3, TypeError, "stream: expected a name")])
def test_bad_seeds_and_streams_are_refused_by_name(rng, stream, error, message):
    with pytest.raises(error, match=message):
        random.stream_key(rng, stream)


def test_twins_refuse_negative_or_fractional_places():
    with pytest.raises(ValueError, match="paths: expected integers >= 0"):
        random.normals(KEY, -1, 0)
    with pytest.raises(ValueError, match="indices: expected integers >= 0"):
        random.uniforms(KEY, 0, 0.5)


# Nested increments


@pytest.mark.parametrize("levels", [0, 1, 2, 3, 5])
def test_one_brownian_path_sums_exactly_over_nested_grids(levels):
    fine = fill("normal", 96, 33, scale=0.1)
    coarse = random.coarsen(fine, levels)
    step_by_step = fine
    for _ in range(levels):
        step_by_step = random.coarsen(step_by_step, 1)
    assert coarse.tobytes() == step_by_step.tobytes()
    assert coarse[0, 0] == pytest.approx(float(sum(map(Fraction, fine[:2**levels, 0]))), abs=2**levels * EPS)


def test_summing_from_left_to_right_is_not_the_tree_sum():
    fine = fill("normal", 96, 33, scale=0.1)
    left_to_right = np.add.accumulate(fine.reshape(12, 8, 33), axis=1)[:, -1]
    assert np.any(left_to_right != random.coarsen(fine, 3))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: random.coarsen(np.zeros(6), 2), "increments: expected a first axis divisible by 2\\^times = 4"),
    (lambda: random.coarsen(np.zeros(4), -1), "times: expected an integer >= 0")])
def test_bad_nesting_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
