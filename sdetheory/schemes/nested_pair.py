r"""Two step sizes on one Brownian path, advanced together: what multilevel Monte Carlo takes differences of.

.. math:: Y^f_{n+1} = \Phi(\Phi(Y^f_n, h/2; \Delta_1), h/2; \Delta_2), \qquad Y^c_{n+1} = \Phi(Y^c_n, h; \Delta_1 + \Delta_2)

One step of the program is one coarse step h; its noise rows are Δ₁ then Δ₂, each of variance h/2; what it saves is
f(Y^f) − f(Y^c).
"""

from __future__ import annotations

from typing import Any

from ..callable_sde import CallableSDE
from ..engine import Program
from ..engine.lane_program import nested_pair_program
from ..sde import SDE
from .process import SDEProcess
from .scheme import Scheme

__all__ = ["nested_pair"]


def nested_pair(sde: SDE | CallableSDE, scheme: Scheme, functional: Any) -> Program:
    """The program of the pair, with the one observable `difference`; it starts from the fine state above the coarse one.

    Raises
    ------
    ValueError
        For a scheme whose increments are not sums over a finer grid.
    """
    process = SDEProcess(sde, scheme)
    rows = {role: count for role, count in scheme.increments_shape(sde).items() if count}
    if set(rows) - {"dW"} or any(i.kind != "normal" for i in scheme.noise if i.role in rows):
        raise ValueError(f"scheme: expected one whose increments are Brownian, to nest them, got {scheme.name!r} with "
                         f"{', '.join(rows)}; use 'milstein' where the noise commutes, else 'euler_maruyama'")
    return nested_pair_program(process.step_code(()), process.value_code(functional), sde.dim, sde.noise_dim)
