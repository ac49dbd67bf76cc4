"""The driver of a block: draw its noise, advance it, look for divergence, observe it.

Noise number i = step·m + component of a path fills row i of the noise block. A Brownian path may be drawn on a grid
`substeps` (a power of 2) times finer than the solver's and summed by a tree, so that the same path is seen at every step
size. A path that leaves the finite numbers is marked with the first step at which it is no longer finite, `D[lane]`,
infinite while all is well.

The functions here write instructions (see `kernels.instructions`). They know no process: they call it by address.
"""

from __future__ import annotations

import math
from typing import Any

from ..kernels.abi import RUN_REALS, RUN_TABLE
from ..kernels.instructions import Code, Real, Word

WINDOW = 32  # steps between two looks for divergence
TILE = 8  # numbers in a cache line


def run(k: Code, table: Word) -> None:
    """`take_steps` with its arguments from a table: one number to hand over in place of forty."""
    given: dict[str, Any] = {name: k.integer(table, i) for i, name in enumerate(RUN_TABLE)}
    take_steps(k, **{name: value.as_real() if name in RUN_REALS else value for name, value in given.items()})


def take_steps(k: Code, advance: Word, advance_constants: Word, observers: Word, n_observers: Word, draw_Z: Word, draw_V: Word,
        tree: Word, X: Word, rows: Word, lanes: Word, first_path: Word, first_step: Word, saves: Word, n_saves: Word,
        batch: Word, substeps: Word, z_rows: Word, v_rows: Word, with_area: Word, key_Z: Word, key_V: Word, scale_Z: Real,
        scale_V: Real, t0: Real, dt: Real, Z: Word, V: Word, F: Word, B: Word, S: Word, T: Word, T_rows: Word, P: Word,
        D: Word, OUT: Word, width: Word, watched: Word, ready: Word) -> None:
    """Take a block from `first_step` to the steps `saves`, and observe it at each.

    Arrays are addresses: X and B (rows, lanes), D (lanes,), OUT (n_saves, width · lanes + TILE); `observers` holds for each observable
    its kernel, its constants and its rows. The noise of the first `ready` steps stands in Z.
    """
    step, into = k.variable(first_step), k.variable(OUT)
    drawn, drawn_to = k.variable(first_step), k.variable(first_step + ready)
    with k.loop(n_saves) as save:
        save_step = k.integer(saves, save)
        with k.loop_while(lambda: step.get() < save_step):
            window = batch.at_least(WINDOW).at_most(save_step - step.get())
            with k.where((watched > 0) & (window > 1)):
                k.copy(B, X, rows * lanes)
            done, size = k.variable(0), k.variable((window > 1).pick(batch, 1))
            with k.loop_while(lambda: done.get() < window):
                at = step.get() + done.get()
                with k.where((at < drawn.get()) | ~(at < drawn_to.get())):  # a batch serves the saves that come after, too
                    drawn.set(at)
                    drawn_to.set(at + batch)
                    draw(k, draw_Z, tree, Z, F, lanes, first_path, at, batch, z_rows, substeps, with_area, key_Z, scale_Z)
                    with k.where(v_rows > 0):
                        k.call(draw_V, V, batch * v_rows, lanes, first_path, at * v_rows, key_V, scale_V)
                n_steps = size.get().at_most(window - done.get()).at_most(drawn_to.get() - at)
                row_of_block = (at - drawn.get()) * lanes * 8
                k.call(advance, at, n_steps, t0, dt, lanes, X, Z + row_of_block * z_rows, V + row_of_block * v_rows, S, T,
                       T_rows, P, D, advance_constants)
                done.set(done.get() + n_steps)
                with k.where((watched > 0) & size.get().equals(1)):
                    mark_diverged(k, X, rows, lanes, D, at + 1)
                # inside, since `&` computes both of its sides: the look goes over the whole block
                with k.where((watched > 0) & (size.get() > 1) & done.get().equals(window)):
                    with k.where(newly_diverged(k, X, rows, lanes, D)):  # find the step: the same noise, one step at a time
                        k.copy(X, B, rows * lanes)
                        done.set(0)
                        size.set(1)
            step.set(step.get() + window)
        begin = into.get()
        with k.loop(n_observers) as i:
            k.call(k.integer(observers, i * 3), step.get(), t0, dt, lanes, X, into.get(), S, T, T_rows, P,
                   k.integer(observers, i * 3 + 1))
            into.set(into.get() + k.integer(observers, i * 3 + 2) * lanes * 8)
        into.set(into.get() + TILE * 8)
        lost = k.variable(0)
        with k.loop(lanes) as lane:
            lost.set(lost.get() | k.real(D, lane).is_below(math.inf).pick(k.word(1), 0))
        with k.where(lost.get() > 0), k.loop(lanes) as lane, k.where(k.real(D, lane).is_below(math.inf)):
            with k.loop(width) as row:
                k.put_real(begin, row * lanes + lane, math.nan)


def draw(k: Code, kernel: Word, tree: Word, Z: Word, F: Word, lanes: Word, first_path: Word, at: Word, n_steps: Word,
         z_rows: Word, substeps: Word, with_area: Word, key: Word, scale: Real) -> None:
    """The noise of the steps at … at + n_steps − 1 into Z, by way of a finer grid F where `substeps` is not 1."""
    with k.where((z_rows > 0) & substeps.equals(1)):
        k.call(kernel, Z, n_steps * z_rows, lanes, first_path, at * z_rows, key, scale)
    with k.where((z_rows > 0) & (substeps > 1)):
        fine = substeps * z_rows
        k.call(kernel, F, n_steps * fine, lanes, first_path, at * fine, key, scale)
        k.call(tree, F, Z, lanes, n_steps, z_rows, substeps, with_area)


