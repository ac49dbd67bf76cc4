r"""A step of an update rule while it is written: the gradient and its noise, beside the names of `engine.step`.

.. math:: g = \nabla L(w) + \xi(w), \qquad w = \text{the first block of the state}
"""

from __future__ import annotations

from typing import Any

from ..engine import BlockFunction, Name, Observer, Rows, Step, Writer

__all__ = ["RuleObserver", "RuleStep"]


class _OnLoss(Writer):
    """Writes about the weights of `loss`."""

    def __init__(self, loss: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.loss = loss

    def block(self) -> Rows:
        """Scratch of the shape of the weights."""
        return self.scratch(self.loss.dim)

    def gradient(self, at: Name, into: Name) -> None:
        """into ← ∇L(at)."""
        self.call(self.loss.gradient_kernel, at, into)


class RuleStep(_OnLoss, Step):
    """Writes one step of a rule on `loss`: `RuleStep(loss, state, hyperparameters, swept)`."""

    def draw_noise(self) -> Rows:
        """The random numbers of one stochastic gradient."""
        noise = self.loss.noise
        return self.draw(noise.kind, noise.components(self.loss.dim))

    def add_noise(self, at: Name, into: Name) -> None:
        """into ← into + ξ(at), with random numbers of its own; nothing where the loss has no noise."""
        if self.loss.noise is not None:
            self.call(self.loss.noise.kernel, at, self.draw_noise(), into)

    def stochastic_gradient(self) -> Rows:
        """∇L(w) + ξ in fresh scratch, with random numbers of its own."""
        into, kernel = self.block(), self.minibatch_gradient
        if kernel is not None:
            self.call(kernel, self.w, self.draw_noise(), into)
        else:
            self.gradient(self.w, into)
            self.add_noise(self.w, into)
        return into

    @property
    def minibatch_gradient(self) -> BlockFunction | None:
        """The loss's own kernel of the gradient of drawn samples; None where its noise is added to the exact one."""
        return self.loss.stochastic_gradient_kernel

    def noise_trace(self, at: Name) -> Name:
        """Tr Σ at unit norm: a constant where it is one, else a row of scratch."""
        kernel = None if self.loss.noise is None else self.loss.noise.trace_kernel
        if kernel is None:
            return self.constant(float(self.loss.noise_trace))
        row = self.scratch_row()
        self.call(kernel, at, row)
        return row


class RuleObserver(_OnLoss, Observer):
    """Writes an observable of a rule on `loss`: `RuleObserver(loss, state, hyperparameters, swept, rows=…, dim=…)`."""
