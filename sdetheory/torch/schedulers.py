r"""A translated run of SGD, played in torch: learning rates without weight decay, and the buffer and rescaling steps they need.

Before step k the run without decay is at :math:`\tilde w_k = P_k w_k`, :math:`\tilde v_k = (v_k + \beta_k w_k)/P_k` (EXP-6),
v being torch's momentum buffer. Where P would leave the range of the weights' format, weights and buffer are rescaled by a
power of two, :math:`(w, v, \eta) \to (c w, v/c, c^2\eta)`, which rounds nothing (EXP-3): in float32 every factor 2^16 or so.

Parameters that are not scale-invariant keep their own learning rate and decay: L is invariant in the others with these held,
so nothing changes for them.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..translate import Translation
from .optimizers import SVAG

__all__ = ["TranslatedLR"]

_FORMATS = {torch.float64: "float64", torch.float32: "float32"}


class TranslatedLR(LRScheduler):
    """Play one side of a `sdetheory.translate.Translation`; call `step()` after each `optimizer.step()`.

    It takes over lr, weight_decay and momentum of every group, and what has to be done to weights and buffers.

    Parameters
    ----------
    optimizer : torch.optim.SGD, without dampening, nesterov or maximize. Each of its groups says whether its parameters are
        scale-invariant, `{"params": …, "scale_invariant": True}`, as `InvarianceReport.parameter_groups` writes it; groups
        that are not play the schedule with decay. Or SVAG around such a one, and a translation of its small steps, momentum 0:
        `remove_weight_decay(small_steps(lr, l), weight_decay, n_steps=l * n)` for n steps of SGD.
    translation : of as many steps as will be made. It is fitted to the format of the weights, float64 or float32.
    decay_free : False plays the run with decay in all groups, to compare with.

    `state_dict` holds the step and a fingerprint of the translation. To resume, make model, optimizer and scheduler anew, in
    this order, and then load the three states: making the scheduler prepares step 0.

    After the last step lr is 0; one step more is refused.

    >>> from sdetheory.translate import remove_weight_decay
    >>> w = torch.nn.Parameter(torch.ones(2))
    >>> optimizer = SGD([{"params": [w], "scale_invariant": True}], lr=1.0)
    >>> scheduler = TranslatedLR(optimizer, remove_weight_decay(0.5, 1.0, n_steps=3))
    >>> for _ in range(3):
    ...     print(scheduler.get_last_lr())
    ...     optimizer.step(); scheduler.step()
    [1.0]
    [4.0]
    [16.0]
    """

    #: stepped after each step of SVAG, not after l of them
    every_step = True

    def __init__(self, optimizer: SGD | SVAG, translation: Translation, *, decay_free: bool = True) -> None:
        if not isinstance(optimizer, SGD | SVAG):
            raise TypeError("optimizer: expected torch.optim.SGD, whose updates EXP-6 is about, or SVAG around it, "
                            f"got {type(optimizer).__name__}")
        if not isinstance(translation, Translation):
            raise TypeError(f"translation: expected a Translation, got {type(translation).__name__}; "
                            "sdetheory.translate.remove_weight_decay makes one")
        self._translated = [self._checked(i, group, decay_free) for i, group in enumerate(optimizer.param_groups)]
        if decay_free and not any(self._translated):
            raise ValueError("optimizer: expected a group with scale_invariant=True, got none; a schedule without decay "
                             "stands for one with decay on scale-invariant weights only")
        moving = translation.momentum > 0
        if moving.any() and not moving.all():
            raise ValueError(f"translation: expected momentum 0 at every step or at none, got 0 first at step "
                             f"{int(np.argmin(moving))}; torch's SGD keeps no buffer over a step without momentum")
        if moving.any() and isinstance(optimizer, SVAG):
            raise ValueError(f"translation: expected momentum 0 for SVAG, got {translation.momentum.max():g}; the limit of SVAG "
                             "is the SDE of SGD without momentum")
        self.decay_free, self._has_buffers = decay_free, bool(moving.any())
        self._amplification = getattr(optimizer, "amplification", 1)  # by which SVAG divides lr
        self.translation = translation.rescaled(self._format(optimizer)) if decay_free else translation
        self._rescale = dict(self.translation.rescalings) if decay_free else {}
        self._correct = dict(self.translation.corrections) if decay_free else {}
        super().__init__(optimizer)

    @staticmethod
    def _checked(i: int, group: dict[str, Any], decay_free: bool) -> bool:
        name = f"param group {group.get('name', i)!r}"
        for key in ("dampening", "nesterov", "maximize"):
            if group.get(key):
                raise ValueError(f"{name}: expected {key} off, got {group[key]!r}; "
                                 "EXP-6 is about v <- mu v + g, w <- w - lr v")
        if not decay_free:
            return False
        if not isinstance(group.get("scale_invariant"), bool):
            raise ValueError(f"{name}: expected scale_invariant=True or False in it, got {group.get('scale_invariant')!r}; "
                             "take the groups from scale_invariance(model, …).parameter_groups(model)")
        return group["scale_invariant"]

    def _format(self, optimizer: Optimizer) -> str:
        found = {p.dtype for p in self._scaled(optimizer)}
        if unknown := found - set(_FORMATS):
            raise TypeError(f"optimizer: expected weights in float64 or float32, got {unknown.pop()}; keep weights in "
                            "float32 and let autocast narrow the rest")
        return "float32" if torch.float32 in found else "float64"

    def _scaled(self, optimizer: Optimizer) -> list[torch.Tensor]:
        both = zip(optimizer.param_groups, self._translated, strict=True)
        return [p for group, mine in both if mine for p in group["params"]]

    def _at(self, k: int, translated: bool) -> dict[str, float]:
        """What torch is to use at step k."""
        t = self.translation
        if k == t.n_steps:
            return {"lr": 0.0}
        lr = self._amplification * float((t.decay_free_lr if translated else t.lr)[k])
        return {"lr": lr, "momentum": float(t.momentum[k]),
                "weight_decay": 0.0 if translated else float(t.weight_decay[k])}

    def get_lr(self) -> list[Any]:
        """Learning rates of the groups at the present step."""
        return [self._at(self.last_epoch, mine)["lr"] for mine in self._translated]

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next step, and make weights and buffers ready for it."""
        if epoch is not None:
            raise ValueError(f"epoch: expected none, got {epoch!r}; the state of the weights is that of one step after another")
        if self.last_epoch >= self.translation.n_steps:
            raise ValueError(f"step: expected {self.translation.n_steps} steps, as the translation has, got one more; "
                             "translate more steps")
        super().step()
        self._set_groups()
        self._prepare(self.last_epoch)

    def _set_groups(self) -> None:
        for group, mine in zip(self.optimizer.param_groups, self._translated, strict=True):
            group.update({key: value for key, value in self._at(self.last_epoch, mine).items() if key != "lr"})

    @torch.no_grad()
    def _prepare(self, k: int) -> None:
        """The order of `translate.run`: first the rescaling of step k, then its correction."""
        start = float(self.translation.tilt[0]) - self._correct.get(0, 0.0) if k == 0 and self.decay_free else 0.0
        factor, tilt = self._rescale.get(k, 1.0), self._correct.get(k, 0.0) + start
        if factor == 1.0 and (tilt == 0.0 or not self._has_buffers):
            return
        for p in self._scaled(self.optimizer):
            state = self.optimizer.state[p]
            if factor != 1.0:
                p.mul_(factor)
                if state.get("momentum_buffer") is not None:
                    state["momentum_buffer"].div_(factor)
            if tilt != 0.0 and self._has_buffers:
                if state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = torch.zeros_like(p)
                state["momentum_buffer"].add_(p, alpha=tilt)

    @property
    def scale(self) -> float:
        """P_k at the present step, rescalings included: the run with decay is at w = w̃/P_k; 1 for the run with decay."""
        return float(self.translation.scale[self.last_epoch]) if self.decay_free else 1.0

    def _fingerprint(self) -> str:
        t, found = self.translation, hashlib.blake2b(digest_size=16)
        for table in (t.lr, t.weight_decay, t.momentum, t.decay_free_lr, t.tilt):
            found.update(np.ascontiguousarray(table).tobytes())
        return found.hexdigest()

    def state_dict(self) -> dict[str, Any]:
        """The step, and what is played, as plain values."""
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count, "_last_lr": list(self._last_lr),
                "decay_free": self.decay_free, "translation": self._fingerprint()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved step of the same translation; weights and buffers are in the other two states."""
        if (state_dict["translation"], state_dict["decay_free"]) != (self._fingerprint(), self.decay_free):
            raise ValueError("state_dict: expected a state of the same translation, in the same format and on the same side, "
                             "got one of another; translate the same schedules over the same number of steps")
        self.last_epoch, self._step_count = state_dict["last_epoch"], state_dict["_step_count"]
        self._last_lr = list(state_dict["_last_lr"])
        self._set_groups()
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr
