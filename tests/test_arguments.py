"""A call that does not fit says so in the house's form: whose arguments, what there are, what came, and what was meant."""

from __future__ import annotations

import inspect
import pickle

import pytest
import sympy

import sdetheory as sdt
from sdetheory.losses import Loss
from sdetheory.process import Process
from sdetheory.theory import svag
from sdetheory.validation import explained

x = sympy.Symbol("x")
OU = sdt.SDE([x], [1 - x], [[1]])
LOSS = sdt.losses.toy_fraction()


def below(cls):
    """The public classes below one, by name."""
    return {name: found for sub in cls.__subclasses__() if sub.__module__.startswith("sdetheory")
            for name, found in {sub.__qualname__: sub, **below(sub)}.items()
            if not name.startswith("_") and "<locals>" not in name and not inspect.isabstract(found)}


VERBS = {f.__qualname__: f for f in [
    sdt.simulate, sdt.expect, sdt.verify_all, sdt.Loss.of, sdt.SDE.from_callables, sdt.SDE.from_stratonovich,
    sdt.studies.strong_error_study, sdt.studies.weak_error_study, sdt.studies.phases_of_ends, sdt.studies.phases_of_losses,
    sdt.scaling_rule.scaling_limit, sdt.scaling_rule.scaling_sweep, sdt.exact.affine_moments, sdt.exact.stationary_moments,
    sdt.exact.sde_stationary_covariance, sdt.exact.svag_stationary_covariance, sdt.translate.run, sdt.translate.certificate,
    sdt.translate.remove_weight_decay, sdt.translate.tapered, sdt.translate.restore_weight_decay,
    sdt.translate.weight_decay_of_exponential, sdt.stats.mean_estimate, sdt.stats.from_moments, sdt.losses.double_well,
    sdt.losses.axis_wells, sdt.losses.toy_fraction, sdt.dynamics.random_linear_sde]}
NOUNS = {"SDE": sdt.SDE, **below(sdt.SDE), **below(Process), **below(Loss), **{
    c.__name__: c for c in [
        sdt.Claim, sdt.Quantity, sdt.Estimate, sdt.Exact, sdt.Relative, sdt.Between,
        sdt.noises.Tangent, sdt.noises.Isotropic, sdt.noises.FixedLength, sdt.noises.AlphaStable, sdt.noises.Minibatch,
        sdt.starts.UniformSphere, sdt.starts.NormalWeights, sdt.starts.ReducedStart, sdt.schedules.Cosine, sdt.schedules.StepDecay,
        sdt.schedules.Exponential, sdt.schedules.Triangular, sdt.schedules.WarmUp, sdt.schedules.TEXP, sdt.schedules.Constant]}}


@pytest.mark.parametrize("name", [*VERBS, *NOUNS])
def test_an_argument_that_does_not_exist_is_named_beside_those_that_do(name):
    called = VERBS.get(name) or NOUNS[name]
    there = [p.name for p in inspect.signature(called).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    with pytest.raises(TypeError) as found:
        called(no_such_argument=1)
    wanted = f"the arguments {', '.join(there)}" if there else "no arguments"
    assert str(found.value) == f"{name}: expected {wanted}, got 'no_such_argument'"
    if not there:
        return
    with pytest.raises(TypeError) as found:
        called(**{there[-1] + "_": 1})
    assert str(found.value).endswith(f"got '{there[-1]}_'; did you mean '{there[-1]}'?")


@pytest.mark.parametrize("call, message", [
    (lambda: sdt.simulate(OU, [1.0], T=5), "simulate: expected the arguments .*, got 'T'; did you mean 't1'"),
    (lambda: sdt.simulate(OU, [1.0], seed=5), "got 'seed'; did you mean 'rng'"),
    (lambda: sdt.expect(OU, x, [1.0], T=5, rtol=0.1), "expect: .*, got 'T'; did you mean 't1'"),
    (lambda: sdt.simulate(OU, [1.0], 5.0, 0.1),
     "simulate: expected 2 arguments by position, process and x0, got 4; give the others by name, n_steps="),
    (lambda: sdt.SDE(drift=-x, diffusion=1),
     "SDE: expected the arguments states, drift, diffusion, time, got no 'states'.* give states="),
    (lambda: sdt.SDE([x], drfit=-x, diffusion=1), "SDE: .*, got 'drfit'; did you mean 'drift'"),
    (lambda: sdt.SDE([x], [-x], states=[x], diffusion=1), "got 'states' twice, by position and by name"),
    (lambda: sdt.SGD(LOSS, learning_rate=0.1), "SGD: .*, got 'learning_rate'; did you mean 'lr'"),
    (lambda: sdt.SGD(lr=0.1), "SGD: .*, got no 'loss'"),
    (lambda: sdt.processes.OrnsteinUhlenbeck(sigma=1), "OrnsteinUhlenbeck: .*, got 'sigma'"),
    (lambda: svag.first_weight(2.0), r"first_weight: expected its parameters by name, got 2.0 by position; call first_weight\(ampl"),
    (lambda: svag.first_weight(amplifcation=2.0), "did you mean 'amplification'"),
])
def test_a_call_that_does_not_fit_says_what_to_write(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_an_error_that_is_raised_inside_is_left_as_it_is():
    @explained
    def broken(a, *, b=0):
        raise TypeError("something else")

    with pytest.raises(TypeError, match="^something else$"):
        broken(1, b=2)


def test_signature_and_pickles_are_those_of_the_function_itself():
    assert list(inspect.signature(sdt.simulate).parameters)[:2] == ["process", "x0"]
    assert pickle.loads(pickle.dumps(sdt.simulate)) is sdt.simulate
    assert repr(pickle.loads(pickle.dumps(sdt.SGD(LOSS, lr=0.1)))) == repr(sdt.SGD(LOSS, lr=0.1))
