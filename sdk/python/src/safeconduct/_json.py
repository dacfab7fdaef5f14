"""JSON of strangers, read strictly: valid UTF-8, no name twice in one object, no NaN; and written only as deep as others read it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Dict, List, Tuple, Union

MAX_DEPTH = 128


class Number(str):
    """A number as it was written."""


class Malformed(ValueError):
    """It is no JSON that is accepted here. The message quotes nothing of it."""


def _members(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):  # readers differ in which of the two counts
        raise Malformed("an object has the same name twice")
    return out


def _constant(_: str) -> Any:
    raise Malformed("it has a number that JSON does not have")


def parse(text: Union[bytes, str], exact: bool = False) -> Any:
    """Returns the value; if exact, with numbers as they were written (Number)."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if exact:
            return json.loads(text, object_pairs_hook=_members, parse_constant=_constant, parse_float=Number, parse_int=Number)
        return json.loads(text, object_pairs_hook=_members, parse_constant=_constant)
    except Malformed:
        raise
    except UnicodeDecodeError:
        raise Malformed("it is no UTF-8") from None
    except (ValueError, RecursionError):
        raise Malformed("it is no JSON") from None


def write(value: Any) -> str:
    """Returns the value as JSON: Numbers as they were written, decimals as text, since JSON's numbers are not exact."""
    out: List[str] = []
    _write(out, value, 0)
    return "".join(out)


def _write(out: List[str], v: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Malformed("it is nested deeper than %d" % MAX_DEPTH)
    if isinstance(v, Number):
        out.append(str(v))
    elif isinstance(v, Decimal):
        if not v.is_finite():
            raise Malformed("it has a number that JSON does not have")
        out.append('"' + format(v, "f") + '"')
    elif v is None or isinstance(v, (bool, int, float, str)):
        try:
            text = json.dumps(v, allow_nan=False, ensure_ascii=False)
            text.encode("utf-8")
        except (ValueError, RecursionError):
            raise Malformed("it has a text or a number that JSON does not have") from None
        out.append(text)
    elif isinstance(v, dict):
        out.append("{")
        for i, (name, below) in enumerate(v.items()):
            if type(name) is not str:
                raise Malformed("a name is no text")
            if i:
                out.append(",")
            _write(out, name, depth)
            out.append(":")
            _write(out, below, depth + 1)
        out.append("}")
    elif isinstance(v, (list, tuple)):
        out.append("[")
        for i, below in enumerate(v):
            if i:
                out.append(",")
            _write(out, below, depth + 1)
        out.append("]")
    else:
        raise Malformed("a value of the type %s is no JSON" % type(v).__name__)
