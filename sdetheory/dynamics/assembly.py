"""Assembling the program of an update rule: calls of kernels, the names they bind, what is observed.

An `Assembly` collects, while the statements of a step are written, the block functions they name and the constants that
these take, and hands all of it to the engine as a `Program`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine import BlockFunction, Noise, Observable, Program, block_function

__all__ = ["Assembly", "direction_block", "sq_norm_block"]


@block_function
def sq_norm_block(W, out):
    """out = ‖w‖²."""
    d, lanes = W.shape
    for lane in range(lanes):
        out[lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            out[lane] += W[i, lane] * W[i, lane]


@block_function
def direction_block(W, out):
    """out = w / ‖w‖."""
    d, lanes = W.shape
    for i in range(1, d):
        for lane in range(lanes):
            out[i, lane] = 0.0
    sq_norm_block(W, out[0])
    for lane in range(lanes):
        out[0, lane] = 1.0 / np.sqrt(out[0, lane])
    for i in range(d - 1, -1, -1):
        for lane in range(lanes):
            out[i, lane] = W[i, lane] * out[0, lane]


class Assembly:
    """The program under construction of a rule on `loss`, whose first d rows of the block are the weights."""

    def __init__(self, loss: Any, hyperparameters: Sequence[str], swept: Sequence[str]) -> None:
        self.loss, self.dim = loss, int(loss.dim)
        self.functions: dict[str, Any] = {}
        self.constants: dict[str, Any] = {}
        self.scratch = 0
        self.known = self._observables_of_weights()
        self.fixed_lanes = False
        self._sizes: dict[str, Any] = {"hyperparameters": len(hyperparameters), "swept": len(swept)}
        self._hyper = [f"{name} = P[{list(swept).index(name)}]" if name in swept else f"{name} = T[k, {column}]"
                       for column, name in enumerate(hyperparameters)]

    def hyperparameters_at(self, step: str) -> list[str]:
        """Statements that bind the hyperparameters of a step: a number, or one value a lane where it is swept."""
        return [f"k = min({step}, T.shape[0] - 1)", *self._hyper]

    @property
    def weights(self) -> str:
        """The rows of the block that hold w."""
        return f"X[:{self.dim}]"

    def call(self, name: str, kernel: BlockFunction | Any, *arguments: str) -> str:
        """The text of a call; a `BlockFunction` brings its constants, and scratch from row `2 dim` on."""
        if not isinstance(kernel, BlockFunction):
            self.functions[name] = kernel
            return f"{name}({', '.join(arguments)})"
        names = [f"{name}_{i}" for i in range(len(kernel.constants))]
        self.functions[name] = kernel.function
        self.constants.update(zip(names, kernel.constants, strict=True))
        self.scratch = max(self.scratch, kernel.scratch)
        self.fixed_lanes = self.fixed_lanes or kernel.fixed_lanes
        return f"{name}({', '.join([*arguments, f'S[{2 * self.dim}:]', *names])})"

    def gradient_noise(self) -> Noise:
        """The random numbers that one stochastic gradient takes."""
        noise = self.loss.noise
        return Noise("normal", 0) if noise is None else Noise(noise.kind, noise.components(self.dim))

    def stochastic_gradient(self, draw: str, into: str) -> list[str]:
        """Statements that write ∇L(w) + ξ into the rows `into`, from draw number `draw` of the noise buffer Z."""
        noise, m = self.loss.noise, self.gradient_noise().rows
        rows = f"Z[({draw}) * {m}:({draw}) * {m} + {m}]"
        if getattr(self.loss, "stochastic_gradient_kernel", None) is not None:
            return [self.call("stochastic_gradient", self.loss.stochastic_gradient_kernel, self.weights, rows, into)]
        lines = [self.call("gradient", self.loss.gradient_kernel, self.weights, into)]
        return lines if noise is None else [*lines, self.call("add_noise", noise.kernel, self.weights, rows, into)]

    def noise_trace(self, weights: str, row: str) -> list[str]:
        """Statements that bind `trace`, Tr Σ at unit norm: a number where it is constant, else the scratch row `row`."""
        kernel = getattr(self.loss.noise, "trace_kernel", None)
        if kernel is None:
            self.constants["constant_trace"] = float(self.loss.noise_trace)
            return ["trace = constant_trace"]
        return [f"trace = {row}", self.call("noise_trace", kernel, weights, "trace")]

    def program(self, rows: int, noise: Sequence[Noise], statements: Sequence[str], observe: Any,
                spare: int = 0) -> Program:
        """The program whose step is `statements`, on a block of `rows` rows; `spare` is scratch beyond the kernels'."""
        observables = self._observables(observe)
        body = [*self.hyperparameters_at("step + j"), *statements]
        live = rows + self.dim + sum(n.rows for n in noise)
        lanes = int(np.clip(2 ** int(np.log2(65536 / live)), 64, 512))
        loop = "\n".join(["for j in range(n_steps):", *("    " + s for s in body)])
        return Program(rows=rows, noise=tuple(noise), advance=loop,
                       observables=observables, functions=self.functions, constants=self.constants,
                       scratch=2 * self.dim + self.scratch + spare, lanes=lanes, fixed_lanes=self.fixed_lanes, **self._sizes)

    def _observables(self, observe: Any) -> tuple[Observable, ...]:
        wanted = ["w"] if observe is None else [observe] if isinstance(observe, str) else observe
        named = wanted if isinstance(wanted, Mapping) else {o: o for o in wanted}
        result = []
        for name, what in named.items():
            if callable(what):
                result.append(self._of_function(name, what))
            elif what in self.known:
                rows, lines = self.known[what]()
                result.append(Observable(name, rows, "\n".join(lines), "state" if what in ("w", "direction") else None))
            else:
                near = difflib.get_close_matches(str(what), self.known, n=1)
                raise ValueError(f"observe: expected {', '.join(self.known)}, or a mapping of name to function of w, "
                                 f"got {what!r}"
                                 + (f"; did you mean {near[0]!r}?" if near else ""))
        return tuple(result)

    def _observables_of_weights(self) -> dict[str, Callable[[], tuple[int, list[str]]]]:
        d, w, here = self.dim, self.weights, "OUT[{row}]"
        grad = f"S[:{d}]"

        def effective_lr() -> tuple[int, list[str]]:
            lines = [*self.hyperparameters_at("step"), self.call("sq_norm", sq_norm_block, w, here)]
            return 1, [*lines, "for lane in range(lanes):", "    OUT[{row}, lane] = per_lane(lr, lane) / OUT[{row}, lane]"]

        return {
            "w": lambda: (d, [f"copy_rows({w}, OUT)"]),
            "direction": lambda: (d, [self.call("direction", direction_block, w, "OUT")]),
            "sq_norm": lambda: (1, [self.call("sq_norm", sq_norm_block, w, here)]),
            "effective_lr": effective_lr,
            "loss": lambda: (1, [self.call("value", self.loss.value_kernel, w, here)]),
            "sq_grad": lambda: (1, [self.call("exact_gradient", self.loss.gradient_kernel, w, grad),
                                    self.call("sq_norm", sq_norm_block, grad, here)]),
        }

    def _of_function(self, name: str, function: Any) -> Observable:
        """A function of the weights (d,), compiled, called once a path at every save."""
        call = self.call(f"observe_{name}", function, "weights")
        return Observable(name, 1, "\n".join([
            f"weights = np.empty({self.dim})", "for lane in range(lanes):", f"    for i in range({self.dim}):",
            "        weights[i] = X[i, lane]", f"    OUT[{{row}}, lane] = {call}"]))
