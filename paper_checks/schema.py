"""What the files of a results folder hold: `results.json`, and a claim's display under `claims/`."""

from __future__ import annotations

from typing import Any

__all__ = ["CLAIM_DISPLAY", "RESULTS", "misfit"]

_NUMBER: dict[str, Any] = {"type": ["number", "null"]}
_TEXT: dict[str, Any] = {"type": "string"}
_INTERVAL: dict[str, Any] = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}
_STATUS: dict[str, Any] = {"enum": ["confirmed", "refuted", "inconclusive", "error", "skipped"]}
_COMPARISONS: dict[str, Any] = {"type": "array", "items": {
    "type": "object",
    "required": ["name", "predicted", "measured", "stderr", "bias_bound", "z", "resolution", "status", "smallest_detectable"],
    "properties": {
        **dict.fromkeys(("name", "label", "bias_source", "note"), _TEXT), "predicted": {"anyOf": [{"type": "number"}, _INTERVAL]},
        "status": {"enum": ["confirmed", "refuted", "inconclusive"]},
        **dict.fromkeys(("measured", "stderr", "bias_bound", "z", "resolution", "smallest_detectable"), _NUMBER)}}}
_CALL: dict[str, Any] = {
    "type": "object", "required": ["process", "scheme", "steps", "times"],
    "oneOf": [{"required": ["functional"]}, {"required": ["paths", "dt", "clock"]}],
    "properties": {"process": _TEXT, "scheme": _TEXT, "steps": {"type": ["integer", "null"]}, "times": {"type": "integer"},
                   "paths": {"type": "integer"}, "dt": {"type": "number"}, "clock": _TEXT, "functional": _TEXT,
                   "sweep": {"type": "object", "additionalProperties": {"type": "integer"}}}}

#: `results.json`: a list of the outcomes of claims
RESULTS: dict[str, Any] = {"type": "array", "items": {
    "type": "object",
    "required": ["id", "paper", "title", "status", "derivation", "evidence", "negative_control", "seed", "seconds", "versions"],
    "properties": {
        "id": {"type": "string", "pattern": r"^[\w-]+$"}, "paper": _TEXT, "title": _TEXT, "status": _STATUS,
        "derivation": {"type": "object", "required": ["status", "seconds", "residuals"],
                       "properties": {"status": _TEXT, "seconds": {"type": "number"},
                                      "residuals": {"type": "object", "additionalProperties": _TEXT}}},
        "evidence": _COMPARISONS,
        "negative_control": {"type": "object", "required": ["status", "statement", "power", "evidence"], "properties": {
            "status": {"enum": ["refuted", "not refuted", "not run"]}, "statement": _TEXT, "power": _NUMBER,
            "unstated": {"type": "array", "items": _TEXT}, "evidence": _COMPARISONS,
            "without": {"type": "object", "additionalProperties": _TEXT}}},
        "setup": _TEXT, "calls": {"type": "array", "items": _CALL}, "seed": {"type": "integer"}, "seconds": {"type": "number"},
        "versions": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        **dict.fromkeys(("statement", "reason", "mode", "device", "traceback", "figure_error"), _TEXT)}}}

_STEPS: dict[str, Any] = {"type": "array", "items": {"type": "object", "required": ["text", "mathml"], "properties": {
    "text": _TEXT, "mathml": {"type": ["string", "null"]}}}}
#: `claims/<id>.json`: what the report shows of a claim beside its result
CLAIM_DISPLAY: dict[str, Any] = {"type": "object", "properties": {
    "extension": {"type": "boolean"}, "empirical": {"type": "boolean"},
    **dict.fromkeys(("where", "file", "figure"), _TEXT),
    "derivation": {"type": ["object", "null"], "required": ["title", "assumptions", "steps", "residuals"],
                   "properties": {"title": _TEXT, "assumptions": _STEPS, "steps": _STEPS, "residuals": _STEPS}}}}


def misfit(data: Any, schema: dict[str, Any]) -> str:
    """Return where `data` does not fit, and what was expected there; "" where it fits.

    >>> misfit([{"id": 3}], {"type": "array", "items": {"properties": {"id": {"type": "string"}}}})
    "at [0].id: 3 is not of type 'string'"
    """
    import jsonschema  # a tenth of a second, which `paper-checks list` does not take

    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(data))
    if error is None:
        return ""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    message = error.message if len(error.message) <= 200 else f"{error.message[:200]} …"
    return f"at {place or 'the top'}: {message}"
