import os
import stat
import tempfile
import threading
import unittest
from unittest import mock
from urllib.parse import parse_qs

import safeconduct
from safeconduct import Agent, enrol, generate, keys
from safeconduct.agent import challenge

from .fake import DISCOVERY, TOKEN, Fake, claims, drip, issued, metadata


class Served(unittest.TestCase):
    def setUp(self):
        self.fake = Fake()
        self.addCleanup(self.fake.close)
        self.fake.answers[DISCOVERY] = [metadata(self.fake)]
        self.fake.answers[TOKEN] = [issued()]
        self.agent = Agent(self.fake.url, "bot", generate(), timeout=5, attempts=1)
        self.addCleanup(self.agent.close)

    def fails(self, kind, f, *args, code=None, **kwargs):
        with self.assertRaises(kind) as c:
            f(*args, **kwargs)
        if code is not None:
            self.assertEqual(c.exception.code, code)
        return c.exception


class Tokens(Served):
    def test_assertion_and_proof(self):
        t = self.agent.token(["pay", "read"], resource="https://bank.example", may_act="filer")
        form = parse_qs(self.fake.bodies(TOKEN)[0].decode())
        self.assertEqual((form["grant_type"], form["scope"], form["resource"], form["may_act"]),
                         (["client_credentials"], ["pay read"], ["https://bank.example"], ["filer"]))
        head, body = claims(form["client_assertion"][0])
        self.assertEqual(head, {"alg": "EdDSA", "typ": "client-authentication+jwt", "kid": self.agent.key_id})
        self.assertEqual((body["iss"], body["sub"], body["aud"], body["exp"] - body["iat"]), ("bot", "bot", self.fake.url, 60))
        head, body = claims(self.fake.asked[-1][1]["dpop"])
        self.assertEqual((head["typ"], set(head["jwk"])), ("dpop+jwt", {"kty", "crv", "x"}))
        self.assertEqual((body["htm"], body["htu"]), ("POST", self.fake.url + "/token"))
        self.assertNotIn("t0ken", repr(t) + str(t))

    def test_kept_and_renewed_before_the_end(self):
        source = self.agent.tokens(["pay"])
        self.assertIs(source, self.agent.tokens(["pay"]))
        self.assertIsNot(source, self.agent.tokens(["read"]))
        first = source.token()
        self.assertIs(source.token(), first)
        self.assertEqual(self.fake.lines().count(TOKEN), 1)
        with mock.patch.object(keys, "now", return_value=first.expires - 1):
            self.assertIsNot(source.token(), first)
        self.assertEqual(self.fake.lines().count(TOKEN), 2)

    def test_single_flight(self):
        gate = threading.Event()

        def slow(_):
            gate.wait(5)
            return issued()

        self.fake.answers[TOKEN] = [slow]
        source, got = self.agent.tokens(), []
        threads = [threading.Thread(target=lambda: got.append(source.token())) for _ in range(8)]
        for t in threads:
            t.start()
        while TOKEN not in self.fake.lines():
            pass
        gate.set()
        for t in threads:
            t.join()
        self.assertEqual((self.fake.lines().count(TOKEN), len(set(map(id, got)))), (1, 1))

    def test_nonce(self):
        demand = (400, {"DPoP-Nonce": "n1"}, {"error": "use_dpop_nonce"})
        self.fake.answers[TOKEN] = [demand, issued()]
        self.agent.token()
        sent = [claims(a[1]["dpop"])[1].get("nonce") for a in self.fake.asked if a[0] == TOKEN]
        self.assertEqual(sent, [None, "n1"])
        a, b = (parse_qs(b.decode())["client_assertion"] for b in self.fake.bodies(TOKEN))
        self.assertNotEqual(a, b, "an assertion counts once")

    def test_nonce_loop_ends(self):
        n = iter(range(1000))
        self.fake.answers[TOKEN] = [lambda _: (400, {"DPoP-Nonce": "n%d" % next(n)}, {"error": "use_dpop_nonce"})]
        self.fails(safeconduct.UnavailableError, self.agent.token, code="use_dpop_nonce")
        self.assertEqual(self.fake.lines().count(TOKEN), 2)

    def test_answers_that_are_no_token(self):
        for answer, kind in (
            (issued(token_type="Bearer"), safeconduct.ForbiddenError),
            (issued(iss="https://evil.example"), safeconduct.ForbiddenError),
            (issued(issued_token_type="urn:ietf:params:oauth:token-type:id_token"), safeconduct.ForbiddenError),
            (issued(access_token="a b"), safeconduct.UnavailableError),
            (issued(access_token="x" * 20000), safeconduct.UnavailableError),
            (issued(access_token=7), safeconduct.UnavailableError),
            (issued(expires_in=0), safeconduct.UnavailableError),
            (issued(expires_in=True), safeconduct.UnavailableError),
            (issued(expires_in="300"), safeconduct.UnavailableError),
            (issued(scope=["pay"]), safeconduct.UnavailableError),
            ('{"access_token":"a","access_token":"b","token_type":"DPoP","expires_in":300}', safeconduct.UnavailableError),
            ("[" * 100000, safeconduct.UnavailableError),
            (b'{"access_token":"\xff"}', safeconduct.UnavailableError),
            ("[]", safeconduct.UnavailableError),
            ("", safeconduct.UnavailableError),
        ):
            with self.subTest(answer=str(answer)[:60]):
                self.fake.answers[TOKEN] = [answer]
                self.fails(kind, self.agent.token)

    def test_redirect_is_not_followed(self):
        evil = Fake({"POST /token": [issued()]})
        self.addCleanup(evil.close)
        self.fake.answers[TOKEN] = [(307, {"Location": evil.url + "/token"}, "")]
        self.fails(safeconduct.UnavailableError, self.agent.token)
        self.fake.answers[DISCOVERY] = [(302, {"Location": evil.url}, "")]
        self.fails(safeconduct.UnavailableError, Agent(self.fake.url, "bot", generate(), attempts=1).token)
        self.assertEqual(evil.asked, [])

    def test_huge_answer(self):
        self.fake.answers[TOKEN] = [b" " * (2 << 20)]
        self.assertIn("more than", str(self.fails(safeconduct.UnavailableError, self.agent.token)))

    def test_answer_that_is_cut_off(self):
        self.fake.answers[TOKEN] = [(200, {"Content-Length": "9999", "Connection": "close"}, issued())]
        self.assertIn("cut off", str(self.fails(safeconduct.UnavailableError, self.agent.token)))

    def test_slow_answer(self):
        self.fake.answers[TOKEN] = [drip]
        self.agent._pool.timeout = 0.2
        self.fails(safeconduct.UnavailableError, self.agent.token)

    def test_errors_have_kinds(self):
        for status, error, kind in (
            (401, "invalid_client", safeconduct.UnauthenticatedError), (400, "invalid_scope", safeconduct.ForbiddenError),
            (400, "invalid_target", safeconduct.InvalidError), (400, "access_denied", safeconduct.ForbiddenError),
            (503, "temporarily_unavailable", safeconduct.UnavailableError), (429, "invalid_request", safeconduct.UnavailableError),
            (418, "odd\n\x1b[2J", safeconduct.InvalidError),
        ):
            with self.subTest(error=error):
                self.fake.answers[TOKEN] = [(status, {}, {"error": error, "error_description": "x\x1b[31my"})]
                e = self.fails(kind, self.agent.token)
                self.assertTrue(str(e).isprintable() and e.code.isprintable())

    def test_unavailable_is_tried_again(self):
        self.agent._attempts = 3
        self.fake.answers[TOKEN] = [(503, {}, "{}"), (502, {}, "<html>"), issued()]
        self.agent.token()
        self.assertEqual(self.fake.lines().count(TOKEN), 3)

    def test_exchange(self):
        self.agent.exchange("theirs", ["pay"])
        form = parse_qs(self.fake.bodies(TOKEN)[0].decode())
        self.assertEqual((form["grant_type"], form["subject_token"]), (["urn:ietf:params:oauth:grant-type:token-exchange"], ["theirs"]))


