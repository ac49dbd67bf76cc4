r"""Text with LaTeX between dollars as HTML with MathML, which browsers draw by themselves, offline.

`$...$` stands in the line, `$$...$$` on a line of its own, and backticks mark code. What cannot be converted is shown as
it was written.
"""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

__all__ = ["prose", "tidied"]

_PIECES = re.compile(r"\$\$(?P<display>.+?)\$\$|\$(?P<inline>.+?)\$|`(?P<code>[^`]+)`|\n\s*\n(?P<end>)", re.DOTALL)


def prose(text: str) -> str:
    r"""Return `text` as HTML; anything but mathematics and code is escaped.

    >>> prose("a < b where $x=1$")
    'a &lt; b where <math display="inline"><mrow><mi>x</mi><mo>=</mo><mn>1</mn></mrow></math>'
    """
    parts, position = [], 0
    for piece in _PIECES.finditer(text):
        parts.append(html.escape(text[position:piece.start()], quote=False))
        position = piece.end()
        if piece["code"] is not None:
            parts.append(f"<code>{html.escape(piece['code'], quote=False)}</code>")
        elif piece["end"] is not None:
            parts.append("<br>")
        else:
            shown = piece["display"] is not None
            parts.append(_formula(piece["display"] if shown else piece["inline"], "block" if shown else "inline"))
    return "".join(parts) + html.escape(text[position:], quote=False)


def tidied(mathml: str) -> str:
    """Return SymPy's MathML as a printer would set it: e and d upright, minus signs, no parentheses round σ² in 2(σ²).

    >>> tidied("<mrow><mo>-</mo><mi>ⅇ</mi></mrow>")
    '<mrow><mo>−</mo><mi mathvariant="normal">e</mi></mrow>'
    """
    times, square = "<mo>\u2062</mo>", r"<mrow><mo>\(</mo>(<msup><mi>[^<]</mi><m[in]>\d</m[in]></msup>)<mo>\)</mo></mrow>"
    mathml = re.sub(f"(?<={times}){square}|{square}(?={times})", lambda m: m[1] or m[2], mathml)
    for found, shown in (("<mo>-</mo>", "<mo>−</mo>"), ("<mn>-", "<mn>−"),
                         ("<mi>ⅇ</mi>", '<mi mathvariant="normal">e</mi>'),
                         ("<mo>ⅆ</mo>", '<mi mathvariant="normal">d</mi>'),
                         (' xmlns="http://www.w3.org/1998/Math/MathML"', "")):
        mathml = mathml.replace(found, shown)
    return mathml


def _formula(tex: str, display: str) -> str:
    try:
        markup = convert(tex.strip(), display=display)
    except Exception:  # latex2mathml has no common exception; whatever it is, the source is still readable
        markup = ""
    if not markup or re.search(r">\s*\\[A-Za-z]", markup):  # an unknown command comes through as an identifier
        return f'<code class="tex">{html.escape(tex, quote=False)}</code>'
    markup = re.sub(r"&#x0*([0-9A-Fa-f]+);", _character, markup)
    markup = markup.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
    markup = markup.replace("<mo>/</mo>", '<mo lspace="0" rspace="0">/</mo>')
    markup = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>", markup)  # \operatorname{Tr} binds to what follows
    markup = re.sub(r"<m[io]>([⟨⟩])</m[io]>", r'<mo stretchy="false">\1</mo>', markup)
    markup = re.sub(r"(<mi>(?:log|ln|exp|sin|cos|tan|max|min|Tr)</mi>)(?=<m(?:i|n|row|frac|sup|sub)\b)",
                    r'\1<mspace width="0.17em"/>', markup)
    return re.sub(r"<mover>(<mi>.</mi>|<mrow><mi>.</mi></mrow>)<mo[^>]*>([¯~˙^])</mo></mover>",
                    r'<mover accent="true">\1<mo stretchy="false">\2</mo></mover>', markup)


def _character(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return html.escape(character)
