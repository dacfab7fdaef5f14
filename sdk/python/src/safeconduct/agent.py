"""An agent, seen from its own side: its key, and the tokens that are bound to it."""

from __future__ import annotations

import json
import re
import secrets
import ssl
import threading
from concurrent.futures import Future
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import urlencode

from . import keys
from ._http import TIMEOUT, Pool, Response, kind_of, origin, printable, refusal, retry, safe, split
from ._json import Malformed, parse
from .errors import ForbiddenError, InvalidError, SafeconductError, UnauthenticatedError, UnavailableError

__all__ = ["Agent", "Token", "Tokens", "enrol", "TokenRefusal"]

MAX_OAUTH = 1 << 20
MAX_TOKEN = 16 << 10
_MAX_LIFE = 24 * 3600
_METADATA_AGE = 3600.0
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
_SOURCES = 64

# What an authorization server's code means: the class of error, and what to do about it.
_MEANINGS: Dict[str, Tuple[type, str]] = {
    "invalid_request": (InvalidError, ""),
    "invalid_client": (UnauthenticatedError, "the server takes this key for no active agent's: the agent may be suspended, the key expired, revoked or replaced, or the clock here wrong"),
    "invalid_grant": (ForbiddenError, "the token that was shown has ended, was revoked, or is not for this agent"),
    "unauthorized_client": (ForbiddenError, "this agent may not use this grant"),
    "unsupported_grant_type": (InvalidError, ""),
    "invalid_scope": (ForbiddenError, "ask for capabilities that the agent is granted, and that the token which was shown carries"),
    "invalid_target": (InvalidError, "name one resource server as the authorization server knows it"),
    "access_denied": (ForbiddenError, "policy refuses that the agent carries this now"),
    "invalid_dpop_proof": (UnauthenticatedError, "the clock here may be wrong, or something on the way changes the URL"),
    "use_dpop_nonce": (UnavailableError, "each server behind a load balancer knows its own nonces only"),
    "invalid_proof": (InvalidError, "a key is registered once, for one agent: make a new one"),
    "invalid_token": (UnauthenticatedError, ""),
    "temporarily_unavailable": (UnavailableError, ""),
    "server_error": (UnavailableError, ""),
}


class TokenRefusal(NamedTuple):
    """Which capability a token does not carry, and why."""

    capability: str
    code: str
    message: str


