"""Filters of triggers as people write them: `type=compute.instance.*`, `data.size>=1024`."""

import argparse
import json
import re
from typing import Any

from picassoclient.osc import values

_FIELD = r"[A-Za-z][A-Za-z0-9_.\[\]-]*"
_COMPARED = re.compile(rf"(?P<field>{_FIELD})(?P<sign>!=|>=|<=|\^=|\$=|=)(?P<value>.*)", re.DOTALL)
_THERE = re.compile(rf"(?P<no>!?)(?P<field>{_FIELD})")
_SIGNS = {"!=": "not_equals", ">=": "at_least", "<=": "at_most", "^=": "prefix", "$=": "suffix"}

HELP = (
    "A condition on the event; all must hold (may be repeated). FIELD=VALUE (with * in VALUE: a pattern), "
    "FIELD!=VALUE, FIELD^=PREFIX, FIELD$=SUFFIX, FIELD>=NUMBER, FIELD<=NUMBER, FIELD (is there), !FIELD (is not), "
    "or JSON. Fields: type, source, subject, id, data.a.b[0]. A number or true is one; '\"5\"' is the text"
)


def condition(text: str) -> dict[str, Any]:
    """One condition of a filter."""
    if text.lstrip().startswith(("{", "@")):
        return values.json_object(text)
    if there := _THERE.fullmatch(text):
        return {"field": there["field"], "exists": not there["no"]}
    compared = _COMPARED.fullmatch(text)
    if compared is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a condition, like type=compute.instance.* or data.size>=1024"
        )
    field, sign, value = compared["field"], compared["sign"], compared["value"]
    if sign == "=" and "*" in value:
        return {"field": field, "glob": value}
    if sign in ("^=", "$="):
        return {"field": field, _SIGNS[sign]: value}
    scalar = _scalar(value)
    if sign in (">=", "<=") and (isinstance(scalar, bool) or not isinstance(scalar, int | float)):
        raise argparse.ArgumentTypeError(f"{text!r}: {value!r} is not a number")
    return {"field": field, _SIGNS.get(sign, "equals"): scalar}


def _scalar(value: str) -> Any:
    try:
        decoded = json.loads(value)
    except ValueError:
        return value
    return value if isinstance(decoded, dict | list) else decoded