class Discovery(Served):
    def test_issuer_must_be_exact(self):
        for other in (self.fake.url + "/", "https://evil.example", None, 7, self.fake.url.upper()):
            with self.subTest(issuer=other):
                self.fake.answers[DISCOVERY] = [{**metadata(self.fake), "issuer": other}]
                self.fails(safeconduct.ForbiddenError, self.agent.token, code="issuer_mismatch")
        self.assertNotIn(TOKEN, self.fake.lines())

    def test_issuer_with_a_path(self):
        issuer = self.fake.url + "/tenant"
        self.fake.answers[DISCOVERY + "/tenant"] = [{**metadata(self.fake), "issuer": issuer}]
        Agent(issuer, "bot", generate()).token()

    def test_endpoints_must_be_as_safe(self):
        for endpoint in ("http://evil.example/token", "ftp://x/", "https://u@evil.example/", "/token", "", None, "https://x/#f"):
            with self.subTest(endpoint=endpoint):
                self.fake.answers[DISCOVERY] = [metadata(self.fake, token_endpoint=endpoint)]
                self.fails(safeconduct.InvalidError, self.agent.token)

    def test_what_the_server_does_not_support(self):
        for more in ({"token_endpoint_auth_methods_supported": ["client_secret_basic"]}, {"dpop_signing_alg_values_supported": ["ES512"]}):
            self.fake.answers[DISCOVERY] = [metadata(self.fake, **more)]
            self.fails(safeconduct.InvalidError, self.agent.token)

    def test_issuers_that_are_none(self):
        for issuer in ("http://as.example", "https://as.example?x", "https://as.example/#", "https://u:p@as.example", "as.example", "", "https://as.exa mple"):
            with self.subTest(issuer=issuer):
                self.fails(safeconduct.InvalidError, Agent, issuer, "bot", generate())


