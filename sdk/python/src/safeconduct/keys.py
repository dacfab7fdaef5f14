"""Private keys: their files, and what they sign. A key never leaves this process but into its own file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import stat
import sys
import tempfile
import time
from datetime import datetime, timezone
from typing import Any, Dict, NamedTuple, Optional, Union

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from .errors import ConflictError, InvalidError, NotFoundError

__all__ = ["Key", "generate", "load_key"]

MAX_FILE = 16 << 10


def b64(b: bytes) -> str:
    return base64.urlsafe_b64encode(b).rstrip(b"=").decode("ascii")


class Key:
    """A private key that signs, Ed25519 or P-256. Printed, it does not show itself."""

    def __init__(self, private: Union[ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey]) -> None:
        self._private = private
        if isinstance(private, ed25519.Ed25519PrivateKey):
            self.algorithm = "EdDSA"
            raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            self.jwk: Dict[str, str] = {"crv": "Ed25519", "kty": "OKP", "x": b64(raw)}
        elif isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
            self.algorithm = "ES256"
            n = private.public_key().public_numbers()
            self.jwk = {"crv": "P-256", "kty": "EC", "x": b64(n.x.to_bytes(32, "big")), "y": b64(n.y.to_bytes(32, "big"))}
        else:
            raise InvalidError("only Ed25519 and P-256 keys sign")
        text = json.dumps(self.jwk, separators=(",", ":"), sort_keys=True)
        self.id = b64(hashlib.sha256(text.encode()).digest())  # RFC 7638

    def __repr__(self) -> str:
        return "<Key %s %s>" % (self.algorithm, self.id)

    def __reduce__(self) -> Any:
        raise TypeError("a private key is not pickled")

    def sign(self, typ: str, claims: Dict[str, Any], show: bool = False) -> str:
        """Returns a compact JWS (RFC 7515) of the type. Its header has the id of the key or, if it is to be shown, the public key."""
        header: Dict[str, Any] = {"alg": self.algorithm, "typ": typ}
        if show:
            header["jwk"] = self.jwk
        else:
            header["kid"] = self.id
        text = ".".join(b64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            signature = self._private.sign(text.encode())
        else:
            r, s = decode_dss_signature(self._private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")  # RFC 7518, section 3.4
        return text + "." + b64(signature)

    def pem(self) -> bytes:
        return self._private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def generate(algorithm: str = "EdDSA") -> Key:
    """Returns a fresh key, EdDSA or ES256."""
    if algorithm == "EdDSA":
        return Key(ed25519.Ed25519PrivateKey.generate())
    if algorithm == "ES256":
        return Key(ec.generate_private_key(ec.SECP256R1()))
    raise InvalidError("%.40r is no algorithm of a key: EdDSA or ES256" % algorithm)


def proof(key: Key, method: str, url: str, nonce: str, token: str, now: float) -> str:
    """Returns a DPoP proof (RFC 9449, section 4.2) for one request."""
    claims = {"jti": secrets.token_urlsafe(18), "htm": method, "htu": re.split(r"[?#]", url, maxsplit=1)[0], "iat": int(now)}
    if token:
        claims["ath"] = b64(hashlib.sha256(token.encode("ascii")).digest())
    if nonce:
        claims["nonce"] = nonce
    return key.sign("dpop+jwt", claims, show=True)


class KeyFile(NamedTuple):
    """What a key file says: a PKCS#8 key, and before it whose it is."""

    key: Key
    issuer: str = ""
    agent: str = ""
    expires: Optional[datetime] = None


def load_key(file: str) -> Key:
    """Reads a private key, Ed25519 or P-256, from a PKCS#8 PEM file. A file that others may read is refused."""
    return read(file).key


def read(file: str) -> KeyFile:
    try:
        with open(file, "rb") as f:
            mode = os.fstat(f.fileno()).st_mode
            if sys.platform != "win32" and stat.S_IMODE(mode) & 0o077:
                raise InvalidError("%s may be read by others (mode %04o): chmod 600 it" % (file, stat.S_IMODE(mode)))
            text = f.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise NotFoundError("no key file %s" % file) from None
    try:
        return parse(text)
    except InvalidError as e:
        raise InvalidError("reading %s: %s" % (file, e)) from None


def parse(text: bytes) -> KeyFile:
    """Reads the text of a key file. Its errors never quote it."""
    if len(text) > MAX_FILE:
        raise InvalidError("a key file has at most %d bytes" % MAX_FILE)
    blocks = re.findall(rb"-----BEGIN ([A-Z0-9 ]*)-----", text)
    if len(blocks) != 1:
        raise InvalidError("it has %d PEM blocks, not one" % len(blocks))
    if blocks[0] != b"PRIVATE KEY":
        raise InvalidError("its PEM block is no PKCS#8 key without encryption: convert it with `openssl pkcs8 -topk8 -nocrypt`")
    before, _, block = text.partition(b"-----BEGIN")
    try:
        private = serialization.load_pem_private_key(b"-----BEGIN" + block, password=None)
    except Exception:  # of many kinds, and some quote
        raise InvalidError("the PEM block holds no PKCS#8 key") from None
    said = {}
    try:
        for line in before.decode("utf-8").splitlines():
            name, colon, value = line.strip().partition(": ")
            if colon and name in ("Safeconduct-Issuer", "Safeconduct-Agent", "Safeconduct-Expires"):
                said[name] = value
    except UnicodeDecodeError:
        raise InvalidError("what stands before its PEM block is no UTF-8") from None
    expires = None
    if "Safeconduct-Expires" in said:
        expires = instant(said["Safeconduct-Expires"])
        if expires is None:
            raise InvalidError("Safeconduct-Expires: it is no time of RFC 3339")
    return KeyFile(Key(private), said.get("Safeconduct-Issuer", ""), said.get("Safeconduct-Agent", ""), expires)  # type: ignore[arg-type]


def save(file: str, k: KeyFile, new: bool) -> None:
    """Writes the key file, which only its owner can read. If it is new there must be none: ConflictError. After a crash
    there is the whole file, or what was there before."""
    lines = []
    for name, value in (("Issuer", k.issuer), ("Agent", k.agent)):
        if any(c < " " or c == "\x7f" for c in value):
            raise InvalidError("%.100r has a control character" % value)
        if value:
            lines.append("Safeconduct-%s: %s\n" % (name, value))
    if k.expires is not None:
        lines.append("Safeconduct-Expires: %s\n" % k.expires.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
    directory = os.path.dirname(os.path.abspath(file))
    fd, tmp = tempfile.mkstemp(prefix=".keyfile-", dir=directory)  # mode 0600
    try:
        with os.fdopen(fd, "wb") as f:
            f.write("".join(lines).encode() + k.key.pem())
            f.flush()
            os.fsync(f.fileno())
        if new:
            os.link(tmp, file)  # unlike a rename, never over another file
        else:
            os.replace(tmp, file)
    except FileExistsError:
        raise ConflictError("%s exists" % file) from None
    finally:
        try:
            os.unlink(tmp)
        except FileNotFoundError:
            pass
    if sys.platform != "win32":
        d = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(d)
        finally:
            os.close(d)


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def instant(text: Any) -> Optional[datetime]:
    """Returns a time of RFC 3339, None of anything else."""
    m = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if m is None:
        return None
    zone = "+00:00" if m[4] in "Zz" else m[4]
    fraction = ((m[3] or ".0") + "000000")[:7]
    try:
        return datetime.fromisoformat(m[1] + "T" + m[2] + fraction + zone)
    except ValueError:
        return None


def now() -> float:
    return time.time()
