"""From an ensemble's numbers to an xarray Dataset, and how much memory that takes, said before the work begins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .plan import Plan
from .program import Observable

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["check_memory", "dataset", "refuse_collisions"]

#: names that a result has itself
_OWN = ("path", "step", "time", "state", "diverged_at", "n_finite")


def check_memory(plan: Plan, workers: int, limit: float | None) -> None:
    """Refuse a result that cannot fit into `limit` bytes (80 % of the available memory unless told), with a way out."""
    saves, width = plan.save_steps.size, plan.program.width
    per_save = plan.n_paths if plan.keep_paths else 3 * plan.n_blocks
    noise = sum(n.rows for n in plan.program.noise) * plan.substeps * 8
    need = 8.0 * (2.2 * saves * width * per_save + workers * plan.program.lanes * (saves * width + noise))
    if limit is None:
        try:
            limit = 0.8 * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError, AttributeError):
            return
    if need > limit:
        way = "use keep_paths=False, a larger save_every, or fewer observables" if plan.keep_paths else \
            "use a larger save_every or fewer observables"
        raise MemoryError(f"simulate: the result needs about {need / 2**30:.2f} GiB ({plan.n_paths} paths x {saves} saves x "
                          f"{width} numbers), {limit / 2**30:.2f} GiB may be used; {way}")


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


def dataset(plan: Plan, values: tuple[NDArray[np.float64], ...], diverged: NDArray, grid: dict[str, NDArray], n_paths: int, clock: str,
            along: NDArray, attributes: dict[str, Any]) -> xr.Dataset:
    """Variables with dims (sweep…, path, step or time[, state]), or their moments; `along` are the saves on the clock."""
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
    steps = np.where(np.isfinite(diverged), diverged, -1).astype(np.int64)
    variables["diverged_at"] = ((*dims, "path"), steps.reshape(*shape, n_paths))
    return xr.Dataset(variables, coords, {**attributes, "n_diverged": int((steps >= 0).sum())})

