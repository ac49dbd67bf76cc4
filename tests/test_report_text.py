"""What `paper-checks` writes: the table of the terminal, formulas as Unicode and MathML, figures in the page's colours."""

from __future__ import annotations

import re
import textwrap

import pytest

from paper_checks.console import table
from paper_checks.figures import figure_markup
from paper_checks.mathematics import prose
from paper_checks.results import worst_margin_ratio
from paper_checks.unicode_text import _LETTERS, pretty_lines, readable
from sdetheory.symbolic import symbol


def row(predicted, measured, stderr=0.1, bias=0.1, z=4.0):
    return {"predicted": predicted, "measured": measured, "stderr": stderr, "bias_bound": bias, "z": z}


@pytest.mark.parametrize("rows, expected", [
    ([row(1.0, 1.25)], 0.5), ([row(1.0, 1.0), row(1.0, 0.0)], 2.0), ([row([0.0, 1.0], 0.7)], 0.0),
    ([row([0.0, 1.0], 1.5)], 1.0), ([row([None, 1.0], -9.0)], 0.0), ([row(1.0, None)], float("inf")),
    ([row(1.0, 1.0, 0.0, 0.0)], 0.0), ([row(1.0, 1.1, 0.0, 0.0)], float("inf")), ([], None),
])
def test_the_worst_ratio_is_the_deviation_in_margins(rows, expected):
    assert worst_margin_ratio(rows) == (None if expected is None else pytest.approx(expected))


def test_the_table_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = {"id": "A-1", "title": "a title " * 20, "status": "confirmed", "evidence": [row(1.0, 1.25)], "seconds": 1.0,
              "negative_control": {"status": "refuted", "power": 0.99999}}
    lines = table([result]).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(set(map(len, lines[1:]))) == 1
    assert "0.50" in lines[-1]


def test_the_table_says_at_which_shift_the_power_of_a_control_is():
    def lines(**control):
        return table([{"id": "A-1", "title": "a", "status": "confirmed", "evidence": [], "seconds": 1.0,
                       "negative_control": {"status": "refuted", **control}}]).splitlines()[2:]

    (line,) = lines(power=0.9999, unstated=[])
    assert "refuted (>0.999)" in line
    line, explained = lines(power=0.9, unstated=["x"])
    assert "refuted (2ρ: 0.900)" in line and "2ρ: the power to see twice the resolution" in explained
    (line,) = lines(power=None)
    assert "refuted (" not in line


@pytest.mark.parametrize("text, expected", [
    (r"$\|W\|^4 \to \eta\sigma^2/(2\lambda)$", "‖W‖⁴ → ησ²/(2λ)"),
    (r"rate $e^{-4\lambda_e t}$", "rate e^(−4λₑ t)"),
    (r"$\frac{a}{2}\frac{k}{d}$ and $\tfrac12\gamma^{-1}$", "(a/2)k/d and (1/2)γ⁻¹"),
    (r"$\operatorname{Tr}\Sigma(\hat w)$, $\sigma_{\min}$", "TrΣ(ŵ), σ_min"),
    ("no mathematics, 5 $", "no mathematics, 5 $"),
])
def test_latex_reads_as_unicode(text, expected):
    assert readable(text) == expected


def test_greek_letters_are_those_of_sympy():
    from sympy.printing.pretty.pretty_symbology import greek_unicode

    for name in [*_LETTERS, *(name.capitalize() for name in _LETTERS if name != "varsigma")]:
        if name not in ("epsilon", "varsigma"):
            assert readable(rf"$\{name}$") == greek_unicode[name]
    assert readable(r"$\epsilon\varepsilon\varsigma$") == "εες"


def test_expressions_are_drawn_in_the_letters_of_the_papers():
    drawn = pretty_lines(symbol("noise_trace") / (2 * symbol("intrinsic_lr")), 80, "  ", " = 0")
    assert textwrap.dedent("\n".join(drawn)).split() == ["σ²", "────", "=", "0", "2⋅λₑ"]
    wide = sum((symbol("lr") ** k / k for k in range(1, 40)), symbol("t"))
    assert max(map(len, pretty_lines(wide, 60, "  "))) <= 60


@pytest.mark.parametrize("text, part", [
    ("a < b & c", "a &lt; b &amp; c"), ("`x < 1`", "<code>x &lt; 1</code>"), ("$x < 1$", "<mo>&lt;</mo>"),
    (r"$$x$$", 'display="block"'), (r"$\nosuchcommand{x}$", r'<code class="tex">\nosuchcommand{x}</code>'),
    (r"$\frac$", r'<code class="tex">\frac</code>'), (r"$\operatorname{Tr} A$", "<mi>Tr</mi>"),
])
def test_text_becomes_safe_html_with_mathml(text, part):
    assert part in prose(text)


def test_ink_and_dark_greys_take_the_colour_of_the_page_and_large_figures_become_pictures():
    def draw(points):
        import matplotlib.pyplot as plt
        fig, ax = plt.subplots()
        ax.plot(range(points), [k % 7 for k in range(points)], ".", color="0.2")
        ax.plot([0, 1], [0, 1], color="#888888")
        return fig

    svg = figure_markup(draw, 10, "A-1")
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert "#888888" in svg
    assert not re.search(r"#333333|#000000|#010203", svg)
    assert figure_markup(draw, 40_000, "A-1").startswith('<img class="raster"')
