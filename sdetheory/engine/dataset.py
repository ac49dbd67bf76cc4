"""From an ensemble's numbers to an xarray Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .plan import Plan
from .program import Observable

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["dataset", "refuse_collisions"]

#: names that a result has itself
_OWN = ("path", "step", "time", "state", "diverged_at", "n_finite", "n_diverged", "first_diverged_at")


def refuse_collisions(observables: Sequence[Observable], swept: Sequence[str], keep_paths: bool) -> None:
    """Refuse names of observables and swept parameters that a result has for something else, or for two of them."""
    taken = {**dict.fromkeys(_OWN, "the result's own"), **{o.dim: f"a dimension of {o.name!r}" for o in observables if o.dim}}
    parts = ("",) if keep_paths else ("", "_var", "_stderr", *(("_n_finite",) if len(observables) > 1 else ()))
    named = [(name, "sweep", name, "the swept parameter") for name in swept]
    named += [(o.name + part, "observe", o.name, f"{part[1:].replace('_', ' ')} of".strip() if part else "the observable")
              for o in observables for part in parts]
    for full, argument, name, what in named:
        if full in taken:
            remedy = "give observables other names: observe={'other': ...}" if argument == "observe" else "rename the symbol"
            raise ValueError(f"{argument}: expected names that are not taken, got {name!r}: {full!r} is {taken[full]}; {remedy}")
        taken[full] = f"{what} {name!r}"


def dataset(plan: Plan, values: tuple[NDArray[np.float64], ...], divergence: NDArray, grid: dict[str, NDArray],
            n_paths: int, clock: str, along: NDArray, attributes: dict[str, Any]) -> xr.Dataset:
    """Variables with dims (sweep…, path, step or time[, state]), or their moments; `along` are the saves on the clock.

    `divergence` is that of `run_ensemble`, and is written over.
    """
    import xarray as xr

    shape, dims = tuple(v.size for v in grid.values()), tuple(grid)
    coords: dict[str, Any] = {**grid, clock: along}
    variables: dict[str, Any] = {}
    row = 0
    for i, observable in enumerate(plan.program.observables):
        rows = slice(row, row + observable.rows)
        row += observable.rows
        inner, about = (observable.dim,) if observable.dim else (), {"observed": observable.about} if observable.about else {}
        if plan.keep_paths:
            array = values[i].reshape(*shape, n_paths, len(along), observable.rows)
            variables[observable.name] = ((*dims, "path", clock, *inner), array if inner else array[..., 0], about)
            continue
        moments = values[0][:, :, rows].reshape(*shape, len(along), observable.rows, 3)
        moments = moments if inner else moments[..., 0, :]
        count, mean, squares = moments[..., 0], moments[..., 1], moments[..., 2]
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = squares / (count - 1)
            parts = {"": np.where(count > 0, mean, np.nan), "_var": variance, "_stderr": np.sqrt(variance / count)}
        for suffix, part in parts.items():
            variables[observable.name + suffix] = ((*dims, clock, *inner), part, {} if suffix else about)
        alone = len(plan.program.observables) == 1
        finite = (count[..., 0] if inner else count).astype(np.int64)
        variables["n_finite" if alone else f"{observable.name}_n_finite"] = ((*dims, clock), finite)
    divergence[~np.isfinite(divergence)] = -1.0
    steps = divergence.astype(np.int64)
    if plan.keep_diverged_at:
        variables["diverged_at"] = ((*dims, "path"), steps.reshape(*shape, n_paths))
        return xr.Dataset(variables, coords, {**attributes, "n_diverged": int((steps >= 0).sum())})
    variables["n_diverged"] = (dims, steps[:, 0].reshape(shape))
    variables["first_diverged_at"] = (dims, steps[:, 1].reshape(shape))
    return xr.Dataset(variables, coords, {**attributes, "n_diverged": int(steps[:, 0].sum())})
