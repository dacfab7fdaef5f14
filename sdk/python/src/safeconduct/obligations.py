"""Meeting the obligations of a decision (AuthZEN obligations profile, draft 1): before the act, or not at all."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from . import keys
from ._json import MAX_DEPTH, Malformed, Number, parse, write
from .client import ALLOW, Decision, Request

__all__ = ["Duty", "Handler", "built_in", "meet_mask", "meet_cap", "meet_dry_run", "meet_delay", "meet_log"]

MAX_PROPERTIES = 64 << 10
MAX_FIELDS = 64
MAX_FIELD = 256
MAX_LOGGED = 256
MAX_DELAY = 48 * 3600.0

Shape = Callable[[Any], Any]


class Unmet(Exception):
    """An obligation cannot be met."""


@dataclass
class Terms:
    """How an act may happen, as its obligations say."""

    can_try: bool
    can_shape: bool
    tries: bool = False
    shapes: List[Tuple[str, Shape]] = field(default_factory=list)
    waits: List[Tuple[float, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Duty:
    """One obligation that is to be met. What it says comes from the service, and may repeat what an agent wrote."""

    id: str
    type: str  # for custom ones the name in their property "obligation"
    properties: Mapping[str, Any]
    request: Request
    decision: Decision
    _terms: Terms = field(repr=False)

    @property
    def act(self) -> bool:
        """Whether an act is to happen if all obligations are met: the decision is no refusal."""
        return self.decision.effect == ALLOW

    def result(self, f: Shape) -> None:
        """Has f change the result of the act before anybody sees it. If f fails, nobody sees it."""
        if self.act and not self._terms.can_shape:
            raise Unmet("nobody here applies it to the result of the act")
        self._terms.shapes.append((self.id, f))

    def dry_run(self) -> None:
        """Has the act be tried only."""
        if self.act and not self._terms.can_try:
            raise Unmet("nobody here knows how to try this act without doing it")
        self._terms.tries = True

    def wait(self, until: float) -> None:
        """Has the act, or the refusal, wait until that moment, in seconds since 1970."""
        self._terms.waits.append((until, self.id))

    def only(self, *names: str) -> None:
        """Refuses properties with members of other names: what is not understood is not met."""
        if set(self.properties) - {"obligation", *names}:
            raise Unmet("it is malformed: it has members that are not understood")


Handler = Callable[[Duty], Any]
"""Meets one obligation, or raises. It is called for refusals too. One that is a coroutine function needs an asynchronous guard."""


def built_in(logger: Optional[logging.Logger] = None) -> Dict[str, Handler]:
    """Returns handlers of the types that need nothing else: mask, cap, dry-run, delay of at most a minute and, with a logger, log."""
    handlers: Dict[str, Handler] = {"mask": meet_mask, "cap": meet_cap, "dry-run": meet_dry_run, "delay": meet_delay(60.0)}
    if logger is not None:
        handlers["log"] = meet_log(logger)
    return handlers


def name_of(o: Any) -> Tuple[str, str, Mapping[str, Any]]:
    """Returns id, the name by which an obligation is met, and its properties; Unmet if it is malformed."""
    if not isinstance(o, dict) or not all(isinstance(o.get(m), str) and o[m] for m in ("id", "type")) or not isinstance(o.get("properties"), dict):
        raise Unmet("it is malformed: id, type and properties must be there")
    if set(o) - {"id", "type", "properties"}:
        raise Unmet("it is malformed: it has members that are not understood")
    p = o["properties"]
    if len(write(p)) > MAX_PROPERTIES:
        raise Unmet("it has more than %d bytes" % MAX_PROPERTIES)
    required = {"step-up": ("acr_value",), "notification": ("to", "body"), "session_termination": ("subject",)}
    for member in required.get(o["type"], ()):
        if not isinstance(p.get(member), str) or not p[member]:
            raise Unmet("it is malformed: it lacks %s" % member)
    if o["type"] == "custom" and isinstance(p.get("obligation"), str) and p["obligation"]:
        return o["id"], p["obligation"], p
    return o["id"], o["type"], p


# --- mask ---


def meet_mask(d: Duty) -> None:
    """Hides "fields" of the result: names, each of which means every member of that name, or JSON pointers (RFC 6901). Names are
    the same in upper and in lower case. What stands there becomes the text "with", or ***.

    The result is what JSON has (dict, list, text, number, None), or a text or bytes that are JSON. Anything else cannot be masked
    and is withheld, and so is what has a name twice in one object or is nested too deep.
    """
    d.only("fields", "with")
    fields, instead = d.properties.get("fields"), d.properties.get("with", "***")
    if not isinstance(fields, list) or not 0 < len(fields) <= MAX_FIELDS or not isinstance(instead, str) or len(instead.encode()) > MAX_FIELD:
        raise Unmet("it is malformed: it has no fields, too many, or too much to put in their place")
    names: Set[str] = set()
    places: Set[Tuple[str, ...]] = set()
    for f in fields:
        at = tokens(f)
        if at is None:
            names.add(f.casefold())
        else:
            places.add(tuple(t.casefold() for t in at))
    d.result(lambda result: mask(result, names, places, instead))


def mask(result: Any, names: Set[str], places: Set[Tuple[str, ...]], instead: str) -> Any:
    if isinstance(result, (str, bytes)):
        try:
            value = parse(result, exact=True)
        except Malformed:
            raise Unmet("the result is no JSON, so that nothing in it can be hidden") from None
        text = write(_masked(value, names, places, instead, (), 0))
        return text if isinstance(result, str) else text.encode()
    return _masked(result, names, places, instead, (), 0)


def _masked(v: Any, names: Set[str], places: Set[Tuple[str, ...]], instead: str, at: Tuple[str, ...], depth: int) -> Any:
    if at in places:
        return instead
    if depth > MAX_DEPTH:
        raise Unmet("the result is nested deeper than %d" % MAX_DEPTH)
    if v is None or isinstance(v, (bool, int, float, str, Decimal)):
        return v
    if type(v) is dict:
        out = {}
        for name, below in v.items():
            if type(name) is not str:
                raise Unmet("the result has a name that is no text")
            folded = name.casefold()
            out[name] = instead if folded in names else _masked(below, names, places, instead, at + (folded,), depth + 1)
        return out
    if type(v) in (list, tuple):
        below = [_masked(x, names, places, instead, at + (str(i),), depth + 1) for i, x in enumerate(v)]
        return below if type(v) is list else tuple(below)
    raise Unmet("the result has a %s, which is no JSON" % type(v).__name__)


def tokens(f: Any) -> Optional[Tuple[str, ...]]:
    """Returns the reference tokens of a JSON pointer, None if the field is a name."""
    if not isinstance(f, str) or not 0 < len(f.encode("utf-8", "replace")) <= MAX_FIELD:
        raise Unmet("it is malformed: a field is no short text")
    if not f.startswith("/"):
        return None
    if re.search(r"~(?![01])", f):
        raise Unmet("it is malformed: a field is no JSON pointer")
    return tuple(t.replace("~1", "/").replace("~0", "~") for t in f[1:].split("/"))


# --- the others ---


def meet_cap(d: Duty) -> None:
    """Lets the act happen only if "argument", a name or JSON pointer of the action's properties, is at most "most". All members
    of that name count. One that is not there, or is no decimal number without sign, refuses. Names are the same in upper and in
    lower case, and where two in one object differ by that only, readers differ in which of the two counts: that refuses."""
    d.only("argument", "most")
    most, argument = amount(d.properties.get("most")), d.properties.get("argument")
    if most is None or not isinstance(d.properties.get("most"), str):
        raise Unmet("it is malformed: most is no decimal number as text")
    tokens(argument)
    if not d.act:
        return
    found, twice = lookup(d.request.properties, str(argument))
    if twice:
        raise Unmet("the argument stands there in two cases, which could be read in two ways")
    if not found:
        raise Unmet("the act has no such argument")
    for v in found:
        x = amount(v)
        if x is None:
            raise Unmet("the argument is no decimal number that is not negative")
        if x > most:
            raise Unmet("the argument is more than %s" % d.properties["most"])


def amount(v: Any) -> Optional[Decimal]:
    """Reads a decimal number without sign and exponent, exactly. A float is what JSON makes of it."""
    if isinstance(v, bool):
        return None
    if isinstance(v, (int, float, Decimal)):
        v = format(v, "f") if isinstance(v, Decimal) else repr(v)
    if not isinstance(v, str) or len(v) > 64 or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", v):
        return None
    return Decimal(v)  # comparisons are exact, whatever the context's precision


def meet_dry_run(d: Duty) -> None:
    """Has the act be tried only."""
    d.only()
    d.dry_run()


def meet_delay(longest: float) -> Handler:
    """Has the act wait "for" some time (90s, 2h, 1d), and not happen before "until". What takes longer than longest, in
    seconds, is not waited for: the act is refused at once."""

    def meet(d: Duty) -> None:
        d.only("for", "until")
        now, until = keys.now(), 0.0
        if not ("for" in d.properties or "until" in d.properties):
            raise Unmet("it is malformed: it says neither for how long nor until when")
        if "until" in d.properties:
            at = keys.instant(d.properties["until"])
            if at is None:
                raise Unmet("it is malformed: until is no time of RFC 3339")
            until = at.timestamp()
        if "for" in d.properties:
            until = max(until, now + length(d.properties["for"]))
        most = min(longest, MAX_DELAY)
        if until - now > most:
            raise Unmet("it is longer than the %g seconds that are waited here" % most)
        d.wait(until)

    return meet


def length(s: Any) -> float:
    """Reads a length of time as the catalog has it: 90s, 15m, 1h30m, or whole days."""
    if isinstance(s, str) and len(s) <= 32:
        if re.fullmatch(r"[0-9]{1,4}d", s) and int(s[:-1]) > 0:
            return int(s[:-1]) * 86400.0
        if re.fullmatch(r"([0-9]+(\.[0-9]+)?(h|m|s|ms))+", s):
            unit = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
            total = sum(float(n) * unit[u] for n, _, u in re.findall(r"([0-9]+(\.[0-9]+)?)(ms|h|m|s)", s))
            if total > 0:
                return total
    raise Unmet("it is malformed: it has no length of time")


def meet_log(logger: logging.Logger) -> Handler:
    """Logs what was decided, and of the act's arguments the "fields", at the "level" debug, info (the default), warn or error.
    A logger that does not log this level does not meet it."""
    levels = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

    def meet(d: Duty) -> None:
        d.only("fields", "level")
        fields, level = d.properties.get("fields", []), levels.get(d.properties.get("level", "info"))
        if level is None or not isinstance(fields, list) or len(fields) > MAX_FIELDS:
            raise Unmet("it is malformed: there is no such level, or there are too many fields")
        q = d.request
        subject = ":".join(q.subject[:2]) if q.subject is not None else ""
        entry = {"obligation": d.id, "decision": d.decision.id, "allowed": str(d.act).lower(), "code": d.decision.code, "subject": subject,
                 "action": q.action, "resource": ":".join(q.resource[:2])}
        for f in fields:
            tokens(f)
            for v in lookup(q.properties, f)[0][:MAX_FIELDS]:
                entry["argument " + f] = v if isinstance(v, str) else write(v)
        if not logger.isEnabledFor(level):
            raise Unmet("nothing of that level is logged here")
        logger.log(level, "obliged to log: %s", " ".join('%s="%s"' % (loggable(n).replace('"', "'"), loggable(v).replace('"', "'")) for n, v in entry.items()))

    return meet


def loggable(s: str) -> str:
    """Returns s, clipped, with a ? for what is no printable character: controls, bidirectional overrides."""
    clipped = s[:MAX_LOGGED] + ("..." if len(s) > MAX_LOGGED else "")
    return "".join(c if c.isprintable() else "?" for c in clipped)


def lookup(properties: Any, f: str) -> Tuple[List[Any], bool]:
    """Returns the values that a field, a name or a JSON pointer, means in the arguments, and whether two names in one object,
    which differ by upper and lower case only, are meant."""
    at = tokens(f)
    if at is None:
        return _members(properties, f.casefold())
    found, twice = [properties], False
    for t in at:
        below: List[Any] = []
        for v in found:
            if isinstance(v, Mapping):
                here = [v[n] for n in sorted(v) if n.casefold() == t.casefold()]
                twice = twice or len(here) > 1
                below.extend(here)
            elif isinstance(v, (list, tuple)) and re.fullmatch(r"0|[1-9][0-9]{0,8}", t) and int(t) < len(v):
                below.append(v[int(t)])
        found = below
    return found, twice


def _members(v: Any, folded: str) -> Tuple[List[Any], bool]:
    found: List[Any] = []
    twice = False
    if isinstance(v, Mapping):
        here = [v[n] for n in sorted(v) if n.casefold() == folded]
        found, twice = here, len(here) > 1
        deeper = [v[n] for n in sorted(v) if n.casefold() != folded]
    else:
        deeper = list(v) if isinstance(v, (list, tuple)) else []
    for below in deeper:
        more, again = _members(below, folded)
        found, twice = found + more, twice or again
    return found, twice
