"""Guards stand before acts: one happens only if it may, and only as its obligations say."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
from dataclasses import replace
from typing import Any, Callable, Dict, Generator, List, Mapping, Optional, Tuple, TypeVar, Union, cast

from . import keys
from ._http import printable
from ._json import Malformed, parse, write
from ._steps import Step, call, run, run_async, sleep
from .client import ALLOW, MAX_DUTIES, REFUSE, AccessRequest, Client, Decision, EntityLike, Request, Task
from .errors import ForbiddenError, InvalidError, Refused, SafeconductError, UnavailableError, Withheld
from .obligations import Duty, Handler, Terms, Unmet, built_in, name_of

__all__ = ["Guard", "Permit"]

F = TypeVar("F", bound=Callable[..., Any])
Ask = Callable[[Request, Decision], Union[None, str, AccessRequest]]

logger = logging.getLogger("safeconduct")
_OURS = object()
Moment = Tuple[float, float]  # by the wall clock, and by the monotonic one


class Permit:
    """Permission for one act: a decision that allows, whose obligations before the act were met. Only a Guard makes one.

    It is a context manager, also an asynchronous one: the act is what happens within, once, and at the end the outcome is
    reported. What changes the result of the act is applied by shape, without which the result must not be shown.
    """

    def __init__(self, ours: object, client: Client, decision: Decision, task: Optional[Task], terms: Terms, met: List[str],
                 moment: Moment = (0.0, 0.0), fresh: float = 0.0) -> None:
        if ours is not _OURS:
            raise TypeError("a permit is made by a Guard")
        self._client, self._decision, self._task, self._terms = client, decision, task, terms
        self._met = list(met)
        self._answered, self._fresh = moment, fresh
        self._used = self._shaped = self._done = False
        self._began = 0.0
        self._size: Optional[int] = None
        self.unreported: Optional[Exception] = None  # why the service does not know what came of the act

    @property
    def decision(self) -> str:
        """The id of the decision, "" if the service has not recorded it."""
        return self._decision.id

    @property
    def tried(self) -> bool:
        """Whether the act may only be tried, and not be done."""
        return self._terms.tries

    @property
    def whole(self) -> bool:
        """Whether the result must go through shape before anybody sees it."""
        return bool(self._terms.shapes)

    @property
    def until(self) -> Optional[float]:
        """When the approval ends on which it stands, in seconds since 1970; None if it stands on none."""
        return self._decision.until.timestamp() if self._decision.until is not None else None

    @property
    def met(self) -> List[str]:
        """The ids of the obligations that are met."""
        left = {id for id, _ in self._terms.shapes} if not self._shaped else set()
        return [id for id in self._met if id not in left]

    def use(self) -> None:
        """Begins the act. Refused: it was begun before, the approval is over, or the decision is too old (Guard's fresh). `with` does
        this by itself."""
        if self._used:
            raise _refused(self._decision, "permit_used", "A permit is for one act.", self._task)
        self._used = True
        if self.until is not None and keys.now() >= self.until:
            raise _refused(self._decision, "approval_expired", "The approval ended before the act could begin.", self._task)
        if _age(self._answered) >= self._fresh:
            raise _stale(self._decision, self._task)
        self._began = time.monotonic()

    def shape(self, result: Any) -> Any:
        """Returns the result as it may be seen. Withheld: it cannot be changed as it has to be, and must not be shown."""
        if self._size is None:
            self._size = _size(result)
        for _, f in self._terms.shapes:
            cause = None
            try:
                result = f(result)
            except Exception as e:
                cause = e
            if cause is not None:
                raise Withheld(cause)
        self._shaped = True
        return result

    def done(self, *, fault: str = "", result: str = "", latency: Optional[float] = None, size: Optional[int] = None) -> None:
        """Reports the outcome, once; later calls do nothing. `with` does this by itself."""
        if self._done or not self.decision:
            return
        self._done = True
        if latency is None:
            latency = time.monotonic() - self._began if self._began else 0.0
        try:
            self._client.outcome(self.decision, fault=fault, result=result, latency=latency, size=size if size is not None else self._size,
                                 met=[] if self._client.for_agent else self.met)  # which an agent cannot say of itself
        except SafeconductError as e:
            self.unreported = e
            logger.warning("the outcome of %s is not reported: %s", self.decision, e)

    def __enter__(self) -> Permit:
        self.use()
        return self

    def __exit__(self, kind: Any, error: Optional[BaseException], _: Any) -> None:
        self.done(fault=_fault(error))
        self._reveal(error)

    async def __aenter__(self) -> Permit:
        self.use()
        return self

    async def __aexit__(self, kind: Any, error: Optional[BaseException], _: Any) -> None:
        await asyncio.shield(asyncio.to_thread(self.done, fault=_fault(error)))
        self._reveal(error)

    def _reveal(self, error: Optional[BaseException]) -> None:
        """Raises Withheld if obligations were to change the result, and it was not, or an error tells of it."""
        if self.whole and isinstance(error, Exception) and not isinstance(error, Withheld):
            raise Withheld(error) from None
        if self.whole and error is None and not self._shaped:
            raise Withheld(Unmet("the result was not given to shape"))

    def __repr__(self) -> str:
        return "<Permit by %s>" % (self.decision or "a decision that is not recorded")

    def __reduce__(self) -> Any:
        raise TypeError("a permit is not pickled")


class Guard:
    """Asks whether an act may happen, meets the obligations, has persons asked, and lets the act happen only if all of that
    went well. It is safe for concurrent use.

    handlers meet obligations by their names; without, built_in() does. ask is called when an act was refused that persons can
    be asked about: it returns the justification that they are shown, or an AccessRequest, or None if nobody is to be asked.
    asks is how often persons are asked about one act at most. timeout is in seconds, for meeting one obligation.

    fresh is how many seconds a decision counts before its act begins, from the answer on. If meeting the obligations takes longer, such
    as a delay, it is asked once more, and what is obliged to again with the same words is not met again, but for what says how the
    act happens. A question with an approval draws another use of it then; one with a proof, which counts once, is refused.
    """

    def __init__(self, client: Client, *, subject: Optional[EntityLike] = None, handlers: Optional[Mapping[str, Handler]] = None,
                 ask: Optional[Ask] = None, asks: int = 1, timeout: float = 60.0,
                 fresh: float = 60.0) -> None:
        self.client, self._subject = client, subject
        self._handlers: Dict[str, Handler] = dict(built_in() if handlers is None else handlers)
        self._ask, self._asks, self._timeout, self._fresh = ask, asks, timeout, fresh

    def permit(self, request: Request, *, shapes: bool = False, can_try: bool = False) -> Permit:
        """Returns permission for the act, or raises Refused.

        shapes is whether the caller will give the result to Permit.shape, and can_try whether it heeds Permit.tried: what is
        not promised here, an obligation cannot demand, and refuses.
        """
        return cast(Permit, run(self._permitting(request, shapes, can_try)))

    async def permit_async(self, request: Request, *, shapes: bool = False, can_try: bool = False) -> Permit:
        """Is permit. Handlers may be coroutine functions."""
        return cast(Permit, await run_async(self._permitting(request, shapes, can_try)))

    def __call__(self, function: Optional[F] = None, *, action: str = "", resource: Union[EntityLike, Callable[[Mapping[str, Any]], EntityLike], None] = None,
                 subject: Union[EntityLike, Callable[[Mapping[str, Any]], EntityLike], None] = None,
                 arguments: Optional[Callable[[Mapping[str, Any]], Mapping[str, Any]]] = None, context: Union[Mapping[str, Any], Callable[[], Mapping[str, Any]]] = {},
                 observed: Union[Mapping[str, Any], Callable[[], Mapping[str, Any]]] = {}, dry_run: Optional[Callable[..., Any]] = None) -> Any:
        """Decorates a function, or a coroutine function, so that calling it is an act that must be permitted.

        The action is the function's name, its properties are the arguments by name (defaults too; None is left out, self as well;
        decimals become text), and the resource is ("tool", action); each can be said otherwise, by a value or by a function
        of the arguments. dry_run is called instead, with the same arguments, if the act may only be tried. The call returns what
        the function does, as it may be seen, or raises Refused, Withheld, or what the function raises.
        """

        def decorate(f: F) -> F:
            if inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f):
                raise TypeError("a generator does its act when nobody looks any more: it cannot be guarded")
            signature = inspect.signature(f)
            name = action or f.__name__

            def request(bound: inspect.BoundArguments) -> Request:
                given = _arguments(bound)
                properties = dict(arguments(given)) if arguments is not None else {n: v for n, v in given.items() if v is not None}
                return Request(action=name, resource=_said(resource, given) or ("tool", name),
                               subject=_said(subject, given) or self._subject,
                               properties=properties, context=_moment(context),
                               observed=_moment(observed))

            def begin(args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Tuple[inspect.BoundArguments, Request]:
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                return bound, _snapshot(request(bound))

            def target(permit: Permit, bound: inspect.BoundArguments, asked: Request) -> Callable[[], Any]:
                now = _snapshot(request(bound))
                if (now.properties, now.resource, now.subject) != (asked.properties, asked.resource, asked.subject):
                    raise _refused(permit._decision, "invalid_request", "The arguments changed while the decision was made.", permit._task)
                g: Callable[..., Any] = f
                if permit.tried and dry_run is not None:
                    g = dry_run
                return lambda: g(*bound.args, **bound.kwargs)

            @functools.wraps(f)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                bound, asked = begin(args, kwargs)
                permit = self.permit(asked, shapes=True, can_try=dry_run is not None)
                act = target(permit, bound, asked)
                with permit:
                    result = act()
                    if inspect.isawaitable(result):
                        if hasattr(result, "close"):
                            result.close()
                        raise TypeError("what is guarded returned a coroutine: guard a coroutine function")
                    return permit.shape(result)

            @functools.wraps(f)
            async def guarded_async(*args: Any, **kwargs: Any) -> Any:
                bound, asked = begin(args, kwargs)
                permit = await self.permit_async(asked, shapes=True, can_try=dry_run is not None)
                act = target(permit, bound, asked)
                async with permit:
                    result = act()
                    if inspect.isawaitable(result):
                        left = None if permit.until is None else permit.until - keys.now()
                        result = await asyncio.wait_for(result, left)
                    return permit.shape(result)

            return cast(F, guarded_async if inspect.iscoroutinefunction(f) else guarded)

        return decorate if function is None else decorate(function)

    def _permitting(self, request: Request, shapes: bool, can_try: bool) -> Generator[Step, Any, Permit]:
        q = self._declare(_snapshot(request if request.subject is not None or self._subject is None else replace(request, subject=self._subject)), shapes, can_try)
        approval = task = None
        asked = retried = 0
        stepped = renewed = False
        prior: List[str] = []  # obligations that were met for an answer that is stale by now
        while True:
            try:
                d: Decision = yield call(lambda: self.client.decide(q, approval))
            except SafeconductError as e:
                code = "invalid_request" if isinstance(e, InvalidError) else "unavailable"
                raise Refused(Decision(REFUSE, code), task=task, cause=e) from e
            answered = _moment_now()
            terms = Terms(can_try, shapes)
            met, unmet, lasting = yield from self._meet(q, d, terms, prior if d.effect == ALLOW else [])
            if d.effect == ALLOW:
                if unmet:
                    raise Refused(replace(d, effect=REFUSE, code="obligation_unsupported"), task=task, cause=Unmet("; ".join(unmet)))
                if _age(answered) < self._fresh:
                    return Permit(_OURS, self.client, d, task, terms, met, answered, self._fresh)
                if renewed or (q.presented is not None and q.presented.proof):
                    raise _stale(d, task)
                renewed, prior = True, lasting
                continue
            next = d.next()
            if next == "request" and self._ask is not None and asked < self._asks and d.offer is not None:
                ask = self._ask
                r = yield call(lambda: ask(q, d))
                if r is None:
                    raise Refused(d, task=task)
                asked += 1
                wish = AccessRequest(justification=r) if isinstance(r, str) else r
                offer = d.offer
                try:
                    task = yield call(lambda: self.client.request_access(q, offer, wish))
                    task = yield from self.client._awaiting(task)
                except SafeconductError as e:
                    raise Refused(d, task=task, cause=e) from e
                if task.approval is None:
                    raise Refused(d, task=task, cause=ForbiddenError("the access request is %s" % task.status))
                approval = task.approval
            elif next == "retry" and approval is not None:
                wait = d.retry_after or min(3.0 * 2 ** min(retried, 5), 60.0)
                retried += 1
                if not approval.usable(keys.now() + wait):
                    raise Refused(d, task=task)
                yield sleep(wait)
            elif next == "none" and not unmet and not stepped and any(isinstance(o, dict) and o.get("type") == "step-up" for o in d.obligations):
                stepped = True  # meeting it has changed who asks: that is worth one more question
            else:
                raise Refused(d, task=task, cause=Unmet("; ".join(unmet)) if unmet else None)

    def _declare(self, q: Request, shapes: bool, can_try: bool) -> Request:
        """Adds which obligations can be met here, so that the service need not allow what would be refused here."""
        if self.client.for_agent or "supported_obligations" in q.observed:
            return q
        types = sorted(n for n in self._handlers if (shapes or n != "mask") and (can_try or n != "dry-run"))
        return replace(q, observed={**q.observed, "supported_obligations": types})

    def _meet(self, q: Request, d: Decision, terms: Terms, prior: List[str]) -> Generator[Step, Any, Tuple[List[str], List[str], List[str]]]:
        """Meets all obligations that it can, but those of prior, and returns which those are, why not the others, and which say
        nothing of how the act happens. All of them are tried, also if one cannot be met, and of a refusal too."""
        met: List[str] = []
        lasting: List[str] = []
        unmet: List[str] = []
        seen = set()
        if len(d.obligations) > MAX_DUTIES:
            unmet.append("the answer has %d obligations, more than %d" % (len(d.obligations), MAX_DUTIES))
        for o in d.obligations[:MAX_DUTIES]:
            try:
                id, name, properties = name_of(o)
                if id in seen:
                    raise Unmet("it is malformed: its id is that of another")
                seen.add(id)
                handler = self._handlers.get(name) or (self._handlers.get("custom") if o["type"] == "custom" else None)
                if handler is None:
                    raise Unmet("nobody here knows how")
                words = write(o)
                if words in prior:
                    met.append(id)
                    lasting.append(words)
                    continue
                duty = Duty(id, name, properties, q, d, terms)
                changes = len(terms.shapes)
                began = time.monotonic()
                yield call(functools.partial(handler, duty))
                if time.monotonic() - began > self._timeout:
                    raise Unmet("it took too long")
                met.append(id)
                if len(terms.shapes) == changes and not terms.tries:
                    lasting.append(words)
            except Exception as e:
                label = o if isinstance(o, dict) else {}
                unmet.append("obligation %r of type %r is not met: %s" % (printable(label.get("id"), 64), printable(label.get("type"), 64), e))
        if terms.waits:
            yield sleep(max(until for until, _ in terms.waits) - keys.now())
        return met, unmet, lasting


def _snapshot(q: Request) -> Request:
    """Returns the request with its properties as JSON has them, so that nothing changes after it was asked about."""
    try:
        return replace(q, properties=parse(write(dict(q.properties))), context=parse(write(dict(q.context))), observed=parse(write(dict(q.observed))))
    except (Malformed, TypeError) as e:
        raise InvalidError("the arguments are no JSON: %s" % e) from None


def _said(e: Union[EntityLike, Callable[[Mapping[str, Any]], EntityLike], None], given: Mapping[str, Any]) -> Optional[EntityLike]:
    return e if e is None or isinstance(e, tuple) else e(given)


def _moment(m: Union[Mapping[str, Any], Callable[[], Mapping[str, Any]]]) -> Mapping[str, Any]:
    return m if isinstance(m, Mapping) else m()


def _arguments(bound: inspect.BoundArguments) -> Dict[str, Any]:
    out: Dict[str, Any] = {}
    for i, (name, p) in enumerate(bound.signature.parameters.items()):
        if i == 0 and name in ("self", "cls"):
            continue
        more = bound.arguments[name] if p.kind is p.VAR_KEYWORD else {name: bound.arguments[name]}
        for n, v in more.items():
            if n in out:
                raise InvalidError("two arguments have the name %s" % n)
            out[n] = list(v) if p.kind is p.VAR_POSITIONAL else v
    return out


def _refused(d: Decision, code: str, message: str, task: Optional[Task]) -> Refused:
    return Refused(replace(d, effect=REFUSE, code=code), task=task, cause=ForbiddenError(message))


def _stale(d: Decision, task: Optional[Task]) -> Refused:
    return _refused(d, "permit_stale", "The act was permitted too long ago: ask again.", task)


def _moment_now() -> Moment:
    return keys.now(), time.monotonic()


def _age(since: Moment) -> float:
    """Returns how many seconds have passed: by the wall clock if a machine that slept has stopped the other one."""
    wall, monotonic = _moment_now()
    return max(wall - since[0], monotonic - since[1])


def _fault(error: Optional[BaseException]) -> str:
    """Returns how an act failed technically; "" if it did not. What is withheld has happened."""
    if error is None or isinstance(error, Withheld):
        return ""
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return "timeout"
    return "tool"


def _size(result: Any) -> Optional[int]:
    if isinstance(result, (bytes, bytearray)):
        return len(result)
    try:
        return len((result if isinstance(result, str) else write(result)).encode("utf-8"))
    except (Malformed, UnicodeEncodeError):
        return None
