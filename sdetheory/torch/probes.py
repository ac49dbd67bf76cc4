r"""What the theory speaks of, measured along a run of torch: every k steps, for the whole net and each scale-invariant group.

G = ‖∇L‖² and N = Tr Σ are estimated by `gradient_moments` from M minibatches at the same weights, without bias. A
scale-invariant group has :math:`S = (G+N)\|w\|^2` at unit norm (ILR-1), and with weight decay it tends to the norm of
ILR-9 (of ILR-6 without momentum), on the clock of ILR-4 with lr/(1 − momentum) for lr; both as long as S stays as it is.
A step of SVAG(l) has lr/l for lr and G + lN for G + N, which makes SVAG-5 of ILR-6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from .. import __version__
from ..theory.intrinsic_lr import momentum_angle, momentum_equilibrium_sq_norm, time_to_equilibrium
from ..validation import integer, number
from .data import Minibatches
from .gradient_moments import gradient_moments, undisturbed
from .invariance import InvarianceReport
from .live import in_sight

__all__ = ["QUANTITIES", "Probe"]

#: name -> what it is; each has dims (step, group)
QUANTITIES = {
    "norm": "‖w‖", "lr": "learning rate", "weight_decay": "weight decay", "momentum": "momentum",
    "effective_lr": "effective learning rate lr/‖w‖²", "intrinsic_lr": "intrinsic learning rate lr · weight decay",
    "angular_update": "angle between the weights before and after the step, radians",
    "sq_grad": "G = ‖∇L‖², unbiased", "noise_trace": "N = Tr Σ, unbiased",
    "equilibrium_norm": "‖w‖ to come (ILR-9) if (G+N)‖w‖² stays", "equilibrium_angle": "angle of a step there (ILR-9)",
    "time_to_equilibrium": "steps of the optimizer to it (ILR-4)",
}


class Probe:
    """Records along a run; attaches itself to the optimizer, so the training loop does not change.

    Parameters
    ----------
    model, loss : as in `scale_invariance`.
    optimizer : its steps are counted; the record of step k is of the weights before it, and of the angle it makes. With SVAG it
        may be the wrapper or the SGD inside; lr, and what is made of it, is that of SGD, angles and steps are of SVAG.
    batches : minibatches of the batch size trained with, from an `rng` of their own.
    groups : the report of `scale_invariance`; or name -> names of parameters, each group scale-invariant by your word; or
        None, and there are no predictions.
    every : steps between records.
    n_minibatches : M >= 2 for G and N.
    tolerance : of γ = ‖w‖⁴/lr² to its equilibrium, relatively, for `time_to_equilibrium`.
    measure : name -> function without arguments, one number a record (a sharpness, a test accuracy).
    live : keep the last record in sight, as a table in a notebook, as lines on stderr elsewhere.

    Use it in a `with`, or call `remove()` at the end; `dataset()` at any time. `diverged_at` is the first recorded step with
    a loss that is not finite, or None.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[..., Tensor], batches: Minibatches, *,
                 groups: InvarianceReport | Mapping[str, Sequence[str]] | None = None, every: int = 10, n_minibatches: int = 4,
                 tolerance: float = 0.01, measure: Mapping[str, Callable[[], float]] | None = None, live: bool = False) -> None:
        self.model, self.optimizer, self.loss, self.batches = model, optimizer, loss, batches
        self.every = integer("every", every, at_least=1)
        self.n_minibatches = integer("n_minibatches", n_minibatches, at_least=2,
                                     remedy="one minibatch can't tell signal from noise")
        self.tolerance = number("tolerance", tolerance, above=0, below=1)
        self.measure = dict(measure or {})
        taken = [name for name in self.measure if name in (*QUANTITIES, "loss", "step", "group", "scale_invariant")]
        if taken:
            raise ValueError(f"measure: expected names that the probe has not itself, got {', '.join(map(repr, taken))}; call it e.g. "
                             f"'my_{taken[0]}'")
        self._groups, self._invariant = self._resolve(groups)
        self.n_steps, self.diverged_at = 0, None  # type: int, int | None
        self._steps: list[int] = []
        self._rows: list[dict[str, list[float]]] = []
        self._scalars: list[dict[str, float]] = []
        self._before: dict[str, Tensor] | None = None
        self._hooks = [optimizer.register_step_pre_hook(self._pre), optimizer.register_step_post_hook(self._post)]
        self._refresh = in_sight(self) if live else None

    def _resolve(self, groups: Any) -> tuple[dict[str, list[Tensor]], dict[str, bool]]:
        known = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if not known:
            raise ValueError("model: expected trained parameters, got none with requires_grad")
        chosen: dict[str, Sequence[str]]
        if isinstance(groups, InvarianceReport):
            chosen, whole = {test.label: test.names for test in groups.groups}, groups.whole.invariant
        else:
            chosen = {} if groups is None else dict(groups)
            whole = {n for names in chosen.values() for n in names} >= set(known)
        for name, names in chosen.items():
            if name == "whole" or not names or any(n not in known for n in names):
                raise ValueError("groups: expected names of trained parameters under a name other than 'whole', got "
                                 f"{name!r}: {list(names)}; the model has {', '.join(known)}")
        found = {"whole": list(known.values()), **{name: [known[n] for n in names] for name, names in chosen.items()}}
        return found, {name: whole if name == "whole" else True for name in found}

    def _flat(self, name: str) -> Tensor:
        return torch.cat([p.detach().double().flatten() for p in self._groups[name]])

    def _pre(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self.n_steps % self.every == 0:
            self._before = {name: self._flat(name) for name in self._groups}
            self._record(self._before)

    def _post(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._before is not None:
            for i, (name, before) in enumerate(self._before.items()):
                after = self._flat(name)
                chord = torch.linalg.vector_norm(before / before.norm() - after / after.norm())
                self._rows[-1]["angular_update"][i] = float(2 * torch.asin(torch.clamp(chord / 2, max=1)))
            self._before = None
        self.n_steps += 1

    def _hyperparameters(self, name: str) -> tuple[float, float, float]:
        """(lr, weight_decay, momentum) of a group; nan where its parameters have different ones."""
        mine = {id(p) for p in self._groups[name]}
        # while SVAG steps the optimizer inside, lr there is lr/l
        found = {(float(group["lr"]) * group.get("amplification", 1), *(float(group.get(k, 0.0)) for k in ("weight_decay", "momentum")))
                 for group in self.optimizer.param_groups if any(id(p) in mine for p in group["params"])}
        return found.pop() if len(found) == 1 else (np.nan, np.nan, np.nan)  # type: ignore[return-value]

    @property
    def amplification(self) -> int:
        """l of SVAG, 1 for any other optimizer."""
        inside = self.optimizer.param_groups[0].get("amplification")
        return getattr(self.optimizer, "amplification", 1) if inside is None else inside

    def _record(self, weights: Mapping[str, Tensor]) -> None:
        first = len(self._steps) * self.n_minibatches
        value, moments = gradient_moments(self.model, self.loss, [self.batches[first + j] for j in range(self.n_minibatches)],
                                          self._groups)
        if self.diverged_at is None and not np.isfinite(value):
            self.diverged_at = self.n_steps
        row: dict[str, list[float]] = {key: [] for key in QUANTITIES}
        for name, w in weights.items():
            lr, decay, momentum = self._hyperparameters(name)
            norm = float(w.norm())
            signal, noise = moments[name]
            values = {"norm": norm, "lr": lr, "weight_decay": decay, "momentum": momentum, "angular_update": np.nan,
                      "effective_lr": lr / norm**2 if norm else np.nan, "intrinsic_lr": lr * decay,
                      "sq_grad": signal, "noise_trace": noise,
                      **self._prediction(name, lr / self.amplification, decay, momentum, norm**2,
                                         (signal + self.amplification * noise) * norm**2)}
            for key, number_ in values.items():
                row[key].append(number_)
        self._steps.append(self.n_steps)
        self._rows.append(row)
        with undisturbed(self.model):
            self._scalars.append({"loss": value, **{key: float(f()) for key, f in self.measure.items()}})
        if self._refresh is not None:
            self._refresh()

    def _prediction(self, name: str, lr: float, decay: float, momentum: float, sq_norm: float,
                    at_unit: float) -> dict[str, float]:
        keys = ("equilibrium_norm", "equilibrium_angle", "time_to_equilibrium")
        usable = (self._invariant[name] and lr * decay > 0 and momentum < 1 and lr * decay < 2 * (1 + momentum)
                  and sq_norm > 0 and np.isfinite(at_unit) and at_unit > 0)
        if not usable:
            return dict.fromkeys(keys, np.nan)
        given = dict(lr=lr, weight_decay=decay, momentum=momentum)
        carried = lr / (1 - momentum)
        return {"equilibrium_norm": float(momentum_equilibrium_sq_norm(**given, sq_gradient=at_unit)) ** 0.5,
                "equilibrium_angle": float(momentum_angle(**given)),
                "time_to_equilibrium": float(time_to_equilibrium(gamma0=sq_norm**2 / carried**2, intrinsic_lr=carried * decay,
                                                                 noise_trace=at_unit, tolerance=self.tolerance))}

    def dataset(self) -> xr.Dataset:
        """All records so far: each of `QUANTITIES` with dims (step, group), the loss and your measures with dim step."""
        found: dict[str, Any] = {}
        for key, meaning in QUANTITIES.items():
            table = np.array([row[key] for row in self._rows], dtype=np.float64).reshape(len(self._rows), len(self._groups))
            found[key] = (("step", "group"), table, {"long_name": meaning})
        for key in ("loss", *self.measure):
            found[key] = ("step", np.array([row[key] for row in self._scalars], dtype=np.float64))
        attrs = {"n_minibatches": self.n_minibatches, "batch_size": self.batches.batch_size, "tolerance": self.tolerance,
                 "seed": str(self.batches.seed.entropy), "diverged_at": -1 if self.diverged_at is None else self.diverged_at,
                 "clock": "step", "optimizer": type(self.optimizer).__name__, "torch": str(torch.__version__),
                 "sdetheory": __version__}
        return xr.Dataset(found, {"step": self._steps, "group": list(self._groups),
                                  "scale_invariant": ("group", list(self._invariant.values()))}, attrs)

    def remove(self) -> None:
        """Stop recording; what was recorded stays."""
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        last = f", last at step {self._steps[-1]}: loss {self._scalars[-1]['loss']:.4g}" if self._steps else ""
        lost = "" if self.diverged_at is None else f", diverged at step {self.diverged_at}"
        return f"<Probe of {len(self._groups)} group(s), {len(self._steps)} record(s) every {self.every} steps{last}{lost}>"

    def _repr_html_(self) -> str:
        if not self._steps:
            return f"<code>{escape(repr(self))}</code>"
        last = self.dataset().isel(step=-1).drop_vars(["loss", *self.measure])
        return f"<p>step {self._steps[-1]}, loss {self._scalars[-1]['loss']:.4g}</p>{last.to_dataframe()._repr_html_()}"
