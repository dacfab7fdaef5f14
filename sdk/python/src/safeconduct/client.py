"""Asking for decisions, asking persons, and saying what came of it."""

from __future__ import annotations

import asyncio
import math
import random
import re
import secrets
import ssl
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import Any, Dict, Generator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union
from urllib.parse import urlsplit

from . import keys
from ._http import MAX_ANSWER, TIMEOUT, Pool, Response, origin, printable, refusal, retry, retry_after_of, safe, split
from ._json import Malformed, parse, write
from ._steps import Step, call, run, run_async, sleep
from .agent import Tokens
from .errors import (
    ConflictError, ForbiddenError, InvalidError, NotFoundError, SafeconductError, UnauthenticatedError, UnavailableError,
)

__all__ = [
    "Client", "Request", "Entity", "Presented", "Decision", "Reason", "Change", "Offer", "AccessRequest", "Approval", "Task",
]

ALLOW, REFUSE = "allow", "refuse"
MAX_DUTIES = 64


class Entity(NamedTuple):
    """A subject or a resource. A tuple of type and id does as well."""

    type: str
    id: str
    properties: Mapping[str, Any] = {}


EntityLike = Union[Entity, Tuple[str, str], Tuple[str, str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Presented:
    """The token that an agent presented to this enforcement point, and the request that it came with: the DPoP proof counts
    once, and whether it was used before is the enforcement point's to check."""

    token: str = field(repr=False)
    audience: str = ""
    proof: str = field(default="", repr=False)
    method: str = ""
    url: str = ""
    certificate: str = ""


@dataclass(frozen=True)
class Request:
    """An act that somebody wants to do.

    properties are the arguments of the action, and context is what is claimed of the moment. observed is what an enforcement
    point saw itself (ip, session, task, provenance); an agent that asks for itself cannot say it. The subject is left
    out if the agent asks for itself, or presented a token.
    """

    action: str
    resource: EntityLike
    subject: Optional[EntityLike] = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    on_behalf_of: Sequence[EntityLike] = ()
    observed: Mapping[str, Any] = field(default_factory=dict)
    presented: Optional[Presented] = None


class Reason(NamedTuple):
    """Why, as far as the agent may know."""

    code: str
    message: str


class Change(NamedTuple):
    """One change of those that would turn a refusal into permission."""

    who: str
    kind: str
    target: str
    to: str
    hint: str


@dataclass(frozen=True)
class Offer:
    """How persons can be asked about one refusal, and until when. It is handed to Client.request_access as it is."""

    expires: datetime
    endpoint: str = ""
    template: str = ""
    display: Any = None
    _denial: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Decision:
    """What was decided. It is no permission: that is a Permit, which a Guard makes once the obligations are met. It has no
    truth value, so that `if decision:` is an error and not a hole.

    effect is "allow" or "refuse". id names the record, "" if there is none. reason, next_action and retry_after are what the
    service says of an approval, and until is when a permission that stands on one ends.
    """

    effect: str
    code: str
    id: str = ""
    reasons: Sequence[Reason] = ()
    changes: Sequence[Change] = ()
    remedies: Sequence[str] = ()
    obligations: Sequence[Any] = ()
    offer: Optional[Offer] = None
    reason: str = ""
    next_action: str = ""
    retry_after: float = 0.0
    until: Optional[datetime] = None

    def __bool__(self) -> bool:
        raise TypeError("a decision has no truth value: look at effect, and act by a Permit of a Guard")

    def next(self) -> str:
        """What to do after a refusal: "request" (ask persons), "retry" (ask the same again later), or "none"."""
        if self.effect == ALLOW:
            return "none"
        action = self.next_action
        if action not in ("request", "retry", "none"):
            action = {"grant_pending": "retry", "policy_denied": "none", "approval_unverifiable": "none"}.get(self.reason, "request")
        return "none" if action == "request" and self.offer is None else action


@dataclass(frozen=True)
class AccessRequest:
    """What persons are told when they are asked: why, until when the approval should hold, and whether it is urgent, which is
    audited more closely."""

    justification: str = ""
    until: Optional[datetime] = None
    emergency: bool = False
    client: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Approval:
    """A reference to what persons approved. It permits nothing by itself: it is carried into the next decision."""

    id: str = field(repr=False)
    until: datetime
    _raw: str = field(repr=False, default="")

    def usable(self, at: Optional[float] = None) -> bool:
        return self.until.timestamp() > (keys.now() if at is None else at)


@dataclass(frozen=True)
class Task:
    """An access request under way. status is pending, approved, denied, expired, cancelled or failed; one that is none
    of these is not approved. approval is there only if it is approved in a way that we know how to enforce."""

    id: str
    status: str
    expires: Optional[datetime] = None
    approval: Optional[Approval] = None
    display: Any = None
    _endpoint: str = field(default="", repr=False)
    _cancel: str = field(default="", repr=False)
    _wait: float = field(default=0.0, repr=False)

    @property
    def done(self) -> bool:
        return self.status in ("approved", "denied", "expired", "cancelled", "failed", "partial")


class Client:
    """Asks one service: as an enforcement point with its bearer token, or as an agent for itself (agent_client).

    Whatever goes wrong is an error, and no decision: UnavailableError if there was no answer or none that can be
    understood. The token goes to the service and, with access requests, to the origins in trusted. It is safe for
    concurrent use.
    """

    def __init__(self, url: str, token: str = "", *, agent_tokens: Optional[Tokens] = None, agent_id: str = "", trusted: Sequence[str] = (),
                 timeout: float = TIMEOUT, ssl_context: Optional[ssl.SSLContext] = None, attempts: int = 3, insecure_http: bool = False) -> None:
        """insecure_http lets the token go over http to other hosts. Danger: whoever is on the way reads it, and can decide."""
        u = split(url)
        if u is None or "?" in url or "#" in url or not (safe(u) or insecure_http):
            raise InvalidError("%.200r is no URL of a service: https, without query and fragment (http only on loopback)" % (url,))
        if any(not "!" <= c <= "~" for c in token):
            raise InvalidError("the token has characters that no token has")
        self._base, self._origin, self._token = url.rstrip("/"), origin(u), token
        self._tokens, self.agent_id = agent_tokens, agent_id
        self._trusted = tuple(trusted)
        self._pool, self._attempts = Pool(timeout, ssl_context), attempts

    @property
    def url(self) -> str:
        return self._base

    @property
    def for_agent(self) -> bool:
        """Whether an agent asks for itself."""
        return self._tokens is not None

    def decide(self, request: Request, approval: Optional[Approval] = None) -> Decision:
        """Asks whether the act may happen. An approval that is over is not sent: the answer is then as if there were none."""
        raw = approval._raw if approval is not None and approval.usable() else ""
        body = self._question(request, raw)

        def ask() -> Decision:
            r = self._send("POST", self._base + "/access/v1/evaluation", body)
            if r.status != 200:
                raise refusal(r)
            return read_decision(r.body)

        return ask() if raw else retry(self._attempts, ask)  # an approval may be used up by the first

    async def decide_async(self, request: Request, approval: Optional[Approval] = None) -> Decision:
        """Is decide, in a thread."""
        return await asyncio.to_thread(self.decide, request, approval)

    def outcome(self, decision: Union[Decision, str], *, result: str = "", fault: str = "", latency: float = 0.0, size: Optional[int] = None,
                met: Sequence[str] = (), why: str = "") -> None:
        """Says what came of a decision, once.

        result is right, wrong, harmful or reverted; fault is tool, schema or timeout, and without one an enforcement point says
        that the act worked; latency is in seconds, size in bytes; met lists ids of obligations. ConflictError: it is
        reported already, or too old. It is sent again while the service is unavailable, for it counts once.
        """
        id = decision.id if isinstance(decision, Decision) else decision
        if not re.fullmatch(r"d[0-9]{1,19}", id):
            raise InvalidError("%.32r is no decision id: it looks like d123" % id)
        said: Dict[str, Any] = {"result": result, "fault": fault, "latency_ms": math.ceil(latency * 1000), "met": list(met), "why": why}
        body = {name: value for name, value in said.items() if value}
        if size is not None or not any(name in body for name in ("result", "fault", "latency_ms", "met")):
            body["size_bytes"] = size or 0
        text = write(body).encode()
        tries = 0

        def report() -> None:
            nonlocal tries
            tries += 1
            r = self._send("POST", self._base + "/v1/decisions/" + id + "/outcome", text)
            if r.status != 200 and not (r.status == 409 and tries > 1):  # it is recorded, and the answer to that was lost
                raise refusal(r)

        retry(self._attempts, report)

    async def outcome_async(self, decision: Union[Decision, str], **said: Any) -> None:
        """Is outcome, in a thread."""
        await asyncio.to_thread(lambda: self.outcome(decision, **said))

    def request_access(self, request: Request, offer: Offer, r: AccessRequest) -> Task:
        """Submits an access request about an act that was refused, with the offer that came with the refusal. It is sent again,
        under the same key, while the service is unavailable."""
        where = offer.endpoint or self._request_endpoint()
        parts = self._parts(request, "", presented=False)
        if "subject" not in parts:
            if not self.agent_id:
                raise InvalidError("an access request names its subject: that of the token that was presented")
            parts["subject"] = {"type": "agent", "id": self.agent_id}
        context = dict(parts.get("context", {}))
        if r.justification:
            if "business_justification" in context:
                raise InvalidError("the refused act has a business_justification in its context: an access request does not change it")
            context["business_justification"] = r.justification
        if context:
            parts["context"] = context
        access: Dict[str, Any] = {}
        if r.until is not None:
            access["requested_until"] = r.until.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        if r.emergency:
            access["emergency"] = True
        if access:
            parts["requested_access"] = access
        if r.client:
            parts["client"] = r.client
        parts["denial"] = dict(offer._denial)
        body, key = _encode(parts), secrets.token_hex(16)
        return retry(self._attempts, lambda: self._task(self._exchange("POST", where, body, {"Idempotency-Key": key}), None))

    def task(self, t: Task) -> Task:
        """Asks how far a task has come."""
        return self._task(self._exchange("GET", t._endpoint, None, {}), t)

    def cancel(self, t: Task, comment: str = "") -> Task:
        """Ends a task that waits."""
        if not t._cancel:
            raise InvalidError("the service does not let access requests be cancelled")
        return self._task(self._exchange("POST", t._cancel, _encode({"reason": "cancelled", "comment": comment}), {}), t)

    def await_approval(self, t: Task) -> Task:
        """Asks how far a task has come, until it has come to its end or its time is over (NotFoundError). It waits as long
        between as the service wants, and longer each time. While the service is unavailable it goes on."""
        done: Task = run(self._awaiting(t))
        return done

    async def await_approval_async(self, t: Task) -> Task:
        """Is await_approval; cancelling it ends the wait."""
        done: Task = await run_async(self._awaiting(t))
        return done

    def _awaiting(self, t: Task) -> Generator[Step, Any, Task]:
        pause = 3.0
        while not t.done:
            now = keys.now()
            wait = max(t._wait, pause / 2 + random.random() * pause / 2)
            if t.expires is not None:
                left = t.expires.timestamp() - now
                if left <= 0:
                    raise NotFoundError("the access request has expired unanswered")
                wait = min(wait, left + 1)
            yield sleep(wait)
            pause = min(pause * 1.5, 60.0)
            try:
                t = yield call(partial(self.task, t))
            except UnavailableError:
                pass
        return t

    def close(self) -> None:
        """Closes the connections that are kept."""
        self._pool.close()

    def _send(self, method: str, url: str, body: Optional[bytes], headers: Optional[Mapping[str, str]] = None) -> Response:
        h = dict(headers or {})
        if body is not None:
            h["Content-Type"] = "application/json"
        if self._tokens is not None:
            return self._tokens.send(method, url, h, body)
        if self._token:
            h["Authorization"] = "Bearer " + self._token
        return self._pool.send(method, url, h, body, MAX_ANSWER)

    def _exchange(self, method: str, url: str, body: Optional[bytes], headers: Mapping[str, str]) -> Response:
        """Does one request at an address that the service gave, which must lead back to it or to an origin in trusted: no
        token and no justification goes anywhere else (ARAP, Trusting URLs from the Requestable Denial)."""
        u = split(url)
        if u is None or u.fragment or origin(u) != self._origin and origin(u) not in self._trusted:
            raise ForbiddenError("the service gave the address %.200s, which is of another origin, or no URL" % printable(url, 200))
        r = self._send(method, url, body, headers)
        if r.status not in (200, 201, 202):
            raise refusal(r)
        return r

    def _request_endpoint(self) -> str:
        r = self._send("GET", self._base + "/.well-known/authzen-configuration", None)
        m = _object(r.body) if r.status == 200 else {}
        where = m.get("access_request_endpoint")
        if not isinstance(where, str) or not where:
            raise UnavailableError("neither the refusal nor the service's metadata says where to ask")
        return where

    def _question(self, q: Request, approval: str) -> bytes:
        return _encode(self._parts(q, approval, presented=True))

    def _parts(self, q: Request, approval: str, presented: bool) -> Dict[str, Any]:
        parts: Dict[str, Any] = {}
        if q.subject is not None:
            parts["subject"] = _entity(q.subject, "subject")
        if not isinstance(q.action, str) or not q.action:
            raise InvalidError("a request names its action")
        action: Dict[str, Any] = {"name": q.action}
        if q.properties:
            action["properties"] = q.properties
        parts["action"], parts["resource"] = action, _entity(q.resource, "resource")
        context = dict(q.context)
        observed = {} if self.for_agent else dict(q.observed)
        if self.for_agent and (set(q.observed) - {"supported_obligations"} or q.presented is not None):
            raise InvalidError("an agent that asks for itself cannot say what was observed")
        if presented and q.presented is not None:
            p = q.presented
            said = {"token": p.token, "proof": p.proof, "method": p.method, "url": p.url, "certificate": p.certificate, "audience": p.audience}
            observed["passport"] = {name: value for name, value in said.items() if value}
        seen: Dict[str, Any] = {}
        if observed:
            seen["observed"] = observed
        if q.on_behalf_of:
            seen["on_behalf_of"] = [_entity(e, "on_behalf_of") for e in q.on_behalf_of]
        if approval:
            seen["approval"] = parse(approval, exact=True)
        for name in seen:
            if name in context:
                raise InvalidError("the context has a member %s of its own" % name)
        context.update(seen)
        if context:
            parts["context"] = context
        return parts

    def _task(self, r: Response, before: Optional[Task]) -> Task:
        """Reads a task out of an answer."""
        m = _object(r.body)
        t = m.get("task")
        if not isinstance(t, dict) or not isinstance(t.get("status"), str) or not t["status"]:
            raise UnavailableError("the service's answer is no task")
        links = t.get("links") if isinstance(t.get("links"), dict) else {}
        endpoint = t.get("status_endpoint")
        if not isinstance(endpoint, str) or not endpoint:
            endpoint = before._endpoint if before is not None else ""
        approval = None
        if t["status"] == "approved" and not t.get("items"):
            approval = _approval(parse(r.body, exact=True).get("result"))
        return Task(id=printable(t.get("id"), 200), status=printable(t["status"], 40), expires=keys.instant(t.get("expires_at")), approval=approval,
                    display=t.get("display"), _endpoint=endpoint, _cancel=_text(links or {}, "cancel"), _wait=retry_after_of(r.header("retry-after")))


def agent_client(agent: Any, scope: Sequence[str] = (), **options: Any) -> Client:
    """Returns a client by which an agent asks the service that knows it about itself, with its own tokens. The subject is
    left out of its questions."""
    tokens = agent.tokens(scope, resource=agent.issuer)
    return Client(agent.issuer, agent_tokens=tokens, agent_id=agent.id, **options)


def read_decision(body: bytes) -> Decision:
    """Reads a decision as AuthZEN writes it. UnavailableError: it is none, or one of its members is not what it should be."""
    m = _object(body)
    x = m.get("context", {})
    allowed = m.get("decision")
    if not isinstance(allowed, bool) or not isinstance(x, dict):
        raise UnavailableError("the service's answer is no decision")
    reasons = [Reason(_text(o, "code"), _text(o, "message")) for o in _objects(x, "reasons")]
    changes = [Change(_text(o, "who"), _text(o, "kind"), _text(o, "target"), _text(o, "to"), _text(o, "hint")) for o in _objects(x, "changes")]
    remedies = _list(x, "remedies")
    if not all(isinstance(s, str) for s in remedies):
        raise UnavailableError("the service's answer is no decision: remedies")
    code = "allowed" if allowed else _text(x, "code") or "no_permit"
    after = x.get("retry_after", 0)
    id = _text(x, "evaluation_id")
    effect, until = (ALLOW if allowed else REFUSE), None
    approval = x.get("approval")
    if allowed and approval is not None:
        said = approval.get("approved_until") if isinstance(approval, dict) else None
        until = keys.instant(said)
        if until is None and said is not None or not isinstance(approval, dict):
            # It ends at a time that nobody can tell: it does not hold.
            effect, code = REFUSE, "unavailable"
            reasons = [Reason(code, "The service's answer says no time until which the approval holds.")]
    return Decision(effect=effect, code=code, id=id if re.fullmatch(r"d[0-9]{1,19}", id) else "", reasons=tuple(reasons), changes=tuple(changes),
                    remedies=tuple(remedies), obligations=tuple(_list(x, "obligations")), offer=None if allowed else _offer(x), reason=_text(x, "reason"),
                    next_action=_text(x, "next_action"), until=until,
                    retry_after=float(min(after, 86400)) if isinstance(after, (int, float)) and not isinstance(after, bool) and after > 0 else 0.0)


def _offer(x: Dict[str, Any]) -> Optional[Offer]:
    """Returns what is offered, None if that is nothing or cannot be used: it needs an end, and what binds it to the refusal."""
    o = x.get("access_request")
    if not isinstance(o, dict):
        return None
    expires = keys.instant(o.get("expires_at"))
    denial = {"expires_at": o.get("expires_at"), "binding_token": o.get("binding_token"), "template": o.get("template"),
              "evaluation_id": x.get("evaluation_id"), "evaluated_at": x.get("evaluated_at"), "reason": x.get("reason")}
    said = {name: value for name, value in denial.items() if isinstance(value, str) and value}
    if expires is None or not ("binding_token" in said or "evaluation_id" in said):
        return None
    return Offer(expires=expires, endpoint=_text(o, "endpoint"), template=_text(o, "template"), display=o.get("display"), _denial=said)


def _approval(result: Any) -> Optional[Approval]:
    """Returns the approval of a result that is enforced by asking again, None of any other."""
    if not isinstance(result, dict) or result.get("mode") != "reevaluate" or not isinstance(result.get("approval"), dict):
        return None
    a = result["approval"]
    until = keys.instant(a.get("approved_until"))
    if until is None or not isinstance(a.get("id"), str) or not a["id"]:
        return None
    return Approval(id=str(a["id"]), until=until, _raw=write(a))


def _entity(e: Any, what: str) -> Dict[str, Any]:
    if not isinstance(e, tuple) or len(e) not in (2, 3) or not all(isinstance(s, str) and s for s in e[:2]):
        raise InvalidError("the %s is no tuple of type and id" % what)
    out: Dict[str, Any] = {"type": e[0], "id": e[1]}
    if len(e) == 3 and e[2]:
        out["properties"] = e[2]
    return out


def _encode(v: Any) -> bytes:
    try:
        return write(v).encode("utf-8")
    except Malformed as e:
        raise InvalidError("the request cannot be encoded: %s" % e) from None


def _object(body: bytes) -> Dict[str, Any]:
    try:
        m = parse(body)
    except Malformed as e:
        raise UnavailableError("the service's answer cannot be read: %s" % e) from None
    if not isinstance(m, dict):
        raise UnavailableError("the service's answer is no JSON object")
    return m


def _list(m: Dict[str, Any], name: str) -> List[Any]:
    v = m.get(name)
    if v is None:
        return []
    if not isinstance(v, list):
        raise UnavailableError("the service's answer has a member %s that is no array" % name)
    return v


def _objects(m: Dict[str, Any], name: str) -> List[Dict[str, Any]]:
    out = _list(m, name)
    if not all(isinstance(o, dict) for o in out):
        raise UnavailableError("the service's answer has a member %s that is not of objects" % name)
    return out


def _text(m: Dict[str, Any], name: str) -> str:
    v = m.get(name)
    return v if isinstance(v, str) else ""
