"""HTTP that is bounded: no redirect is followed, an answer has so many bytes at most, and a request ends in time.

Connections are kept for one origin, and the environment's proxies are not heeded.
"""

from __future__ import annotations

import http.client
import io
import random
import re
import select
import socket
import ssl
import threading
import time
from email.utils import parsedate_to_datetime
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, TypeVar
from urllib.parse import SplitResult, urlsplit

from . import keys
from ._json import Malformed, parse
from .errors import (
    ConflictError, ForbiddenError, InvalidError, NotFoundError, SafeconductError, UnauthenticatedError, UnavailableError,
)

T = TypeVar("T")
USER_AGENT = "safeconduct-python"
MAX_ANSWER = 4 << 20
TIMEOUT = 10.0
_IDLE = 8  # connections that are kept


class Response:
    """An answer: its status, its headers by their names in lower case, and its body."""

    def __init__(self, status: int, headers: List[Tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.body = body
        self._headers = [(n.lower(), v) for n, v in headers]

    def header(self, name: str) -> str:
        return next((v for n, v in self._headers if n == name), "")

    def all(self, name: str) -> List[str]:
        return [v for n, v in self._headers if n == name]


def loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.") and host.replace(".", "").isdigit()


def split(url: str) -> Optional[SplitResult]:
    """Returns the parts of an http or https URL that names a host and no user, None of anything else."""
    if not isinstance(url, str) or any(c <= " " or c == "\\" or c > "~" for c in url):
        return None
    try:
        u = urlsplit(url)
        _ = u.port
    except ValueError:
        return None
    if u.scheme not in ("http", "https") or not u.hostname or "@" in u.netloc:
        return None
    return u


def safe(u: SplitResult) -> bool:
    """Reports whether what is said to u stays between us and it."""
    return u.scheme == "https" or loopback(u.hostname or "")


def origin(u: SplitResult) -> str:
    """Returns scheme, host and port, written in one way."""
    host = u.hostname or ""
    if ":" in host:
        host = "[" + host + "]"
    port = u.port
    if port is None or (u.scheme, port) in (("https", 443), ("http", 80)):
        return u.scheme + "://" + host
    return "%s://%s:%d" % (u.scheme, host, port)


class _Reader(io.RawIOBase):
    """Reads from a socket until the request's time is over."""

    def __init__(self, sock: socket.socket, left: Callable[[], float]) -> None:
        self._sock, self._left = sock, left
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, b: Any) -> Optional[int]:
        self._sock.settimeout(self._left())
        return self._raw.readinto(b)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """As much of a socket as http.client uses, with one end of time for all of a request."""

    def __init__(self, sock: socket.socket) -> None:
        self.real = sock
        self.until = 0.0

    def left(self) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        return left

    def sendall(self, data: Any) -> None:
        self.real.settimeout(self.left())
        self.real.sendall(data)

    def makefile(self, mode: str, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self.real, self.left))

    def close(self) -> None:
        self.real.close()


class _Connection(http.client.HTTPConnection):
    """A connection that never connects by itself: it is given a socket."""

    auto_open = 0

    def __init__(self, host: str, port: int, ours: _Socket) -> None:
        super().__init__(host, port)
        self.ours = ours
        self.sock: Any = ours


