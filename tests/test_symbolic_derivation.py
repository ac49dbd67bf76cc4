"""Derivations prove what is 0 and nothing else; notation prints the papers' letters."""

from __future__ import annotations

from xml.dom.minidom import parseString

import pytest
import sympy
from sympy import Function, Matrix, Rational, cos, exp, log, sin, sqrt, symbols

from sdetheory.symbolic import NOTATION, Derivation, latex, mathml, symbol

x, y = symbols("x y", positive=True)
n = sympy.Symbol("n", integer=True)


@pytest.mark.parametrize("residual", [
    (x + y)**3 - x**3 - 3 * x**2 * y - 3 * x * y**2 - y**3, 1 / (x + y) + 1 / (x - y) - 2 * x / (x**2 - y**2),
    sin(2 * x) - 2 * sin(x) * cos(x), sqrt(x**2) - x, log(x * y) - log(x) - log(y), exp(x)**2 - exp(2 * x),
    sqrt(5 + 2 * sqrt(6)) - sqrt(2) - sqrt(3), sympy.gamma(x + 1) - x * sympy.gamma(x), (-1)**(2 * n) - 1,
    Matrix([[x, 1], [0, y]]).inv() * Matrix([[x, 1], [0, y]]) - sympy.eye(2), sympy.Eq(x**2 - y**2, (x - y) * (x + y)),
], ids=str)
def test_true_identities_are_proved(residual):
    assert Derivation("identity").residual("r", residual).verify().status == "proved"


@pytest.mark.parametrize("residual", [
    x - y, x - Rational(999999999999, 10**12) * x, sqrt((x - y)**2) - (x - y), sin(x) - x, Function("f")(x),
    Rational(1, 10**40), Matrix([0, 0, x]), exp(-1000) * x, sympy.Symbol("a"), sympy.Eq(sympy.Symbol("a"), 2),
], ids=str)
def test_false_or_unproved_identities_fail_and_show_what_is_left(residual):
    result = Derivation("wrong").residual("fine", 0).residual("r", residual).verify()
    assert result.status == "failed"
    assert not result
    assert "r: " in repr(result)


class Undecidable(Function):
    """An expression on which SymPy fails, as it does on some comparisons of NaN."""

    def equals(self, other, failing_expression=False):
        raise TypeError("Invalid NaN comparison")

    def _eval_simplify(self, **kwargs):
        raise TypeError("Invalid NaN comparison")


def test_an_error_inside_sympy_is_a_failed_proof_and_no_crash():
    result = Derivation("undecidable").residual("r", Undecidable(x)).verify()
    assert result.status == "failed" and result.residuals["r"] == Undecidable(x)


def test_a_residual_is_exact_named_once_and_needed():
    with pytest.raises(ValueError, match="exact numbers"):
        Derivation("floats").residual("r", 0.1 * x - y / 10)
    with pytest.raises(ValueError, match="new name"):
        Derivation("twice").residual("r", 0).residual("r", 0)
    with pytest.raises(ValueError, match="at least one residual"):
        Derivation("empty").step("nothing").verify()
    with pytest.raises(TypeError, match="residual 'r'"):
        Derivation("logic").residual("r", x > y)
    with pytest.raises(ValueError, match="holds to be false"):
        Derivation("false").residual("r", sympy.Eq(1, 2))


def test_a_derivation_keeps_its_order_and_cannot_be_edited():
    d = Derivation("order").assume("$x > 0$").step("first", x).step("second").residual("r", x - x)
    assert [s.text for s in d] == ["first", "second"]
    assert (len(d), d.assumptions[0].text, d.steps[1].expression) == (2, "$x > 0$", None)
    with pytest.raises(TypeError):
        d.residuals["r"] = x
    with pytest.raises(AttributeError):
        d.steps[0].text = "other"


def test_html_is_well_formed_and_escaped():
    d = Derivation("a < b & c").step("if $x<1$", sympy.Lt(x, 1)).step("then", Matrix([x, y])).residual("x<y", x - x)
    parseString(d._repr_html_())
    assert "<math" in d._repr_html_()
    assert d._repr_latex_().startswith("$$")