class Token:
    """An access token that is bound to the agent's key. Printed, it does not show itself."""

    def __init__(self, value: str, key: keys.Key, asked: float, life: float, scope: Sequence[str], refused: Sequence[TokenRefusal]) -> None:
        self.value = value
        self.type = "DPoP"
        self.expires = asked + life  # seconds since 1970, by our clock, at the latest
        self.scope = tuple(scope)
        self.refused = tuple(refused)
        self._key = key
        # Another one is got when a fifth of the life is left, a minute at most; in its last seconds a
        # token is not shown, lest it ends on its way.
        self._refresh = self.expires - min(life / 5, 60.0)
        self._use = self.expires - min(life / 20, 5.0)
        self._asked = asked
        self._renewed = False

    def proof(self, method: str, url: str, nonce: str = "") -> str:
        """Returns a DPoP proof (RFC 9449) for one request by that method to that URL. It counts once."""
        return keys.proof(self._key, method, url, nonce, self.value, keys.now())

    def __repr__(self) -> str:
        until = datetime.fromtimestamp(self.expires, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return "<DPoP token for %s until %s>" % (" ".join(self.scope), until)

    def __reduce__(self) -> Any:
        raise TypeError("a token is not pickled")


class Tokens:
    """A source of tokens for one purpose. It keeps the newest, gets another one before that ends, and asks the server
    once however many callers wait. Tokens go to its origin and nowhere else."""

    def __init__(self, agent: Agent, fetch: Callable[[], Token], to: str) -> None:
        self._agent, self._fetch, self._to = agent, fetch, to
        self._lock = threading.Lock()
        self._current: Optional[Token] = None
        self._flight: Optional[Future[Token]] = None
        self._paused = 0.0
        self._nonce = ""  # the newest of the resource server

    def token(self) -> Token:
        """Returns a token that can be used now. Mostly it is at hand."""
        now = keys.now()
        with self._lock:
            t = self._current
            if t is not None and now < t._use:
                if now >= t._refresh and self._flight is None and now >= self._paused:
                    self._begin(False, background=True)
                return t
            flight, mine = self._flight, False
            if flight is None:
                flight, mine = self._begin(False), True
        if mine:
            self._fly(flight, False)
        return flight.result()

    def renew(self, refused: Token) -> Token:
        """Returns another token than the one that a resource server refused. To a token that was renewed within the last
        half minute it does no more."""
        now = keys.now()
        with self._lock:
            t = self._current
            if t is not None and t is not refused and now < t._use:
                return t
            if refused._renewed and now - refused._asked < 30.0:
                return refused
            if t is refused:
                self._current = None
            flight, mine = self._flight, False
            if flight is None:
                flight, mine = self._begin(True), True
        if mine:
            self._fly(flight, True)
        return flight.result()

    def _begin(self, renewed: bool, background: bool = False) -> Future[Token]:
        flight: Future[Token] = Future()
        self._flight = flight
        if background:
            threading.Thread(target=self._fly, args=(flight, renewed), daemon=True).start()
        return flight

    def _fly(self, flight: Future[Token], renewed: bool) -> None:
        try:
            t = self._fetch()
        except BaseException as e:
            with self._lock:
                self._flight, self._paused = None, keys.now() + 2.0
            flight.set_exception(e)
            return
        t._renewed = renewed
        with self._lock:
            self._flight, self._current = None, t
        flight.set_result(t)

    def headers(self, method: str, url: str) -> Dict[str, str]:
        """Returns the headers Authorization and DPoP for one request. A URL of another origin is refused: ForbiddenError."""
        return self._headers(self.token(), method, url)

    def _headers(self, t: Token, method: str, url: str) -> Dict[str, str]:
        u = split(url)
        if not self._to:
            raise InvalidError("these tokens are for no origin that is known: say resource or origin when asking for them")
        if u is None or origin(u) != self._to:
            raise ForbiddenError("a request to %.200s is refused: the token is for %s" % (origin(u) if u else "that", self._to))
        return {"Authorization": "DPoP " + t.value, "DPoP": t.proof(method, url, self._nonce)}

    def send(self, method: str, url: str, headers: Optional[Mapping[str, str]] = None, body: Optional[bytes] = None) -> Response:
        """Sends one request with the token and a proof. Once it answers a demand for a nonce, and once the refusal of a
        token with a fresh one. Redirects are not followed."""
        t = self.token()
        nonced = renewed = False
        while True:
            sent = self._nonce
            r = self._agent._pool.send(method, url, {**(headers or {}), **self._headers(t, method, url)}, body)
            self.learn(r.header("dpop-nonce"))
            code = challenge(r.all("www-authenticate")) if r.status == 401 else None
            if code == "use_dpop_nonce" and not nonced and self._nonce != sent:
                nonced = True
            elif code in ("invalid_token", "") and not renewed:
                fresh = self.renew(t)
                if fresh is t:
                    return r
                t, renewed = fresh, True
            else:
                return r

    def learn(self, nonce: str) -> None:
        """Keeps the nonce of a resource server's DPoP-Nonce header, for whoever sends requests by other means."""
        if 0 < len(nonce) <= 512 and all("!" <= c <= "~" and c not in '"\\' for c in nonce):
            self._nonce = nonce


_PART = re.compile(r'([^\s,="]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?')


def challenge(lines: List[str]) -> Optional[str]:
    """Returns the error of the first challenge of the scheme DPoP (RFC 9449, section 7.1), "" if it names none, None if
    there is no such challenge."""
    for line in lines:
        ours = found = False
        for m in _PART.finditer(line[:8192]):
            if m[2] is None and m[3] is None:  # no parameter: a scheme
                if found:
                    break
                ours = m[1].lower() == "dpop"
                found = found or ours
            elif ours and m[1].lower() == "error":
                return re.sub(r"\\(.)", r"\1", m[2]) if m[2] is not None else m[3]
        if found:
            return ""
    return None


class Agent:
    """A registered agent: the authorization server that knows it, its id there, and its private key.

    It authenticates by private_key_jwt (RFC 7523) and binds its tokens to the key by DPoP (RFC 9449). It is safe for
    concurrent use.
    """

    def __init__(self, issuer: str, id: str, key: keys.Key, *, timeout: float = TIMEOUT, ssl_context: Optional[ssl.SSLContext] = None,
                 attempts: int = 3) -> None:
        _issuer(issuer)
        if not id:
            raise InvalidError("an agent has an id")
        self.issuer, self.id = issuer, id
        self.expires: Optional[datetime] = None  # of the key, None if it does not expire or that is not known
        self._key, self._file = key, ""
        self._pool, self._attempts = Pool(timeout, ssl_context), attempts
        self._lock = threading.Lock()
        self._nonce = ""  # the newest of the authorization server
        self._found: Optional[Dict[str, Any]] = None
        self._found_at = 0.0
        self._sources: Dict[Tuple[Any, ...], Tokens] = {}

    @classmethod
    def load(cls, file: str, **options: Any) -> Agent:
        """Returns the agent whose key, issuer and id stand in a key file, as `safeconduct token enroll` makes it."""
        k = keys.read(file)
        if not k.issuer or not k.agent:
            raise InvalidError("%s does not say whose key it is" % file, code="incomplete", hint="enrol the agent, which makes such a file")
        a = cls(k.issuer, k.agent, k.key, **options)
        a._file, a.expires = file, k.expires
        return a

    @property
    def key_id(self) -> str:
        """The id of the key in use, its RFC 7638 thumbprint."""
        return self._key.id

    def __repr__(self) -> str:
        return "<Agent %s at %s>" % (self.id, self.issuer)

    def metadata(self) -> Dict[str, Any]:
        """Returns what the authorization server says of itself (RFC 8414), asking it at most once an hour."""
        now = keys.now()
        with self._lock:
            if self._found is not None and now - self._found_at < _METADATA_AGE:
                return self._found
        m = retry(self._attempts, lambda: discover(self._pool, self.issuer))
        _accepts(m, self._key.algorithm)
        with self._lock:
            self._found, self._found_at = m, now
        return m

    def tokens(self, scope: Sequence[str] = (), *, resource: str = "", origin: str = "", details: Optional[Sequence[Mapping[str, Any]]] = None,
               may_act: str = "", algorithm: str = "") -> Tokens:
        """Returns the source of tokens by client credentials for that purpose; asked for the same, it is the same source.

        scope names capabilities, details has capabilities with narrower limits (RFC 9396), resource is the one resource
        server that the token is for (RFC 8707). origin is where tokens may be sent: that of resource, if it is not said.
        may_act is the one agent that may exchange the token for one of its own: whoever is named can act for this agent.
        """
        form = _wanted(scope, resource, details, may_act, algorithm)
        to = _origin(origin or resource)
        with self._lock:
            at = (to, *sorted(form.items()))
            source = self._sources.pop(at, None)
            if source is None:
                source = Tokens(self, lambda: self._grant({"grant_type": "client_credentials", **form}, scope), to)
                while len(self._sources) >= _SOURCES:
                    self._sources.pop(next(iter(self._sources)))
            self._sources[at] = source  # the newest last
        return source

    def token(self, scope: Sequence[str] = (), **purpose: Any) -> Token:
        """Returns a token that can be used now: tokens(...).token()."""
        return self.tokens(scope, **purpose).token()

    def delegated(self, subject_token: str, scope: Sequence[str] = (), *, resource: str = "", origin: str = "",
                  details: Optional[Sequence[Mapping[str, Any]]] = None, may_act: str = "", algorithm: str = "") -> Tokens:
        """Returns a source of tokens by which the agent acts for the subject of another token, which names it as the one that
        may act (RFC 8693). It fails once that token has ended."""
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": subject_token,
                "subject_token_type": _ACCESS_TOKEN, **_wanted(scope, resource, details, may_act, algorithm)}
        return Tokens(self, lambda: self._grant(form, scope), _origin(origin or resource))

    def exchange(self, subject_token: str, scope: Sequence[str] = (), **purpose: Any) -> Token:
        """Gets one token by which the agent acts for the subject of another token: delegated(...).token()."""
        return self.delegated(subject_token, scope, **purpose).token()

    def revoke(self, token: str) -> None:
        """Takes back a token of the agent, and every token that was made from it (RFC 7009)."""
        self._post("revocation_endpoint", "/oauth2/revoke", {"token": token, "token_type_hint": "access_token"}, False)

    def introspect(self, token: str) -> Dict[str, Any]:
        """Asks what is true of a token now (RFC 7662). An agent may ask of its own only."""
        r, _ = self._post("introspection_endpoint", "/oauth2/introspect", {"token": token, "token_type_hint": "access_token"}, False)
        m = _object(r)
        if not isinstance(m.get("active"), bool):
            raise UnavailableError("the server's answer does not say whether the token is active")
        return m

    def _grant(self, form: Dict[str, str], scope: Sequence[str]) -> Token:
        asked = keys.now()
        r, key = self._post("token_endpoint", "", form, True)
        return self._token(_object(r), key, asked, scope)

    def _token(self, w: Dict[str, Any], key: keys.Key, asked: float, wanted: Sequence[str]) -> Token:
        """Reads the answer of a token endpoint (RFC 6749, section 5.1). A token that is not bound to our key is refused."""
        value, life, issued = w.get("access_token"), w.get("expires_in"), w.get("issued_token_type")
        if "iss" in w and w["iss"] != self.issuer:
            raise ForbiddenError("asked %s, and somebody else answered" % self.issuer, code="issuer_mismatch")
        if not isinstance(value, str) or not 0 < len(value) <= MAX_TOKEN or any(not "!" <= c <= "~" for c in value):
            raise UnavailableError("the server's answer has no token, or one that fits no header")
        if not isinstance(w.get("token_type"), str) or w["token_type"].lower() != "dpop":
            raise ForbiddenError("the server gave a token of the type %.40r, which is not bound to the agent's key" % (w.get("token_type"),))
        if issued is not None and issued not in (_ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:jwt"):
            raise ForbiddenError("the server gave a %.100r, not an access token" % (issued,))
        if type(life) is not int or life <= 0:
            raise UnavailableError("the server does not say how long its token lives")
        granted = w.get("scope")
        if granted is not None and not isinstance(granted, str):
            raise UnavailableError("the server's answer has a scope that is no text")
        refused = []
        for x in w["refused"] if isinstance(w.get("refused"), list) else []:
            if isinstance(x, dict):
                refused.append(TokenRefusal(printable(x.get("identifier"), 200), printable(x.get("code"), 80), printable(x.get("message"), 500)))
        return Token(value, key, asked, float(min(life, _MAX_LIFE)), wanted if granted is None else granted.split(), refused)

    def _post(self, endpoint: str, path: str, form: Dict[str, str], prove: bool) -> Tuple[Response, keys.Key]:
        """Sends a form as the agent. If the server refuses the key and its file holds another now, that is taken up."""
        m = self.metadata()
        where = m.get(endpoint) or self.issuer.rstrip("/") + path
        key = self._key
        try:
            return self._post_by(key, where, form, prove), key
        except SafeconductError as e:
            if e.code != "invalid_client" or not self._reload(key):
                raise
        return self._post_by(self._key, where, form, prove), self._key

    def _post_by(self, key: keys.Key, where: str, form: Dict[str, str], prove: bool) -> Response:
        return retry(self._attempts, lambda: self._post_once(key, where, form, prove))

    def _post_once(self, key: keys.Key, where: str, form: Dict[str, str], prove: bool) -> Response:
        """Sends the form once, and once more if the server wants another nonce (RFC 9449, section 8). The assertion is made
        anew for each: it counts once."""
        again = False
        while True:
            now = int(keys.now())
            # Its audience is the issuer and nobody else, so that a server that received it cannot show it to another.
            assertion = key.sign("client-authentication+jwt", {"iss": self.id, "sub": self.id, "aud": self.issuer,
                                 "jti": secrets.token_urlsafe(18), "iat": now, "exp": now + 60})
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            sent = self._nonce
            if prove:
                headers["DPoP"] = keys.proof(key, "POST", where, sent, "", now)
            body = urlencode({**form, "client_assertion_type": _ASSERTION, "client_assertion": assertion}).encode()
            r = self._pool.send("POST", where, headers, body, MAX_OAUTH)
            nonce = r.header("dpop-nonce")
            if 0 < len(nonce) <= 512 and all("!" <= c <= "~" and c not in '"\\' for c in nonce):
                self._nonce = nonce
            if r.status in (200, 201):
                return r
            e = oauth_refusal(r)
            if again or not prove or e.code != "use_dpop_nonce" or self._nonce == sent:
                raise e
            again = True

    def _reload(self, refused: keys.Key) -> bool:
        if not self._file:
            return False
        try:
            k = keys.read(self._file)
        except (SafeconductError, OSError):
            return False
        if k.issuer != self.issuer or k.agent != self.id or k.key.id == refused.id:
            return False
        self._key, self.expires = k.key, k.expires
        return True

    def close(self) -> None:
        """Closes the connections that are kept."""
        self._pool.close()


def enrol(issuer: str, token: str, file: str, *, algorithm: str = "EdDSA", timeout: float = TIMEOUT,
          ssl_context: Optional[ssl.SSLContext] = None, attempts: int = 3) -> Agent:
    """Registers an agent's first key by an enrolment token that an administrator made, and returns the agent.

    The key is made here and is durable in its file before the server hears of it. The file must not exist; one that a
    failed enrolment at the same issuer left behind is used again.
    """
    pool = Pool(timeout, ssl_context)
    try:
        if not token:
            raise InvalidError("an enrolment needs the token that an administrator made for it")
        discover(pool, issuer)  # is it who it should be, before it sees the token
        left = None
        try:
            left = keys.read(file)
        except SafeconductError:
            pass
        if left is not None and not left.agent and left.issuer == issuer:
            key = left.key
        else:
            key = keys.generate(algorithm)
            keys.save(file, keys.KeyFile(key, issuer), True)
        m = retry(attempts, lambda: _register(pool, issuer, token, key))
        expires = keys.instant(m.get("expires_at"))
        keys.save(file, keys.KeyFile(key, issuer, m["client_id"], expires), False)
    finally:
        pool.close()
    return Agent.load(file, timeout=timeout, ssl_context=ssl_context, attempts=attempts)


def _register(pool: Pool, issuer: str, token: str, key: keys.Key) -> Dict[str, Any]:
    now = int(keys.now())
    # The nonce binds the proof to the token, so that a proof is of no use beside another.
    proof = key.sign("key-proof+jwt", {"aud": issuer, "jti": secrets.token_urlsafe(18), "iat": now, "exp": now + 60,
                     "nonce": keys.b64(sha256(token.encode()).digest())}, show=True)
    r = pool.send("POST", issuer.rstrip("/") + "/oauth2/enroll", {"Content-Type": "application/json"},
                  json.dumps({"token": token, "proof": proof}).encode(), MAX_OAUTH)
    if r.status not in (200, 201):
        e = oauth_refusal(r)
        if isinstance(e, UnauthenticatedError):
            e.hint = "an enrolment token counts once and for a short time: ask an administrator for another"
        raise e
    m = _object(r)
    if not isinstance(m.get("client_id"), str) or not m["client_id"] or m.get("kid") != key.id or m.get("issuer", issuer) != issuer:
        raise UnavailableError("the server says that it has registered another key, or for another issuer")
    return m


def discover(pool: Pool, issuer: str) -> Dict[str, Any]:
    """Asks the authorization server for its metadata (RFC 8414). The issuer that it names must be the one that was asked
    for, letter for letter: an agent that took another's word would show its assertions to a stranger."""
    u = _issuer(issuer)
    where = u.scheme + "://" + u.netloc + "/.well-known/oauth-authorization-server" + u.path.rstrip("/")
    r = pool.send("GET", where, {}, None, MAX_OAUTH)
    if r.status != 200:
        raise refusal(r)
    m = _object(r)
    if m.get("issuer") != issuer:
        raise ForbiddenError("asked for %s, the server says that it is %.200s" % (issuer, printable(m.get("issuer"), 200)), status=200,
                             code="issuer_mismatch", hint="give the issuer exactly as the server writes it, if that is the server you mean")
    for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        if name not in m and name != "token_endpoint":
            continue
        p = split(m.get(name, ""))
        if p is None or not safe(p) or p.fragment or p.scheme != "https" and u.scheme == "https":
            raise InvalidError("the server's %s is not a URL as safe as %s" % (name, issuer), status=200)
    return m


def _accepts(m: Dict[str, Any], algorithm: str) -> None:
    names = ("EdDSA", "Ed25519") if algorithm == "EdDSA" else (algorithm,)
    for what, member, some in (
        ("client authentication by private_key_jwt", "token_endpoint_auth_methods_supported", ("private_key_jwt",)),
        ("client assertions signed with " + algorithm, "token_endpoint_auth_signing_alg_values_supported", names),
        ("DPoP proofs signed with " + algorithm, "dpop_signing_alg_values_supported", names),
    ):
        listed = m.get(member)
        if listed is not None and (not isinstance(listed, list) or not any(s in listed for s in some)):
            raise InvalidError("%s does not support %s" % (m["issuer"], what))


def _issuer(issuer: str) -> Any:
    u = split(issuer)
    if u is None or not safe(u) or "?" in issuer or "#" in issuer:
        raise InvalidError("%.200r is no issuer: an https URL without query and fragment (http only on loopback)" % (issuer,))
    return u


def _origin(url: str) -> str:
    """Returns the origin of a URL to which tokens may go, "" if it is none."""
    u = split(url) if url else None
    return origin(u) if u is not None and safe(u) else ""


def _wanted(scope: Sequence[str], resource: str, details: Optional[Sequence[Mapping[str, Any]]], may_act: str, algorithm: str) -> Dict[str, str]:
    if isinstance(scope, str):
        raise InvalidError("scope is a list of capabilities, not one text")
    form = {"scope": " ".join(scope), "resource": resource, "may_act": may_act, "access_token_signing_alg": algorithm}
    if details:
        form["authorization_details"] = json.dumps(list(details), separators=(",", ":"), sort_keys=True, allow_nan=False)
    return {name: value for name, value in form.items() if value}


def _object(r: Response) -> Dict[str, Any]:
    try:
        m = parse(r.body)
    except Malformed as e:
        raise UnavailableError("the server's answer cannot be read: %s" % e) from None
    if not isinstance(m, dict):
        raise UnavailableError("the server's answer is no JSON object")
    return m


def oauth_refusal(r: Response) -> SafeconductError:
    """Returns the error of an authorization server's answer (RFC 6749, section 5.2)."""
    try:
        m = parse(r.body)
    except Malformed:
        m = None
    if not isinstance(m, dict) or not isinstance(m.get("error"), str):
        return refusal(r)
    code = printable(m["error"], 80)
    kind, hint = _MEANINGS.get(code, (kind_of(r.status), ""))
    if r.status >= 500 or r.status == 429:  # what the status says to try again is tried again
        kind = UnavailableError
    error: SafeconductError = kind(printable(m.get("error_description"), 500) or code, status=r.status, code=code, hint=hint)
    return error
