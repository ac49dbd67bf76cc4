r"""EXP-14: in gradient flow an exponential learning rate is a clock, and weight decay too; steps of finite length
change that.

.. math:: s = \eta\,\frac{e^{gt}-1}{g}: \qquad \dot w = -\eta e^{gt}\nabla L(w) \text{ and, at } g = 2\eta\lambda,\
          \dot W = -\eta(\nabla L(W)+\lambda W) \text{ both have } L(\omega(s)),\ \ \omega' = -\nabla L(\omega).

Descent in n steps with a growth of e^Γ in all (η = S(e^{Γ/n} − 1)/(e^Γ − 1): every run ends at flow time S) parts
from flow by 1/n, and not as the constant rate does: with η and g of order 1/n

.. math:: \|w\|^2 - \|w_0\|^2 = \eta\,(L_0-L_S) + g\int_0^S(L-L_S)\,ds, \qquad
          \Delta\ln\frac{w_a}{w_b} = (a-b)\Bigl[\eta SL_0 + (\eta+gS)\int_0^SL\,ds\Bigr]
          - \frac{a^2-b^2}{2}\Bigl(\eta S+\frac{gS^2}{2}\Bigr),

the first for every scale-invariant loss, the second for the Rayleigh quotient of eigenvalues a, on whose flow from
unit norm :math:`\omega_a\propto e^{-as}w_a` and :math:`\int L\,ds = -\frac14\ln\sum_aw_a^2e^{-2as}`. Full batch.
Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Exact, Quantity, Relative
from sdetheory.schedules import Exponential
from sdetheory.sphere import normalise
from sdetheory.theory.exp_lr.gradient_flow import (
    flow_growth_rate,
    flow_time,
    log_ratio_shift_of_steps,
    norm_growth_of_steps,
)

EIGENVALUES = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
A, B = 4, 1  # the components whose ratio is followed
LOSS = sdt.losses.RayleighQuotient(EIGENVALUES)
START = normalise(np.array([0.3, 0.5, 0.6, 0.7, 0.8]))
SPAN = 1.5  # S
TOTALS = (1.0, 2.0, 3.0)  # Γ: the rate grows by up to e^3 = 20
# η e^Γ times the largest eigenvalue is at most 9.5/n, so the terms of second order, extrapolated once, are of order
# 1e-3 of the first at 400 steps and fall by four with each doubling: the last one is measured with a bound of some
# 1e-4.
STEPS = (400, 800, 1600)


def loss_of_flow(s):
    """L(ω(s))."""
    share = START**2 * np.exp(-2 * EIGENVALUES * np.asarray(s)[..., None])
    return 0.5 * (share * EIGENVALUES).sum(-1) / share.sum(-1)


L0, END = loss_of_flow(0.0), loss_of_flow(SPAN)
INTEGRAL = -0.25 * np.log((START**2 * np.exp(-2 * EIGENVALUES * SPAN)).sum())
TOTAL = np.array(TOTALS)
RATE = SPAN / flow_time(t=1.0, lr=1.0, growth_rate=TOTAL)  # ηn; gn is TOTAL


def growth_and_shift(rate, growth):
    """n times both effects; `rate` is ηn and `growth` gn."""
    return (norm_growth_of_steps(lr=rate, growth_rate=growth, loss_drop=L0 - END, loss_excess=INTEGRAL - SPAN * END),
            log_ratio_shift_of_steps(flow_time=SPAN, lr=rate, growth_rate=growth, loss0=L0, loss_integral=INTEGRAL,
                                     eigenvalue=EIGENVALUES[A], other_eigenvalue=EIGENVALUES[B]))


(NORM, SHIFT), (OF_CONSTANT, SHIFT_OF_CONSTANT) = growth_and_shift(RATE, TOTAL), growth_and_shift(SPAN, 0.0)
RICHARDSON = "the change of the extrapolation from three numbers of steps"

QUANTITIES = {
    # the wrong clocks: the geometric mean of the rates for all steps, and decay as a growth by λ_e, that of 1/‖w‖
    "exponential rate: loss": Quantity(np.full(len(TOTALS), END), 1e-4, wrong=loss_of_flow(RATE * np.exp(TOTAL / 2)),
                                       bias_source=RICHARDSON),
    "weight decay: loss": Quantity(np.full(len(TOTALS), END), 1e-4, bias_source=RICHARDSON,
                                   wrong=loss_of_flow(flow_time(t=1.0, lr=RATE, growth_rate=TOTAL / 2))),
    "constant rate: growth of the norm": Quantity(OF_CONSTANT, Relative(0.01), wrong=SPAN * L0, bias_source=RICHARDSON),
    "growth of the norm": Quantity(NORM, Relative(0.01), wrong=OF_CONSTANT, bias_source=RICHARDSON),
    "shift of the direction": Quantity(SHIFT, Relative(0.01), wrong=SHIFT_OF_CONSTANT, bias_source=RICHARDSON),
}


def end_of(n_steps, rate, total, decay):
    """‖w‖², ln(w_a/w_b) and L after n steps of descent."""
    growth = np.exp(total / n_steps)
    eta = rate / n_steps if decay or not total else SPAN * (growth - 1) / (growth**n_steps - 1)
    given = {"weight_decay": total / (2 * rate)} if decay else {}  # 2 eta decay = total/n_steps
    rule = sdt.SGD(LOSS, lr=Exponential(eta, 1.0 if decay else growth), **given)
    w = sdt.simulate(rule, START, n_steps=n_steps, save_every=n_steps).w.values[0, -1]
    return np.array([w @ w, np.log(w[A] / w[B]), LOSS.value(w)])


def extrapolated(values):
    """The limit of values at STEPS whose rest is of order 1/n; an error of order 1/n² is left, below its last change."""
    once = [2 * fine - coarse for coarse, fine in zip(values, values[1:], strict=False)]
    return once[-1], np.abs(once[-1] - once[-2])


def measure(trial):
    log_ratio_of_flow = np.log(START[A] / START[B]) - SPAN * (EIGENVALUES[A] - EIGENVALUES[B])
    parted, losses = {}, {}
    for rate, total in ((SPAN, 0.0), *zip(RATE, TOTALS, strict=True)):
        ends = np.array([end_of(n, rate, total, decay=False) for n in STEPS])
        parted[total] = (ends[:, :2] - [1.0, log_ratio_of_flow]) * np.array(STEPS)[:, None]
        losses[total] = ends[:, 2], [end_of(n, rate, total, decay=True)[2] for n in STEPS]
    trial.data["parted"] = parted

    def points(values):
        return Exact(*np.transpose([extrapolated(v) for v in values]))

    return {"exponential rate: loss": points(losses[g][0] for g in TOTALS),
            "weight decay: loss": points(losses[g][1] for g in TOTALS),
            "constant rate: growth of the norm": Exact(*extrapolated(parted[0.0][:, 0])),
            "growth of the norm": points(parted[g][:, 0] for g in TOTALS),
            "shift of the direction": points(parted[g][:, 1] for g in TOTALS)}


def figure(trial, left, right):
    """Left: loss against flow time in few steps. Right: what steps do, times their number, against the growth."""
    dense = np.linspace(0, SPAN, 200)
    left.plot(dense, loss_of_flow(dense), color="0.35", lw=1.2, label="gradient flow")
    for n, marker, color in ((8, "o", "tab:blue"), (24, "s", "tab:orange")):
        growth = np.exp(TOTALS[-1] / n)
        eta = SPAN * (growth - 1) / (growth**n - 1)
        w = sdt.simulate(sdt.SGD(LOSS, lr=Exponential(eta, growth)), START, n_steps=n, save_every=1).w.values[0]
        time = eta * (growth ** np.arange(n + 1) - 1) / (growth - 1)
        label = rf"{n} steps, growing by $e^{{{TOTALS[-1]:g}}}$"
        left.plot(time, LOSS.value(w), marker, ms=4, mfc="none", color=color, label=label)
    left.set(xlabel=r"flow time $s=\sum\tilde\eta$", ylabel="loss", title="In flow a growing rate is a clock")
    left.legend()
    growths = np.linspace(0.01, TOTALS[-1], 100)
    curves = np.transpose([growth_and_shift(SPAN / flow_time(t=1.0, lr=1.0, growth_rate=g), g) for g in growths])
    for i, (color, name) in enumerate((("tab:blue", r"$n(\|w\|^2-1)$"), ("tab:orange", r"$n\,\Delta\ln(w_a/w_b)$"))):
        right.plot(growths, curves[i], color=color, lw=1.2, label=name)
        right.axhline((OF_CONSTANT, SHIFT_OF_CONSTANT)[i], color=color, ls="--", lw=1)
        for growth, parted in trial.data["parted"].items():
            right.plot(growth, parted[-1, i], "o", ms=5, mfc="none", color=color)
    right.plot([], [], color="0.4", ls="--", label="control: as the constant rate")
    right.plot([], [], "o", ms=5, mfc="none", color="0.4", label=f"{STEPS[-1]} steps")
    right.set(xlabel=r"total growth $\Gamma$ of $\ln\tilde\eta$", ylabel="effect of the steps, times their number",
              title="Finite steps see the growth")
    right.legend(loc="lower left")


claim = Claim(
    "EXP-14", "Gradient flow does not see an exponential rate, finite steps do", paper="exp_lr",
    where="the comparison with gradient flow, where the equivalence is a change of the clock",
    statement=r"Gradient flow at the rate $\eta e^{gt}$ is that of a constant rate on the clock "
              r"$s=\eta(e^{gt}-1)/g$, and flow with decay is, up to a scale, that with $g=2\eta\lambda$. Steps of "
              r"finite length make the norm grow by $\eta(L_0-L_S)+g\int_0^S(L-L_S)\,ds$ to first order, on every "
              "scale-invariant loss: at the same flow time in as many steps a growing rate is not a constant one. "
              "(The first order is an extension.)",
    setup=f"Full-batch descent on a Rayleigh quotient in $d={len(START)}$ to flow time {SPAN} in "
          rf"{', '.join(map(str, STEPS))} steps, at a constant rate, at rates that grow by $e^\Gamma$, $\Gamma$ = "
          f"{', '.join(map(str, TOTALS))}, and with the weight decay that stands for them",
    proof=[flow_time, flow_growth_rate, norm_growth_of_steps, log_ratio_shift_of_steps], quantities=QUANTITIES,
    measure=measure, figure=figure,
    control=r"steps of a growing rate do what as many of a constant rate do at the same flow time ($\|w\|^2$ "
            r"grows by $\eta(L_0-L_S)$), and these make it grow by $\eta L_0$; flow at a growing rate has the "
            r"clock of its geometric mean; decay is a growth by $\lambda_e$, that of $1/\|w\|$, not $1/\|w\|^2$")
