"""Schedules of learning rate, weight decay and momentum: functions of the step, composable, evaluated on arrays.

| schedule | value at step k |
|---|---|
| `Constant(value)` | value |
| `StepDecay(initial, milestones, factor)` | initial · factor^(milestones up to k) |
| `Cosine(initial, n_steps, final)` | half a cosine, then final |
| `Triangular(low, high, period)` | cyclic, linear up and down |
| `WarmUp(n_steps, start)` | a factor that rises to 1: `WarmUp(500) * Cosine(...)` |
| `Exponential(initial, growth)` | initial · growth^k |
| `TEXP(decay, weight_decay, momentum)` | what stands for a step decay with weight decay (EXP-9) |
| `Piecewise(pieces, starts)`, `a.then(b, at)` | one after the other |
| `FromArray(array)`, `FromCallable(function)` | yours |
| `a * b`, `0.5 * a`, `a.clip(low, high)` | composed |
"""

from .schedule import Clipped, Constant, FromArray, FromCallable, Piecewise, Product, Schedule, as_schedule
from .standard import Cosine, Exponential, StepDecay, Triangular, WarmUp
from .texp import TEXP, BufferCorrection, one_minus_larger_root

__all__ = ["TEXP", "BufferCorrection", "Clipped", "Constant", "Cosine", "Exponential", "FromArray", "FromCallable",
           "Piecewise", "Product", "Schedule", "StepDecay", "Triangular", "WarmUp", "as_schedule",
           "one_minus_larger_root"]
