"""`report.html` in a real browser: it opens offline, says nothing to the console, asks for nothing, and fits a phone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from paper_checks.report import render
from paper_checks.results import Results

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt install chromium"),
    pytest.mark.skipif(sync_playwright is None, reason="needs playwright: pip install -e '.[browser]'"),
]


def result(number: int, **changes):
    row = {"name": "mean[0]", "label": "$t = 1$", "predicted": 1.0, "measured": 1.0 + number / 100, "stderr": 0.01, "z": 4.0,
           "bias_bound": 0.01, "bias_source": "rounding", "resolution": 0.1, "status": "confirmed", "smallest_detectable": 0.1}
    return {"id": f"TOY-{number}", "paper": "toys", "title": f"Claim {number} about $x^{number}$", "status": "confirmed",
            "statement": r"For every $x$, $\mathbb{E}x=\mu$.", "reason": "", "mode": "default", "device": "cpu",
            "derivation": {"status": "proved", "seconds": 0.1, "residuals": {}},
            "evidence": [row, row | {"name": "mean[1]", "predicted": [0.5, None]}],
            "negative_control": {"status": "refuted", "statement": "it is 2", "power": 1.0, "unstated": [], "evidence": [row],
                                 "without": {"other": "a check of the set-up"}},
            "setup": "a toy", "calls": [{"process": "SGD(…)", "scheme": "SGD", "paths": 10, "steps": 5, "dt": 1.0, "clock": "step",
                                         "times": 2}],
            "seed": 0, "seconds": float(number), "versions": {"sdetheory": "0"}} | changes


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    results = [result(number) for number in range(1, 9)]
    results[2] |= {"status": "refuted", "title": r"$\text{<script>window.stranger=1</script>}$ and "
                                                 r"$\href{javascript:window.stranger=1}{x}$"}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "claims").mkdir()
    wide = "<math><mrow>" + "<mo>+</mo>".join("<mi>abcdefgh</mi>" for _ in range(60)) + "</mrow></math>"
    display = {"figure": '<svg onload="window.stranger=1"><script>window.stranger=1</script><path d="M0 0"/></svg>',
               "derivation": {"title": "A sum", "assumptions": [], "steps": [{"text": "long", "mathml": wide}],
                              "residuals": [{"text": "trivial", "mathml": None}]}}
    (folder / "claims" / "TOY-3.json").write_text(json.dumps(display))
    (folder / "report.html").write_text(render(Results(folder)))
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, page_file):
    """Open the page at a width; whatever the console said or the page asked for fails the test afterwards."""
    said: list[str] = []
    asked: list[str] = []
    pages = []

    def at(width: int):
        page = browser.new_page(viewport={"width": width, "height": 900}, offline=True)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        pages.append(page)
        return page

    yield at
    for page in pages:
        page.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:") and url != page_file.as_uri()] == []


@pytest.mark.parametrize("width", [390, 1300])
def test_it_opens_silently_and_fits_the_width_with_the_verdict_in_sight(opened, width):
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("table.verdicts tr[data-status] .verdict").first.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_rows_are_found_filtered_and_ordered(opened):
    page = opened(1300)
    visible = "table.verdicts tr[data-status]:not([hidden]) th"
    page.locator("[name=order]").select_option("margin")
    assert page.locator(visible).all_inner_texts()[:2] == ["TOY-8", "TOY-7"]
    page.locator("[name=verdict]").select_option("refuted")
    assert page.locator(visible).all_inner_texts() == ["TOY-3"]
    page.locator("[name=verdict]").select_option("")
    page.locator("[name=order]").select_option("")
    page.locator("[name=text]").fill("claim 5")
    assert page.locator(visible).all_inner_texts() == ["TOY-5"]
    assert page.locator(".find output").inner_text() == "1 shown"


def test_a_strangers_results_run_nothing(opened):
    page = opened(1300)
    page.locator("#TOY-3").scroll_into_view_if_needed()
    assert page.evaluate("window.stranger") is None
    assert page.evaluate("document.querySelectorAll('a[href^=javascript], [onload], math script, svg script').length") == 0


def test_a_wide_formula_wraps_on_paper(opened):
    page = opened(1300)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 900})
    formula = page.locator("#TOY-3 .formula").first
    assert formula.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
    assert formula.bounding_box()["height"] > 60
