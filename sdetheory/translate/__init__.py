"""Weight decay ⇄ exponential learning rate: translations of a run of SGD that change no function it gives (EXP-4 … EXP-9).

| question | function |
|---|---|
| weight decay away, any schedules | `remove_weight_decay(lr, weight_decay, momentum, n_steps=…)` |
| the same by the roots of each phase (TEXP) | `tapered(...)`; plain TEXP: `.without_corrections()` |
| weight decay back, any schedules | `restore_weight_decay(decay_free_lr, lr, momentum, n_steps=…)` |
| … of an exponential schedule, constant | `weight_decay_of_exponential(lr, growth, momentum)` |
| is it so, on my losses, in floats? | `certificate(translation, losses, w0)` |
"""

from .certificate import Certificate, certificate, run
from .inverse import ConstantPair, restore_weight_decay, weight_decay_of_exponential
from .recursion import remove_weight_decay, tapered
from .scaling import Rescaling
from .translation import Translation

__all__ = ["Certificate", "ConstantPair", "Rescaling", "Translation", "certificate", "remove_weight_decay",
           "restore_weight_decay", "run", "tapered", "weight_decay_of_exponential"]
