"""A formula is one expression: number, LaTeX and derivation come from it; outside the hypotheses it gives no answer."""

import inspect
import pydoc

import numpy as np
import pytest
import sympy

from sdetheory.hypotheses import HypothesisError
from sdetheory.symbolic.derivation import Derivation
from sdetheory.symbolic.notation import symbol
from sdetheory.theory import Formula, closed_form, joint_derivation

T, RATE = symbol("t"), symbol("intrinsic_lr")


def relaxation_derivation(claimed):
    s = symbol("s")
    derived = sympy.integrate(sympy.exp(-RATE * (T - s)), (s, 0, T))
    return Derivation("Relaxation").step("Variation of constants.", derived).residual("value", derived - claimed)


@closed_form("ILR-3", relaxation_derivation, clock="step", needs=lambda t, intrinsic_lr: [intrinsic_lr < 1])
def relaxation(t, intrinsic_lr):
    """The share of the way that is done."""
    return (1 - sympy.exp(-intrinsic_lr * t)) / intrinsic_lr


def test_the_number_is_the_expression_evaluated():
    exact = float(relaxation.expr.subs({T: 2, RATE: sympy.Rational(1, 2)}))
    assert relaxation(t=2.0, intrinsic_lr=0.5) == pytest.approx(exact, rel=1e-15)


def test_arguments_broadcast_to_float64():
    value = relaxation(t=np.arange(3), intrinsic_lr=[[0.1], [0.2]])
    assert value.shape == (2, 3) and value.dtype == np.float64


def test_an_argument_the_expression_does_not_depend_on_still_broadcasts():
    constant = Formula("constant", RATE, claim="ILR-3", derivation=relaxation_derivation, parameters=[T, RATE])
    assert constant(t=np.zeros(4), intrinsic_lr=0.5).shape == (4,)


def test_one_minus_exp_keeps_its_digits_at_small_arguments():
    # exact value t (1 - rate t / 2 + ...): the next term is below one rounding here
    assert relaxation(t=1.0, intrinsic_lr=1e-12) == pytest.approx(1 - 5e-13, rel=2e-16)
    assert relaxation(t=1e12, intrinsic_lr=0.5) == 2.0


def test_symbols_put_in_give_an_expression():
    a = symbol("a", positive=True)
    assert relaxation(t=0, intrinsic_lr=a) == 0


def test_the_derivation_is_built_once_and_proves_the_expression():
    assert relaxation.derivation is relaxation.derivation
    assert relaxation.verify().status == "proved"


def test_another_expression_under_the_same_derivation_fails():
    assert relaxation.replaced(relaxation.expr * sympy.Rational(101, 100)).verify().status == "failed"


def test_wrong_and_missing_names_are_answered_with_the_valid_ones():
    with pytest.raises(TypeError, match=r"expected the parameters t, intrinsic_lr, got 'intrinsic_l'; did you mean "
                                        r"'intrinsic_lr'"):
        relaxation(t=1.0, intrinsic_l=0.1)
    with pytest.raises(TypeError, match=r"expected the parameters t, intrinsic_lr, got no intrinsic_lr"):
        relaxation(t=1.0)
    with pytest.raises(TypeError):
        relaxation(1.0, 0.1)


@pytest.mark.parametrize(("values", "message"), [
    ({"t": 1.0, "intrinsic_lr": -0.1}, r"ILR-3: needs intrinsic_lr > 0, got intrinsic_lr = -0.1"),
    ({"t": 1.0, "intrinsic_lr": [0.1, 0.0]}, r"ILR-3: needs intrinsic_lr > 0, got intrinsic_lr = 0"),
    ({"t": [0.0, -1.0], "intrinsic_lr": 0.1}, r"ILR-3: needs t >= 0, got t = -1"),
    ({"t": 1.0, "intrinsic_lr": 1.5}, r"ILR-3: needs intrinsic_lr < 1, got intrinsic_lr = 1.5"),
])
def test_outside_its_hypotheses_a_formula_names_the_claim(values, message):
    with pytest.raises(HypothesisError, match=message):
        relaxation(**values)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="t: expected finite numbers"):
        relaxation(t=np.nan, intrinsic_lr=0.1)
    with pytest.raises(ValueError, match="expected arguments that broadcast"):
        relaxation(t=np.zeros(3), intrinsic_lr=np.full(2, 0.1))
    with pytest.raises(TypeError, match="t: expected an array of real numbers"):
        relaxation(t="soon", intrinsic_lr=0.1)


def test_an_integer_parameter_refuses_a_fraction():
    dim = symbol("dim")
    doubled = Formula("doubled", 2 * dim, claim="ILR-10", derivation=relaxation_derivation, parameters=[dim])
    assert doubled(dim=3) == 6.0
    with pytest.raises(HypothesisError, match="ILR-10: needs dim an integer, got dim = 2.5"):
        doubled(dim=2.5)


def test_signature_documentation_and_help_are_the_formula_s():
    assert str(inspect.signature(relaxation)) == "(*, t, intrinsic_lr)"
    for text in ("The share of the way that is done.", relaxation.latex, "Claim ILR-3; step time", "intrinsic_lr : "
                                                                                                   "\\lambda_{e}"):
        assert text in relaxation.__doc__
    assert "The share of the way" in pydoc.plain(pydoc.render_doc(relaxation))
    assert relaxation._repr_latex_() == f"$\\displaystyle {relaxation.latex}$"


def test_a_foreign_symbol_is_refused_when_the_formula_is_made():
    with pytest.raises(ValueError, match="expected symbols among the parameters"):
        Formula("f", RATE * sympy.Symbol("intrinsic_lr"), claim="ILR-3", derivation=relaxation_derivation,
                parameters=[RATE])
    with pytest.raises(ValueError, match="clock: expected one of"):
        Formula("f", RATE, claim="ILR-3", derivation=relaxation_derivation, parameters=[RATE], clock="wall")


def test_the_function_of_a_closed_form_is_called_once_and_when_the_expression_is_needed():
    calls = []

    @closed_form("ILR-3", relaxation_derivation)
    def counted(t, intrinsic_lr):
        """A sentence."""
        calls.append((t, intrinsic_lr))
        return intrinsic_lr * t

    assert calls == [] and counted.name == "counted"
    assert counted(t=2.0, intrinsic_lr=3.0) == 6.0 and counted.expr == RATE * T and "A sentence." in counted.__doc__
    assert calls == [(T, RATE)]
    assert Formula.__doc__.startswith("A closed form")


def test_formulas_are_proved_together_and_one_that_is_wrong_fails_them_all():
    wrong = relaxation.replaced(relaxation.expr + RATE)
    both = joint_derivation("Both", relaxation, wrong, relaxation)
    assert list(both.residuals) == ["Relaxation: value", "Relaxation (2): value"]
    assert both.verify().status == "failed"
    assert joint_derivation("One", relaxation).verify().status == "proved"