@pytest.mark.parametrize("name, letter", [
    ("lr", r"\eta"), ("weight_decay", r"\lambda"), ("intrinsic_lr", r"\lambda_{e}"), ("effective_lr", r"\eta_{e}"),
    ("noise_trace", r"\sigma^{2}"), ("momentum", r"\mu"), ("sq_norm", "R"), ("gamma", r"\gamma"),
    ("batch_factor", r"\kappa"), ("amplification", "l"), ("curvature", r"\lambda"), ("width", "n"), ("dim", "d"),
    ("t", "t"), ("direction", r"\hat{w}"),
])
def test_code_names_print_as_the_letters_of_the_papers(name, letter):
    assert latex(symbol(name)) == letter


def test_symbols_of_one_name_are_one_symbol():
    assert all(symbol(name) == symbol(name) for name in NOTATION)
    assert symbol("lr").is_positive
    assert symbol("lr", real=True).is_positive is None
    with pytest.raises(ValueError, match="identifier"):
        symbol("weight decay")


def test_two_names_of_one_letter_are_told_apart():
    both = latex(symbol("weight_decay") + symbol("curvature"))
    assert both == r"\lambda_{curvature} + \lambda_{weightdecay}"


@pytest.mark.parametrize("expr", [
    symbol("noise_trace")**2 / symbol("lr"), sympy.Eq(Function("gamma")(x).diff(x), -x), sympy.Ge(x, y),
    sympy.Integral(exp(-x), (x, 0, sympy.oo)), sympy.Sum(x**n, (n, 0, 5)), Matrix([[x, y]]), sqrt(symbol("direction")),
], ids=str)
def test_mathml_is_well_formed(expr):
    document = parseString(mathml(expr, block=True))
    assert document.documentElement.tagName == "math"


def test_mathml_shows_a_derivative_at_a_point_with_a_bar():
    inner = sympy.diff(Function("f")(x**2), x)  # 2 x f'(xi) at xi = x^2, as SymPy's chain rule has it
    for shown in (mathml(inner), mathml(sympy.Subs(Function("f")(n), n, symbol("lr") ** 2))):
        assert "subs" not in shown
        assert '<mo stretchy="true">|</mo></mrow><mrow><m' in shown
    assert "<mo>=</mo><msup><mi>x</mi><mn>2</mn></msup></mrow></msub>" in mathml(inner)
    two = sympy.Subs(sympy.diff(Function("f")(x, y), x, y), (x, y), (1, symbol("lr")))
    assert "<mrow><mi>x</mi><mo>=</mo><mn>1</mn><mo>,</mo><mi>y</mi><mo>=</mo><mi>η</mi></mrow></msub>" in mathml(two)
    parseString(mathml(two))


def test_mathml_shows_letters_and_brackets():
    assert "<mi>γ</mi>" in mathml(Function("gamma")(x))
    assert "<mo>(</mo><msup><mi>σ</mi>" in mathml(symbol("noise_trace")**2)


def test_included_derivations_keep_their_residuals_apart_by_numbered_titles_and_are_included_once():
    one = Derivation("One").assume("a").step("s", x).residual("r", 0)
    same = Derivation("One").assume("a").step("s", x).residual("r", 0)
    other = Derivation("One").assume("b").step("s", y).residual("r", x - x)
    whole = Derivation("whole").residual("Two: r", 0).including(one, other, same, Derivation("Two").residual("r", 0), one)
    assert list(whole.residuals) == ["Two: r", "One: r", "One (2): r", "Two (2): r"]
    assert [step.text for step in whole] == ["One.", "s", "One (2).", "s", "Two (2)."]
    assert [assumption.text for assumption in whole.assumptions] == ["a", "b"]
    wrong = Derivation("whole").including(one, Derivation("One").residual("r", x)).verify()
    assert (wrong.status, wrong.residuals["One: r"], wrong.residuals["One (2): r"]) == ("failed", 0, x)