class Showing(Served):
    def setUp(self):
        super().setUp()
        self.source = self.agent.tokens(["pay"], resource=self.fake.url + "/api")

    def test_headers(self):
        h = self.source.headers("GET", self.fake.url + "/x?y=1#z")
        self.assertEqual(h["Authorization"], "DPoP t0ken")
        _, body = claims(h["DPoP"])
        self.assertEqual((body["htm"], body["htu"]), ("GET", self.fake.url + "/x"))
        self.assertEqual(body["ath"], "tGwJZ3NDJh8LQ5pHJCIiXjojDJwJTWqxZ2LiA2tZcFM")

    def test_never_to_another_origin(self):
        for url in ("https://evil.example/", self.fake.url + "@evil.example/", self.fake.url.replace("127.0.0.1", "localhost"), "//x", ""):
            with self.subTest(url=url):
                self.fails(safeconduct.ForbiddenError, self.source.headers, "GET", url)
        self.fails(safeconduct.InvalidError, self.agent.tokens(["pay"]).headers, "GET", self.fake.url)

    def test_nonce_of_the_resource_server(self):
        self.fake.answers["GET /x"] = [(401, {"WWW-Authenticate": 'Bearer, DPoP error="use_dpop_nonce"', "DPoP-Nonce": "n7"}, ""), "done"]
        self.assertEqual(self.source.send("GET", self.fake.url + "/x").body, b"done")
        self.assertEqual([claims(a[1]["dpop"])[1].get("nonce") for a in self.fake.asked if a[0] == "GET /x"], [None, "n7"])

    def test_nonces_without_end(self):
        n = iter(range(1000))
        self.fake.answers["GET /x"] = [lambda _: (401, {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"', "DPoP-Nonce": "n%d" % next(n)}, "")]
        self.assertEqual(self.source.send("GET", self.fake.url + "/x").status, 401)
        self.assertEqual(self.fake.lines().count("GET /x"), 2)

    def test_refused_token_is_renewed_once(self):
        self.fake.answers["GET /x"] = [(401, {"WWW-Authenticate": 'DPoP error="invalid_token"'}, "")]
        self.assertEqual(self.source.send("GET", self.fake.url + "/x").status, 401)
        self.assertEqual((self.fake.lines().count("GET /x"), self.fake.lines().count(TOKEN)), (2, 2))

    def test_redirect_keeps_the_token(self):
        evil = Fake({"GET /x": ["got it"]})
        self.addCleanup(evil.close)
        self.fake.answers["GET /x"] = [(302, {"Location": evil.url + "/x"}, "")]
        self.assertEqual(self.source.send("GET", self.fake.url + "/x").status, 302)
        self.assertEqual(evil.asked, [])

    def test_challenges(self):
        for line, want in (
            ('DPoP error="use_dpop_nonce"', "use_dpop_nonce"), ("dpop", ""), ("Bearer", None), ('Bearer error="x", DPoP algs="EdDSA ES256"', ""),
            ('Basic realm="a, DPoP error=b", DPoP error=invalid_token', "invalid_token"), ('DPoP realm="x", Bearer error="y"', ""), ("", None),
            ('DPoP error="a\\"b"', 'a"b'),
        ):
            with self.subTest(line=line):
                self.assertEqual(challenge([line]), want)


class KeyFiles(Served):
    def setUp(self):
        super().setUp()
        d = tempfile.TemporaryDirectory()
        self.addCleanup(d.cleanup)
        self.file = os.path.join(d.name, "key")

    def write(self, text, mode=0o600):
        with open(self.file, "wb") as f:
            f.write(text)
        os.chmod(self.file, mode)

    def test_round_trip(self):
        for algorithm in ("EdDSA", "ES256"):
            k = keys.KeyFile(generate(algorithm), self.fake.url, "bot", keys.instant("2027-02-25T07:29:21Z"))
            keys.save(self.file, k, True)
            a = Agent.load(self.file)
            self.assertEqual((a.issuer, a.id, a.key_id, a.expires), (self.fake.url, "bot", k.key.id, k.expires))
            self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
            self.fails(safeconduct.ConflictError, keys.save, self.file, k, True)
            os.unlink(self.file)

    def test_what_is_refused(self):
        pem = generate().pem()
        said = b"Safeconduct-Issuer: https://as.example\nSafeconduct-Agent: bot\n"
        for text, mode in (
            (said + pem, 0o644), (said + pem, 0o640), (pem, 0o600), (said, 0o600), (said + pem + pem, 0o600), (b"x" * 20000, 0o600),
            (said + pem.replace(b"PRIVATE", b"EC PRIVATE"), 0o600), (said + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600),
            (said + b"Safeconduct-Expires: soon\n" + pem, 0o600),
        ):
            with self.subTest(text=text[:60], mode=oct(mode)):
                self.write(text, mode)
                e = self.fails(safeconduct.InvalidError, Agent.load, self.file)
                self.assertNotIn("MC4C", str(e))
        os.unlink(self.file)
        self.fails(safeconduct.NotFoundError, Agent.load, self.file)

    def test_enrolment(self):
        def register(handler):
            import json
            sent = json.loads(self.fake.bodies("POST /oauth2/enroll")[-1])
            head, body = claims(sent["proof"])
            self.assertEqual((head["typ"], body["aud"]), ("key-proof+jwt", self.fake.url))
            self.assertNotIn("d", head["jwk"])
            return (201, {}, {"client_id": "bot", "kid": keys.read(self.file).key.id, "issuer": self.fake.url, "expires_at": "2027-01-01T00:00:00Z"})

        self.fake.answers["POST /oauth2/enroll"] = [(503, {}, "{}"), register]
        self.fails(safeconduct.UnavailableError, enrol, self.fake.url, "sc_enrol_1", self.file, attempts=1)
        left = keys.read(self.file).key.id  # durable before the server heard of it, and used again
        a = enrol(self.fake.url, "sc_enrol_1", self.file, attempts=1)
        self.assertEqual((a.id, a.key_id, Agent.load(self.file).id), ("bot", left, "bot"))
        self.fails(safeconduct.ConflictError, enrol, self.fake.url, "sc_enrol_1", self.file)

    def test_enrolment_of_another_key(self):
        self.fake.answers["POST /oauth2/enroll"] = [(201, {}, {"client_id": "bot", "kid": "other"})]
        self.fails(safeconduct.UnavailableError, enrol, self.fake.url, "t", self.file, attempts=1)

    def test_enrolment_token_is_not_shown_to_a_stranger(self):
        self.fake.answers[DISCOVERY] = [{**metadata(self.fake), "issuer": "https://evil.example"}]
        self.fails(safeconduct.ForbiddenError, enrol, self.fake.url, "t", self.file)
        self.assertFalse(os.path.exists(self.file))

    def test_rotated_key_is_taken_up(self):
        old, new = generate(), generate()
        keys.save(self.file, keys.KeyFile(old, self.fake.url, "bot"), True)
        a = Agent.load(self.file)
        keys.save(self.file, keys.KeyFile(new, self.fake.url, "bot"), False)
        self.fake.answers[TOKEN] = [(401, {}, {"error": "invalid_client"}), issued()]
        self.assertEqual((a.token().value, a.key_id), ("t0ken", new.id))

    def test_secrets_are_not_printed_or_pickled(self):
        import pickle
        k, t = generate(), self.agent.token()
        self.assertNotIn("t0ken", "%r %s %r" % (t, t, vars(self.agent)))
        for secret in (k, t):
            self.assertRaises(TypeError, pickle.dumps, secret)


if __name__ == "__main__":
    unittest.main()