class Pool:
    """Does requests, to any origin that it is given."""

    def __init__(self, timeout: float = TIMEOUT, context: Optional[ssl.SSLContext] = None) -> None:
        self.timeout = timeout
        self._context = context
        self._lock = threading.Lock()
        self._idle: Dict[str, List[_Connection]] = {}

    def _tls(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                self._context = ssl.create_default_context()
            return self._context

    def _take(self, at: str) -> Optional[_Connection]:
        while True:
            with self._lock:
                kept = self._idle.get(at)
                conn = kept.pop() if kept else None
            if conn is None:
                return None
            try:
                if not select.select([conn.ours.real], [], [], 0)[0]:  # otherwise it was closed, or says what nobody asked
                    return conn
            except (OSError, ValueError):
                pass
            conn.close()

    def _connect(self, u: SplitResult, until: float) -> _Connection:
        port = u.port or (443 if u.scheme == "https" else 80)
        host = u.hostname or ""
        sock = socket.create_connection((host, port), timeout=max(until - time.monotonic(), 0.001))
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if u.scheme == "https":
                sock = self._tls().wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise
        return _Connection(host, port, _Socket(sock))

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Optional[bytes] = None, most: int = MAX_ANSWER) -> Response:
        """Sends one request. UnavailableError: there was no answer, or not all of one."""
        u = split(url)
        if u is None:
            raise InvalidError("%.200r is no http or https URL" % url)
        at = origin(u)
        until = time.monotonic() + self.timeout
        all_headers = {"Host": at.split("://", 1)[1], "User-Agent": USER_AGENT, "Accept": "application/json", **headers}
        target = (u.path or "/") + ("?" + u.query if u.query else "")
        conn = None
        keep = False
        try:
            conn = self._take(at) or self._connect(u, until)
            conn.ours.until = until
            conn.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in all_headers.items():
                conn.putheader(name, value)
            if body is not None:
                conn.putheader("Content-Length", str(len(body)))
            conn.endheaders(body)
            with conn.getresponse() as r:
                answer = r.read(most + 1)
                if len(answer) > most:
                    raise UnavailableError("the service's answer has more than %d bytes" % most)
                if r.length:  # less came than was said
                    raise UnavailableError("the service's answer was cut off")
                keep = r.isclosed() and not r.will_close
                return Response(r.status, r.getheaders(), answer)
        except (OSError, http.client.HTTPException, ValueError) as e:
            raise UnavailableError("asking the service: %s" % (str(e) or type(e).__name__)) from e
        finally:
            if conn is not None:
                with self._lock:
                    kept = self._idle.setdefault(at, [])
                    keep = keep and conn.sock is not None and len(kept) < _IDLE
                    if keep:
                        kept.append(conn)
                if not keep:
                    conn.close()

    def close(self) -> None:
        """Closes the connections that are kept."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for kept in idle.values():
            for conn in kept:
                conn.close()

    def __del__(self) -> None:
        self.close()


def kind_of(status: int) -> type:
    """Returns the class of error that a status stands for."""
    known = {401: UnauthenticatedError, 403: ForbiddenError, 404: NotFoundError, 409: ConflictError, 410: NotFoundError, 429: UnavailableError}
    if status in known:
        return known[status]
    return InvalidError if 400 <= status < 500 else UnavailableError


def printable(s: Any, most: int) -> str:
    """Returns at most so many characters of what a server wrote, of those that fit in a line."""
    if not isinstance(s, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in s[:most])


PROBLEM = "urn:openid:authzen:access-request:error:"


def refusal(r: Response) -> SafeconductError:
    """Returns the error of an answer that is not as wished."""
    code = message = request_id = ""
    try:
        body = parse(r.body)
    except Malformed:
        body = None
    if isinstance(body, dict):
        if isinstance(body.get("error"), dict):
            e = body["error"]
            code, message, request_id = printable(e.get("code"), 80), printable(e.get("message"), 500), printable(e.get("request_id"), 128)
        elif r.header("content-type").split(";")[0].strip() == "application/problem+json":  # RFC 9457
            code = printable(body.get("type"), 200)
            code = code[len(PROBLEM):] if code.startswith(PROBLEM) else code
            message = printable(body.get("detail"), 500) or printable(body.get("title"), 200)
            request_id = printable(r.header("x-request-id"), 128)
    if not message:
        message = "the service answered with status %d" % r.status
        if 300 <= r.status < 400:
            message += ": a redirect, which is not followed"
    error: SafeconductError = kind_of(r.status)(message, status=r.status, code=code, request_id=request_id,
                                                retry_after=retry_after_of(r.header("retry-after")))
    return error


def retry_after_of(v: str) -> float:
    if re.fullmatch(r"[0-9]{1,9}", v):
        return float(v)
    try:
        return max(parsedate_to_datetime(v).timestamp() - keys.now(), 0.0)
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0


MAX_PAUSE = 5.0  # of what a service may ask for: if it wants more, it is not asked again


def retry(attempts: int, f: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Calls f until it succeeds, at most so often, as long as it says that something is unavailable. The pauses are never shorter
    than the service wants."""
    attempt = 1
    while True:
        try:
            return f()
        except UnavailableError as e:
            if attempt >= attempts or e.retry_after > MAX_PAUSE:
                raise
            wanted = e.retry_after
        sleep(max(0.05 * attempt, wanted) + random.random() * 0.05)
        attempt += 1
