"""Markup from elsewhere, made safe to stand in the report: what is on no list of known elements and attributes goes.

Statements, titles and the files of a results folder may come from a stranger; MathML and SVG are let through element by
element, text is escaped, and no attribute can start a script or ask the network for anything.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

__all__ = ["UnsafeMarkupError", "element_of", "safe_mathml", "safe_svg", "text_of"]

_SHARED = {"class", "id", "style", "role", "aria-label", "aria-hidden"}
_MATHML = (
    {"math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "mfrac", "msqrt", "mroot", "mstyle", "merror", "mpadded",
     "mphantom", "mfenced", "menclose", "msub", "msup", "msubsup", "munder", "mover", "munderover", "mmultiscripts",
     "mprescripts", "none", "mtable", "mtr", "mtd", "semantics", "annotation"},
    {"display", "displaystyle", "scriptlevel", "mathvariant", "mathsize", "mathcolor", "lspace", "rspace", "stretchy",
     "fence", "separator", "symmetric", "largeop", "movablelimits", "accent", "accentunder", "form", "width", "height",
     "depth", "voffset", "linethickness", "open", "close", "separators", "notation", "columnalign", "rowalign",
     "columnspacing", "rowspacing", "minsize", "maxsize", "bevelled", "title"})
_SVG = (
    {"svg", "g", "path", "defs", "use", "clipPath", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text",
     "tspan", "title", "desc", "marker", "linearGradient", "radialGradient", "stop", "pattern", "mask", "image", "symbol"},
    {"viewBox", "version", "d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "ry", "dx", "dy", "points",
     "width", "height", "transform", "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity",
     "stroke-linecap", "stroke-linejoin", "stroke-dasharray", "opacity", "clip-path", "clip-rule", "mask", "offset",
     "stop-color", "stop-opacity", "gradientUnits", "gradientTransform", "patternUnits", "patternTransform",
     "preserveAspectRatio", "href", "font-size", "font-family", "text-anchor", "markerWidth", "markerHeight", "orient",
     "refX", "refY"})
_ADDRESS = re.compile(r"#[\w:.-]*|data:image/png;base64,[\w+/=\s]*")
_STYLE_THAT_LOADS = re.compile(r"url\s*\(\s*['\"]?(?!#)|@import|expression|javascript:", re.IGNORECASE)


class UnsafeMarkupError(ValueError):
    """Markup that is no XML, or whose root is not the element that is expected."""


def element_of(markup: str, root: str) -> ET.Element:
    """Parse markup whose root element is `root`; namespaces are taken off."""
    try:
        element = ET.fromstring(re.sub(r'\sxmlns(:\w+)?="[^"]*"|\bxlink:(?=href)', "", markup))
    except ET.ParseError as error:
        raise UnsafeMarkupError(f"expected <{root}>, got no XML: {error}") from None
    if element.tag != root:
        raise UnsafeMarkupError(f"expected <{root}>, got <{element.tag}>")
    return element


def text_of(element: ET.Element) -> str:
    """Serialise; text and attributes are escaped."""
    return ET.tostring(element, encoding="unicode", short_empty_elements=True)


def safe_mathml(markup: str) -> str:
    """Return `<math>` with nothing but MathML for reading in it.

    >>> safe_mathml('<math><mtext><script>alert(1)</script>a</mtext><mi href="javascript:x" onclick="y">b</mi></math>')
    '<math><mtext>a</mtext><mi>b</mi></math>'
    """
    element = element_of(markup, "math")
    _clean(element, *_MATHML)
    return text_of(element)


def safe_svg(markup: str) -> str:
    """Return `<svg>` with nothing in it that runs or loads."""
    element = element_of(markup, "svg")
    _clean(element, *_SVG)
    return text_of(element)


def _clean(element: ET.Element, elements: set[str], attributes: set[str]) -> None:
    for name, value in list(element.attrib.items()):
        if name not in attributes | _SHARED or (name == "href" and not _ADDRESS.fullmatch(value)) \
                or _STYLE_THAT_LOADS.search(value):
            del element.attrib[name]
    previous: ET.Element | None = None
    for child in list(element):
        if child.tag in elements:
            _clean(child, elements, attributes)
            previous = child
            continue
        if child.tail and previous is not None:  # what stood behind the child stays
            previous.tail = (previous.tail or "") + child.tail
        elif child.tail:
            element.text = (element.text or "") + child.tail
        element.remove(child)
