"""Nothing that runs or loads gets into the report, whatever a statement or a results folder holds."""

from __future__ import annotations

import pytest

from paper_checks.mathematics import breakable, prose
from paper_checks.safe_markup import UnsafeMarkupError, safe_mathml, safe_svg

LIVE = ("<script", "javascript:", "onload", "onclick", "<iframe", "<foreignObject", "https://", "<a ")


@pytest.mark.parametrize("tex", [
    r"\text{<script>alert(1)</script>}", r"\href{javascript:alert(1)}{x}", r"\text{<img src=x onerror=alert(1)>}",
    r"\mathrm{<iframe/>}", r"\class{x}{y}", r"\style{background:url(https://x)}{y}", r"\text{</math><script>alert(1)</script>}",
    r"\operatorname{<svg onload=alert(1)>}", "\x00", r"\href{https://example.org}{x}"])
def test_mathematics_cannot_smuggle_an_element_in(tex):
    for text in (prose(f"a ${tex}$ b"), prose(f"a $${tex}$$ b")):
        bare = text.replace("&lt;", "").replace("&gt;", "")
        assert not any(f"<{tag}" in bare for tag in ("script", "img", "iframe", "svg", "a "))
        assert "href=" not in text


@pytest.mark.parametrize("markup", [
    '<svg><script>alert(1)</script><path d="M0 0"/></svg>', '<svg onload="alert(1)"><path d="M0 0" onclick="x"/></svg>',
    '<svg><a href="javascript:alert(1)"><path d="M0 0"/></a></svg>', '<svg><foreignObject><iframe/></foreignObject></svg>',
    '<svg><image href="https://example.org/x.png"/></svg>', '<svg><use href="https://example.org/#x"/></svg>',
    '<svg><g style="fill:url(https://example.org)"/></svg>',
    '<svg xmlns:xlink="http://www.w3.org/1999/xlink"><use xlink:href="https://example.org"/></svg>'])
def test_a_figure_keeps_only_what_draws(markup):
    assert not any(live in safe_svg(markup) for live in LIVE)


def test_references_inside_a_figure_and_its_pictures_stay():
    kept = '<svg><use href="#a"/><image href="data:image/png;base64,AAAA"/><g clip-path="url(#b)" style="fill:#fff"/></svg>'
    assert safe_svg(kept).replace(" />", "/>") == kept


@pytest.mark.parametrize("markup", ["<svg", "<p/>", "", "<math></math><script/>", '<!DOCTYPE x [<!ENTITY a "b">]><p/>'])
def test_what_is_no_picture_is_refused(markup):
    with pytest.raises(UnsafeMarkupError):
        safe_svg(markup)
    with pytest.raises(UnsafeMarkupError):
        safe_mathml(markup if "math" not in markup else markup + "<")


def test_a_long_formula_breaks_before_its_signs_and_loses_nothing():
    terms = [f"<mi>alpha{k}</mi>" for k in range(20)]
    whole = "<math><mrow><mi>y</mi><mo>=</mo><mrow>" + "<mo>+</mo>".join(terms) + "</mrow></mrow></math>"
    broken = breakable(whole)
    assert broken.count("<wbr>") >= 2
    for piece in broken.split("<wbr>")[1:]:
        assert piece.startswith('<math displaystyle="true"><mrow><mo>+</mo>')
    letters = "".join(broken.replace("<wbr>", "").split("<mi>")[1:])
    assert all(f"alpha{k}<" in letters for k in range(20))
    fenced = "<math><mrow><mo>(</mo>" + "<mo>+</mo>".join(terms) + "<mo>)</mo></mrow></math>"
    assert "<wbr>" not in breakable(fenced)