def is_new(k: Code, X: Word, row: Word, lanes: Word, lane: Word, D: Word):
    """Whether a number of a lane that was finite so far is not."""
    return ~k.real(X, row * lanes + lane).is_finite() & ~k.real(D, lane).is_below(math.inf)


def newly_diverged(k: Code, X: Word, rows: Word, lanes: Word, D: Word):
    """Whether some lane that was finite so far holds a number that is not."""
    found = k.variable(0)
    with k.loop(rows) as row, k.loop(lanes) as lane:
        found.set(found.get() | is_new(k, X, row, lanes, lane, D).pick(k.word(1), 0))
    return found.get() > 0


def mark_diverged(k: Code, X: Word, rows: Word, lanes: Word, D: Word, step: Word) -> None:
    """Note `step` for every lane that holds a number that is not finite and had none before."""
    with k.loop(rows) as row, k.loop(lanes) as lane, k.where(is_new(k, X, row, lanes, lane, D)):
        k.put_real(D, lane, step.rounded())


def brownian_tree(k: Code, F: Word, Z: Word, lanes: Word, n: Word, m: Word, substeps: Word, with_area: Word) -> None:
    """Increments over `n` steps into Z, m rows a step, from those drawn `substeps` to the step in F, summed by a tree.

    With area, the second half of the m rows is ΔU of ∫(W_s − W_0) ds = (h/2)(ΔW + ΔU/√3): over two steps it is
    (√3/2)(ΔW₁ − ΔW₂) + (ΔU₁ + ΔU₂)/2.
    """
    tilt = 0.5 * math.sqrt(3.0)
    count = k.variable(n * substeps)
    with k.loop_while(lambda: count.get() > n):
        count.set(count.get() >> 1)
        with k.loop(count.get()) as step:
            left, right, into = step * 2 * m, (step * 2 + 1) * m, step * m
            with k.where(with_area.equals(0)), k.loop(m) as row, k.loop(lanes) as lane:
                k.put_real(F, (into + row) * lanes + lane,
                           k.real(F, (left + row) * lanes + lane) + k.real(F, (right + row) * lanes + lane))
            half = m >> 1
            with k.where(with_area > 0), k.loop(half) as row, k.loop(lanes) as lane:
                w1, w2, u1, u2 = (k.real(F, (begin + row) * lanes + lane) for begin in (left, right, left + half, right + half))
                k.put_real(F, (into + row) * lanes + lane, w1 + w2)
                k.put_real(F, (into + half + row) * lanes + lane, (w1 - w2) * tilt + (u1 + u2) * 0.5)
    k.copy(Z, F, n * m * lanes)


def block_moments(k: Code, OUT: Word, saves: Word, width: Word, lanes: Word, first: Word, last: Word, moments: Word) -> None:
    """Count, mean and squared deviations over the finite lanes first … last − 1 of OUT → (saves, width, 3).

    Welford's recurrence waits for a division at every lane; eight rows side by side wait together.
    """
    rows = saves * width
    whole = rows // TILE * TILE
    with k.loop(whole, 0, TILE) as row:
        moments_of_rows(k, OUT, [row + i for i in range(TILE)], width, lanes, first, last, moments)
    with k.loop(rows, whole) as row:
        moments_of_rows(k, OUT, [row], width, lanes, first, last, moments)


def moments_of_rows(k: Code, OUT: Word, rows: list[Word], width: Word, lanes: Word, first: Word, last: Word,
                    moments: Word) -> None:
    """The moments of some rows, which do not wait for one another."""
    zero, places = k.word(0).as_real(), [row * lanes + row // width * TILE for row in rows]
    sums = [[k.variable(zero) for _ in range(3)] for _ in rows]
    with k.loop(last, first) as lane:
        for begin, (count, mean, squares) in zip(places, sums, strict=True):
            x = k.real(OUT, begin + lane)
            finite = x.is_finite()
            more = count.get() + 1.0
            delta = x - mean.get()
            new_mean = mean.get() + delta / more
            squares.set(finite.pick(squares.get() + delta * (x - new_mean), squares.get()))
            mean.set(finite.pick(new_mean, mean.get()))
            count.set(finite.pick(more, count.get()))
    for row, variables in zip(rows, sums, strict=True):
        for column, variable in enumerate(variables):
            k.put_real(moments, row * 3 + column, variable.get())


def place(save: Word, width: Word, row: Word, lanes: Word) -> Word:
    """Where a row of a save begins in OUT. Saves do not begin a power of two apart, where they would share one place of a cache."""
    return save * (width * lanes + TILE) + row * lanes


def put_away(k: Code, OUT: Word, saves: Word, width: Word, row: Word, rows: Word, lanes: Word, n: Word, into: Word,
             stride: Word) -> None:
    """Rows row … row + rows − 1 of OUT (saves, width, lanes) into n paths (saves, rows), `stride` numbers apart.

    Eight lanes at a time: what is read is a cache line, and what is written are eight that fill up.
    """
    whole = n // TILE * TILE
    with k.loop(whole, 0, TILE) as first, k.loop(saves) as save, k.loop(rows) as r:
        begin = place(save, width, row + r, lanes) + first
        for i in range(TILE):
            k.put_real(into, (first + i) * stride + save * rows + r, k.real(OUT, begin + i))
    with k.loop(n, whole) as lane, k.loop(saves) as save, k.loop(rows) as r:
        k.put_real(into, lane * stride + save * rows + r, k.real(OUT, place(save, width, row + r, lanes) + lane))


KERNELS = {function.__name__: function for function in (run, brownian_tree, block_moments, put_away)}
