import asyncio
import json
import logging
import unittest
import unittest.mock
from datetime import datetime, timezone
from decimal import Decimal

import safeconduct
from safeconduct import AccessRequest, Client, Decision, Guard, Permit, Presented, Refused, Request, Withheld, keys
from safeconduct import _http, _steps, client as client_module
from safeconduct._http import retry
from safeconduct._json import Malformed, parse

from .fake import EVALUATE, STATUS, SUBMIT, Fake, drip, utc

ALLOWED = {"decision": True, "context": {"evaluation_id": "d7", "code": "allowed"}}
DENIED = {"decision": False, "context": {"evaluation_id": "d8", "code": "forbidden", "reasons": [{"code": "big", "message": "Too much."}],
          "changes": [{"who": "agent", "kind": "lower", "target": "action.amount", "to": "100.00", "hint": "Lower it."}], "remedies": ["approval"]}}
OUTCOME = "POST /v1/decisions/d7/outcome"


def obliged(*obligations, decision=True):
    return {"decision": decision, "context": {"evaluation_id": "d7", "obligations": list(obligations)}}


def custom(name, id="o1", **properties):
    return {"id": id, "type": "custom", "properties": {"obligation": name, **properties}}


class Served(unittest.TestCase):
    def setUp(self):
        self.fake = Fake({OUTCOME: [{"entry": 1}]})
        self.addCleanup(self.fake.close)
        self.client = Client(self.fake.url, "sc_pep_1", timeout=5, attempts=1)
        self.addCleanup(self.client.close)
        self.guard = Guard(self.client, subject=("agent", "bot"))
        self.did = []

    def answers(self, *answers):
        self.fake.answers[EVALUATE] = list(answers)

    def pay(self, result=None, **options):
        """Returns a guarded function, which notes that it was called."""

        @self.guard(**options)
        def pay(amount, account="acme", note=None):
            self.did.append((amount, account))
            return result

        return pay

    def refused(self, f, *args, **kwargs):
        before = len(self.did)
        with self.assertRaises(Refused) as c:
            f(*args, **kwargs)
        self.assertEqual(len(self.did), before, "the act happened")
        self.assertEqual(c.exception.decision.effect, "refuse")
        return c.exception

    def asked(self, n=-1):
        return json.loads(self.fake.bodies(EVALUATE)[n])

    def outcome(self):
        return json.loads(self.fake.bodies(OUTCOME)[-1])


REQUEST = Request("pay", ("invoice", "7"), ("agent", "bot"))


class Decisions(Served):
    def test_asked_and_answered(self):
        self.answers(DENIED)
        d = self.client.decide(Request("pay", ("invoice", "7", {"open": True}), ("agent", "bot"), properties={"amount": Decimal("120.50")},
                               context={"confidence": 0.9}, on_behalf_of=[("user", "alice")], observed={"ip": "10.1.2.3"}))
        self.assertEqual(self.asked(), {"subject": {"type": "agent", "id": "bot"}, "action": {"name": "pay", "properties": {"amount": "120.50"}},
                         "resource": {"type": "invoice", "id": "7", "properties": {"open": True}},
                         "context": {"confidence": 0.9, "observed": {"ip": "10.1.2.3"}, "on_behalf_of": [{"type": "user", "id": "alice"}]}})
        self.assertEqual((d.effect, d.code, d.id, d.reasons[0].code, d.changes[0].to, d.remedies), ("refuse", "forbidden", "d8", "big", "100.00", ("approval",)))
        self.assertEqual(self.fake.asked[0][1]["authorization"], "Bearer sc_pep_1")

    def test_no_truth_value(self):
        self.answers(ALLOWED)
        d = self.client.decide(REQUEST)
        for misuse in (lambda: bool(d), lambda: not d, lambda: d and 1, lambda: 1 if d else 2, lambda: any([d])):
            self.assertRaises(TypeError, misuse)
        with self.assertRaises(Exception):
            d.effect = "refuse"

    def test_permits_are_not_made_by_hand(self):
        self.answers(ALLOWED)
        d = self.client.decide(REQUEST)
        self.assertRaises(TypeError, Permit)
        self.assertRaises(TypeError, Permit, object(), self.client, d, None, None, [])

    def test_presented(self):
        self.answers(ALLOWED)
        p = Presented("s3cret", "https://bank.example", "pr00f", "GET", "https://bank.example/x")
        self.client.decide(Request("pay", ("invoice", "7"), presented=p))
        self.assertEqual(self.asked()["context"]["observed"]["passport"], {"token": "s3cret", "audience": "https://bank.example", "proof": "pr00f",
                         "method": "GET", "url": "https://bank.example/x"})
        self.assertNotIn("subject", self.asked())
        self.assertNotIn("s3cret", repr(p))

    def test_answers_that_are_no_decision(self):
        for answer in (
            "", "{", "[]", "null", "true", {}, {"decision": "true"}, {"decision": 1}, {"decision": None}, '{"decision":false,"decision":true}',
            {"decision": True, "context": []}, {"decision": True, "context": {"obligations": {}}}, {"decision": True, "context": {"reasons": [7]}},
            {"decision": True, "context": {"remedies": [{}]}}, b'{"decision":true,"x":"\xff"}', '{"decision":true,"x":NaN}', "[" * 200000,
            '{"decision":true,"context":{"obligations":[{"id":"a","id":"b","type":"custom","properties":{}}]}}', (302, {"Location": "/x"}, ALLOWED),
            (201, {}, ALLOWED), (500, {}, ALLOWED), (401, {}, ALLOWED), (404, {}, ALLOWED), b" " * (5 << 20), '{"decision":true} {"decision":true}',
            '\ufeff{"decision":true}',
        ):
            with self.subTest(answer=str(answer)[:70]):
                self.answers(answer)
                with self.assertRaises(safeconduct.SafeconductError):
                    self.client.decide(REQUEST)
                self.refused(self.pay(), 1)

    def test_nobody_answers(self):
        self.client._pool.timeout = 0.2
        self.answers(drip)
        self.assertEqual(self.refused(self.pay(), 1).code, "unavailable")
        self.fake.close()
        e = self.refused(self.pay(), 1)
        self.assertIsInstance(e.cause, safeconduct.UnavailableError)

    def test_only_questions_without_approval_are_repeated(self):
        self.client._attempts = 3
        self.answers((503, {}, "{}"), ALLOWED)
        self.client.decide(REQUEST)
        a = safeconduct.Approval("apr_1", keys.instant(utc(60)), '{"id":"apr_1"}')
        self.answers((503, {}, "{}"), ALLOWED)
        self.assertRaises(safeconduct.UnavailableError, self.client.decide, REQUEST, a)

    def test_what_cannot_be_asked(self):
        for q in (Request("", ("a", "b")), Request("a", ("b",)), Request("a", "ab"), Request("a", ("b", "c"), properties={"x": float("nan")}),
                  Request("a", ("b", "c"), properties={"x": object()}), Request("a", ("b", "c"), properties={"x": "\ud800"}),
                  Request("a", ("b", "c"), context={"observed": {}}, observed={"ip": "::1"})):
            with self.subTest(q=q):
                self.assertRaises(safeconduct.InvalidError, self.client.decide, q)
        self.assertEqual(self.fake.asked, [])

    def test_services_that_are_none(self):
        for url in ("http://pdp.example", "pdp.example", "https://u:p@pdp.example", "https://pdp.example/?x", "ftp://pdp.example", ""):
            with self.subTest(url=url):
                self.assertRaises(safeconduct.InvalidError, Client, url, "t")
        self.assertRaises(safeconduct.InvalidError, Client, "https://pdp.example", "a\r\nb")
        Client("http://pdp.example", "t", insecure_http=True)

    def test_json_is_strict(self):
        for text in ('{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', "NaN", "-Infinity", "1 2", "", "'a'", "[1,]", b"\xff", b"\xef\xbb\xbf1"):
            with self.subTest(text=text):
                self.assertRaises(Malformed, parse, text)


class Guarding(Served):
    def test_allowed(self):
        self.answers(ALLOWED)
        self.assertEqual(self.pay({"paid": True})(Decimal("120.50")), {"paid": True})
        self.assertEqual(self.asked(), {"subject": {"type": "agent", "id": "bot"}, "action": {"name": "pay", "properties": {"amount": "120.50", "account": "acme"}},
                         "resource": {"type": "tool", "id": "pay"}, "context": {"observed": {"supported_obligations": ["cap", "delay", "mask"]}}})
        self.assertEqual(self.outcome()["size_bytes"], len('{"paid":true}'))
        self.assertNotIn("fault", self.outcome())

    def test_denied(self):
        self.answers(DENIED)
        e = self.refused(self.pay(), 1)
        self.assertEqual((e.code, e.reasons[0].message, e.changes[0].hint, e.remedies, e.offer), ("forbidden", "Too much.", "Lower it.", ("approval",), None))
        self.assertEqual(str(e), "refused: Too much.")
        self.assertNotIn(OUTCOME, self.fake.lines(), "an act that did not happen has no outcome")

    def test_resource_and_arguments_of_the_call(self):
        self.answers(ALLOWED)
        self.pay(action="pay_invoice", resource=lambda a: ("account", a["account"]), arguments=lambda a: {"sum": a["amount"]})(5, account="x")
        self.assertEqual((self.asked()["action"], self.asked()["resource"]), ({"name": "pay_invoice", "properties": {"sum": 5}}, {"type": "account", "id": "x"}))

    def test_methods_and_keywords(self):
        guard = self.guard

        class House:
            @guard
            def pay(self, amount, *more, **kw):
                return self

        self.answers(ALLOWED)
        House().pay(1, 2, 3, purpose="rent")
        self.assertEqual(self.asked()["action"]["properties"], {"amount": 1, "more": [2, 3], "purpose": "rent"})

    def test_arguments_that_are_no_json(self):
        self.answers(ALLOWED)
        for bad in (object(), float("inf"), {1: 2}, b"x", "\ud800"):
            with self.subTest(bad=repr(bad)):
                self.assertRaises(safeconduct.InvalidError, self.pay(), bad)
        self.assertEqual((self.did, self.fake.asked), ([], []))

    def test_arguments_that_change_meanwhile(self):
        amounts = [1]
        self.answers(lambda _: amounts.__setitem__(0, 1000000) or ALLOWED)
        self.refused(self.pay(), amounts)

    def test_generators_are_not_guarded(self):
        def generator():
            yield 1

        self.assertRaises(TypeError, self.guard, generator)
        self.answers(ALLOWED)

        async def later():
            return 1

        self.assertRaises(TypeError, self.guard(action="x")(lambda: later()))

    def test_failed_acts_are_reported(self):
        self.answers(ALLOWED)
        for error, fault in ((ValueError("x"), "tool"), (TimeoutError(), "timeout")):
            @self.guard
            def act(error=error):
                raise error

            with self.assertRaises(type(error)):
                Guard.__call__(self.guard, act.__wrapped__, arguments=lambda a: {})()
            self.assertEqual(self.outcome()["fault"], fault)

    def test_outcome_that_cannot_be_reported(self):
        self.answers(ALLOWED)
        self.fake.answers[OUTCOME] = [(503, {}, "{}")]
        with self.assertLogs("safeconduct", logging.WARNING) as logs:
            self.assertEqual(self.pay("x")(1), "x")
        self.assertIn("d7", logs.output[0])

    def test_with(self):
        self.answers(ALLOWED)
        permit = self.guard.permit(REQUEST)
        with permit as p:
            self.assertEqual((p.decision, p.tried, p.whole, p.until, p.met), ("d7", False, False, None, []))
        self.assertIn(OUTCOME, self.fake.lines())
        with self.assertRaises(Refused) as c:
            permit.use()
        self.assertEqual(c.exception.code, "permit_used")
        permit.done()
        self.assertEqual(self.fake.lines().count(OUTCOME), 1)
        with self.assertRaises(ValueError):
            with self.guard.permit(REQUEST):
                raise ValueError
        self.assertEqual(self.outcome()["fault"], "tool")

    def test_async(self):
        guard, did = self.guard, []

        @guard
        async def pay(amount):
            did.append(amount)
            await asyncio.sleep(0)
            return "paid"

        async def all():
            self.answers(ALLOWED)
            self.assertEqual(await pay(1), "paid")
            async with await guard.permit_async(REQUEST) as p:
                self.assertEqual(p.decision, "d7")
            self.assertEqual((await self.client.decide_async(REQUEST)).effect, "allow")
            await self.client.outcome_async("d7", fault="schema")
            self.answers(DENIED)
            with self.assertRaises(Refused):
                await pay(2)
            self.answers(obliged(custom("nod")))

            async def nod(duty):
                await asyncio.sleep(0)

            self.assertEqual((await Guard(self.client, handlers={"nod": nod}).permit_async(REQUEST)).met, ["o1"])
            with self.assertRaises(Refused):
                Guard(self.client, handlers={"nod": nod}).permit(REQUEST)

        asyncio.run(all())
        self.assertEqual(did, [1])

    def test_cancelled_while_waiting(self):
        async def wait():
            self.answers(obliged(custom("delay", **{"for": "50s"})))
            t = asyncio.ensure_future(self.guard.permit_async(REQUEST))
            while EVALUATE not in self.fake.lines():
                await asyncio.sleep(0)
            t.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await t

        asyncio.run(wait())


class Obligations(Served):
    def test_mask(self):
        result = {"iban": "DE1", "to": [{"iban": 7, "name": "x"}], "deep": {"a/b": {"~": "s"}}, "n": 1.5, "t": ({"iban": 1},)}
        self.answers(obliged(custom("mask", fields=["iban", "/deep/a~1b/~0"]), custom("mask", "o2", fields=["name"], **{"with": "-"})))
        got = self.pay(result)(1)
        self.assertEqual(got, {"iban": "***", "to": [{"iban": "***", "name": "-"}], "deep": {"a/b": {"~": "***"}}, "n": 1.5, "t": ({"iban": "***"},)})
        self.assertEqual((result["iban"], self.outcome()["met"]), ("DE1", ["o1", "o2"]))

    def test_mask_in_any_case(self):
        self.answers(obliged(custom("mask", fields=["iBan", "/deep/Name"])))
        self.assertEqual(self.pay({"IBAN": 1, "Iban": 2, "Deep": {"NAME": 3}, "name": 4})(1), {"IBAN": "***", "Iban": "***", "Deep": {"NAME": "***"}, "name": 4})
        self.answers(obliged(custom("mask", fields=["kodos"])))
        self.assertEqual(self.pay('{"\u212aodos":1,"KODO\u017f":2}')(1), '{"\u212aodos":"***","KODO\u017f":"***"}')

    def test_mask_of_text(self):
        self.answers(obliged(custom("mask", fields=["iban"])))
        self.assertEqual(self.pay('{"iban":"DE1","n":1.50}')(1), '{"iban":"***","n":1.50}')
        self.assertEqual(self.pay(b'[{"iban":"DE1"}]')(1), b'[{"iban":"***"}]')

    def test_results_that_cannot_be_masked(self):
        self.answers(obliged(custom("mask", fields=["iban"])))
        deep = current = []
        for _ in range(200):
            current.append([])
            current = current[0]
        for result in ("iban DE1", '{"iban":1,"iban":2}', object(), {"x": {1, 2}}, {1: "DE1"}, deep, b"\xff", type("D", (dict,), {})(iban="DE1")):
            with self.subTest(result=str(result)[:40]):
                with self.assertRaises(Withheld) as c:
                    self.pay(result)(1)
                self.assertNotIn("DE1", str(c.exception))
                self.assertNotIn("met", self.outcome())

    def test_errors_tell_of_results(self):
        self.answers(obliged(custom("mask", fields=["iban"])))

        @self.guard
        def pay():
            raise ValueError("no such iban DE1")

        with self.assertRaises(Withheld) as c:
            pay()
        self.assertTrue(c.exception.__suppress_context__)
        self.assertEqual(self.outcome()["fault"], "tool")

    def test_results_that_nobody_shapes(self):
        self.answers(obliged(custom("mask", fields=["iban"])))
        with self.assertRaises(Refused):
            self.guard.permit(REQUEST)
        with self.assertRaises(Withheld):
            with self.guard.permit(REQUEST, shapes=True) as p:
                self.assertTrue(p.whole)
        with self.guard.permit(REQUEST, shapes=True) as p:
            self.assertEqual(p.shape({"iban": 1}), {"iban": "***"})

    def test_cap(self):
        self.answers(obliged(custom("cap", argument="amount", most="100.00")))
        for amount in (Decimal("100.00"), 100, "99.999", 0, 0.5):
            self.pay()(amount)
        for amount in (Decimal("100.000000000000000000000000000001"), 101, "1e2", "-1", -1, True, None, [1, 101], "٣"):
            with self.subTest(amount=amount):
                self.assertEqual(self.refused(self.pay(), amount).code, "obligation_unsupported")

    def test_cap_in_any_case(self):
        for argument, properties, fine in (
            ("amount", {"Amount": 10}, True), ("amount", {"AMOUNT": 11}, False), ("amount", {"amount": 1, "Amount": 1000000}, False),
            ("amount", {"x": [{"amount": 1, "Amount": 1}]}, False), ("amount", {"amount": 1, "x": {"Amount": 2}}, True),
            ("kilos", {"kilos": 1, "\u212ailos": 2}, False), ("/to/amount", {"TO": {"Amount": 11}}, False), ("/to/amount", {"TO": {"Amount": 9}}, True),
            ("/to/amount", {"TO": {"amount": 1}, "to": {"amount": 1}}, False),
        ):
            with self.subTest(argument=argument, properties=properties):
                self.answers(obliged(custom("cap", argument=argument, most="10")))
                ask = lambda: self.guard.permit(Request("pay", ("invoice", "7"), properties=properties))
                if fine:
                    ask()
                else:
                    self.refused(ask)

    def test_dry_run(self):
        self.answers(obliged(custom("dry-run")))
        self.refused(self.pay(), 1)
        self.assertEqual(self.pay(dry_run=lambda amount, account, note: "would pay %s" % amount)(1), "would pay 1")
        self.assertEqual(self.did, [])

    def clock(self):
        """Has time pass only where something is waited for, and returns what has passed, by the wall clock."""
        passed = [0.0]
        start = keys.now()

        def sleep(seconds):
            passed[0] += seconds

        for patch in (unittest.mock.patch.object(_steps.time, "sleep", sleep), unittest.mock.patch.object(keys, "now", lambda: start + passed[0])):
            patch.start()
            self.addCleanup(patch.stop)
        return passed

    def test_permits_do_not_last(self):
        passed = self.clock()
        self.answers(ALLOWED)
        for guard, after in ((self.guard, 60), (Guard(self.client, fresh=5), 5)):
            permit = guard.permit(REQUEST)
            passed[0] += after - 0.5
            guard.permit(REQUEST).use()
            passed[0] += 0.5
            self.assertEqual(self.refused(permit.use).code, "permit_stale")

    def test_delayed_acts_are_decided_anew(self):
        passed = self.clock()
        notified = []
        handlers = {**safeconduct.built_in(), "delay": safeconduct.meet_delay(48 * 3600.0), "notification": notified.append}
        guard = Guard(self.client, handlers=handlers)
        note = {"id": "o3", "type": "notification", "properties": {"to": "a", "body": "b"}}
        duties = (custom("delay", **{"for": "24h"}), custom("mask", "o2", fields=["iban"]), note)
        self.answers(obliged(*duties))
        with guard.permit(REQUEST, shapes=True) as permit:
            self.assertEqual(permit.shape({"iban": 1}), {"iban": "***"})
        self.assertEqual((len(self.fake.bodies(EVALUATE)), passed[0], len(notified), permit.met), (2, 86400.0, 1, ["o1", "o2", "o3"]))

        self.answers(obliged(*duties), obliged(note, decision=False))  # suspended meanwhile: that is another decision
        self.refused(lambda: guard.permit(REQUEST, shapes=True))
        self.assertEqual(len(notified), 3)

        self.answers(obliged(*duties), obliged(custom("delay", **{"for": "23h"})))  # other words
        self.assertEqual(self.refused(lambda: guard.permit(REQUEST, shapes=True)).code, "permit_stale")

        self.answers(obliged(*duties))  # by a proof that counts once
        before = len(self.fake.bodies(EVALUATE))
        presented = Presented("t", "https://a.example", proof="p")
        self.assertEqual(self.refused(lambda: guard.permit(Request("pay", ("invoice", "7"), presented=presented), shapes=True)).code, "permit_stale")
        self.assertEqual(len(self.fake.bodies(EVALUATE)), before + 1)

    def test_retry_after(self):
        waited = []
        client = Client(self.fake.url, "sc_pep_1", attempts=3)
        self.addCleanup(client.close)
        with unittest.mock.patch.object(_http.random, "random", lambda: 0.0):
            for answers, waits in (
                ([(503, {"Retry-After": "2"}, {}), ALLOWED], [2.0]), ([(429, {"Retry-After": "1"}, {}), (503, {}, {}), ALLOWED], [1.0, 0.1]),
                ([(503, {"Retry-After": "3600"}, {}), ALLOWED], None), ([(503, {"Retry-After": "soon"}, {}), ALLOWED], [0.05]),
            ):
                del waited[:]
                self.answers(*answers)
                with unittest.mock.patch.object(client_module, "retry", lambda n, f: retry(n, f, waited.append)):
                    if waits is None:
                        with self.assertRaises(safeconduct.UnavailableError) as c:
                            client.decide(REQUEST)
                        self.assertEqual((c.exception.retry_after, waited), (3600.0, []))
                    else:
                        self.assertEqual((client.decide(REQUEST).id, waited), ("d7", waits))

    def test_delay(self):
        self.answers(obliged(custom("delay", **{"for": "10ms"})))
        self.pay()(1)
        for properties in ({"for": "61s"}, {"for": "2d"}, {"for": "-1s"}, {"for": "s"}, {}, {"until": "soon"}, {"for": "1s", "odd": 1}, {"until": utc(3600)}):
            with self.subTest(properties=properties):
                self.answers(obliged(custom("delay", **properties)))
                self.refused(self.pay(), 1)

    def test_log(self):
        log = logging.getLogger("test.obligations")
        log.setLevel(logging.INFO)
        self.guard = Guard(self.client, subject=("agent", "bot"), handlers=safeconduct.built_in(log))
        self.answers(obliged(custom("log", fields=["account"], level="warn")))
        with self.assertLogs(log) as logs:
            self.pay()(1, "ac\x1b[2Jme\u202e\n" + "x" * 500)
        self.assertTrue(logs.output[0].isprintable() and "ac?[2Jme??" in logs.output[0] and len(logs.output[0]) < 800, logs.output[0])
        self.answers(obliged(custom("log", level="debug")))
        self.refused(self.pay(), 1)

    def test_what_refuses(self):
        met = []
        self.guard = Guard(self.client, subject=("agent", "bot"), handlers={**safeconduct.built_in(), "told": lambda d: met.append(d.id)})
        told = custom("told", "ok")
        for bad in (
            custom("dance"), {"id": "x", "type": "dance", "properties": {}}, {"type": "custom", "properties": {}}, {"id": "x", "type": "custom"},
            {"id": "x", "type": "custom", "properties": []}, {"id": "x", "type": "step-up", "properties": {}}, {"id": "x", "type": "notification",
            "properties": {"to": "a"}}, 7, None, told, custom("told", "x") | {"more": 1}, custom("mask"), custom("mask", fields=[]),
            custom("mask", fields=["/a~2"]), custom("mask", fields=["a"] * 65), custom("mask", fields=["a"], odd=1), custom("cap", argument="amount", most=5),
            custom("cap", argument="amount", most="1e9"), custom("told", "x", pad="x" * 70000),
        ):
            with self.subTest(bad=str(bad)[:80]):
                met.clear()
                self.answers(obliged(told, bad))
                self.refused(self.pay(), 1)
                self.assertEqual(met, ["ok"], "the others are met")
        self.answers(obliged(*[custom("told", "o%d" % i) for i in range(65)]))
        self.refused(self.pay(), 1)

    def test_refusals_oblige_too(self):
        met = []
        self.guard = Guard(self.client, subject=("agent", "bot"), handlers={"told": lambda d: met.append(d.id)})
        self.answers(obliged(custom("told"), decision=False))
        self.refused(self.pay(), 1)
        self.assertEqual(met, ["o1"])

    def test_handler_that_fails(self):
        def fail(_):
            raise RuntimeError("boom")

        self.guard = Guard(self.client, subject=("agent", "bot"), handlers={"told": fail})
        self.answers(obliged(custom("told")))
        self.assertIn("boom", str(self.refused(self.pay(), 1)))

    def test_step_up_is_asked_once_more(self):
        step = {"id": "s", "type": "step-up", "properties": {"acr_value": "high"}}
        self.guard = Guard(self.client, subject=("agent", "bot"), handlers={"step-up": lambda d: None})
        self.answers(obliged(step, decision=False), ALLOWED)
        self.pay()(1)
        self.answers(obliged(step, decision=False))
        self.refused(self.pay(), 1)
        self.assertEqual(self.fake.lines().count(EVALUATE), 4)


class Asking(Served):
    def setUp(self):
        super().setUp()
        self.guard = Guard(self.client, subject=("agent", "bot"), ask=lambda q, d: "Invoice 7 is due.")

    def offer(self, **more):
        return {"decision": False, "context": {"evaluation_id": "d3", "code": "approval_required", "evaluated_at": utc(0), "reason": "approval_required",
                "access_request": {"endpoint": self.fake.url + "/access/v1/requests", "expires_at": utc(600), "binding_token": "a.b.c", "template": "one", **more}}}

    def task(self, status, approval=None, **more):
        t = {"task": {"id": "arq_1", "status": status, "status_endpoint": self.fake.url + "/access/v1/requests/arq_1", "expires_at": utc(600), **more}}
        if approval is not None:
            t["result"] = {"mode": "reevaluate", "approval": approval}
        return json.dumps(t).replace("1.5,", "1.50,")

    def approval(self, seconds=600):
        return {"id": "apr_1", "approved_until": utc(seconds), "state": [1.5, "<&>"]}

    def test_approved(self):
        end = utc(600)
        self.answers(self.offer(), {"decision": True, "context": {"evaluation_id": "d7", "approval": {"id": "apr_1", "approved_until": end}}})
        self.fake.answers[SUBMIT] = [(202, {}, self.task("approved", self.approval()))]
        self.pay("paid")(900)
        body = json.loads(self.fake.bodies(SUBMIT)[0])
        self.assertEqual(body["context"]["business_justification"], "Invoice 7 is due.")
        self.assertEqual((body["action"]["properties"]["amount"], body["denial"]["binding_token"], body["denial"]["evaluation_id"]), (900, "a.b.c", "d3"))
        self.assertIn("idempotency-key", self.fake.asked[1][1])
        self.assertIn(b'"state":[1.50,"<&>"]', self.fake.bodies(EVALUATE)[1], "an approval is carried as it was given")

    def test_polled(self):
        self.answers(self.offer(), ALLOWED)
        self.fake.answers[SUBMIT] = [(202, {}, self.task("pending"))]
        self.fake.answers[STATUS] = [(503, {}, "{}"), self.task("pending"), self.task("approved", self.approval())]
        waited = []
        with unittest.mock.patch.object(_steps.time, "sleep", waited.append):
            self.pay()(900)
        self.assertEqual((len(self.did), len(waited), self.fake.lines().count(STATUS)), (1, 3, 3))
        self.assertTrue(all(1.5 <= w <= 9 for w in waited), waited)

    def test_offer_without_an_address(self):
        self.answers(self.offer(endpoint=None), ALLOWED)
        self.assertIsInstance(self.refused(self.pay(), 900).cause, safeconduct.UnavailableError)
        self.answers(self.offer(endpoint=None), ALLOWED)
        self.fake.answers["GET /.well-known/authzen-configuration"] = [{"access_request_endpoint": self.fake.url + "/access/v1/requests"}]
        self.fake.answers[SUBMIT] = [(201, {}, self.task("approved", self.approval()))]
        self.pay()(900)
        self.assertEqual(len(self.did), 1)

    def test_coroutine_ends_with_the_approval(self):
        end = datetime.fromtimestamp(keys.now() + 0.3, timezone.utc).isoformat()
        self.answers({"decision": True, "context": {"evaluation_id": "d7", "approval": {"id": "apr_1", "approved_until": end}}})

        @self.guard
        async def pay():
            await asyncio.Event().wait()

        with self.assertRaises(asyncio.TimeoutError):
            asyncio.run(pay())
        self.assertEqual(self.outcome()["fault"], "timeout")

    def test_not_approved(self):
        for task in (self.task("denied"), self.task("expired"), self.task("approved"), self.task("approved", {"id": "x"}), self.task("failed", self.approval()),
                     self.task("partial", self.approval()), self.task("approved", self.approval(), items=[{}]), "{}", '{"task":{"status":7}}'):
            with self.subTest(task=task[:70]):
                self.answers(self.offer())
                self.fake.answers[SUBMIT] = [(202, {}, task)]
                self.refused(self.pay(), 900)

    def test_unknown_status_is_not_approved(self):
        self.answers(self.offer())
        self.fake.answers[SUBMIT] = [(202, {}, self.task("dancing", self.approval(), expires_at=utc(-1)))]
        self.assertIsInstance(self.refused(self.pay(), 900).cause, safeconduct.NotFoundError)

    def test_offers_that_are_none(self):
        for offer in (self.offer(expires_at="soon"), self.offer(expires_at=None)):
            self.answers(offer)
            self.assertIsNone(self.refused(self.pay(), 900).offer)
        self.assertNotIn(SUBMIT, self.fake.lines())

    def test_nothing_goes_to_another_origin(self):
        evil = Fake({"POST /access/v1/requests": [self.task("approved", self.approval())], STATUS: [self.task("approved", self.approval())]})
        self.addCleanup(evil.close)
        self.answers(self.offer(endpoint=evil.url + "/access/v1/requests"))
        self.assertIsInstance(self.refused(self.pay(), 900).cause, safeconduct.ForbiddenError)
        self.answers(self.offer())
        self.fake.answers[SUBMIT] = [(202, {}, self.task("pending").replace(self.fake.url, evil.url))]
        with unittest.mock.patch.object(_steps.time, "sleep", lambda _: None):
            self.assertIsInstance(self.refused(self.pay(), 900).cause, safeconduct.ForbiddenError)
        self.assertEqual(evil.asked, [])

    def test_nobody_is_asked(self):
        self.answers(self.offer())
        for guard in (Guard(self.client, subject=("agent", "bot")), Guard(self.client, subject=("agent", "bot"), ask=lambda q, d: None)):
            self.guard = guard
            e = self.refused(self.pay(), 900)
            self.assertEqual((e.code, e.offer.template), ("approval_required", "one"))
        self.assertNotIn(SUBMIT, self.fake.lines())

    def test_asked_once(self):
        self.answers(self.offer())
        self.fake.answers[SUBMIT] = [(202, {}, self.task("approved", self.approval()))]
        self.refused(self.pay(), 900)
        self.assertEqual(self.fake.lines().count(SUBMIT), 1)

    def test_approval_that_is_over(self):
        over = {"decision": True, "context": {"evaluation_id": "d7", "approval": {"id": "apr_1", "approved_until": utc(-5)}}}
        self.answers(self.offer(), over)
        self.fake.answers[SUBMIT] = [(202, {}, self.task("approved", self.approval()))]
        self.assertEqual(self.refused(self.pay(), 900).code, "approval_expired")
        for until in ("soon", 7):
            self.answers({"decision": True, "context": {"evaluation_id": "d7", "approval": {"id": "apr_1", "approved_until": until}}})
            self.refused(self.pay(), 900)

    def test_pending_grant_is_waited_for(self):
        pending = {"decision": False, "context": {"reason": "grant_pending", "next_action": "retry", "retry_after": 2}}
        self.answers(self.offer(), pending, ALLOWED)
        self.fake.answers[SUBMIT] = [(202, {}, self.task("approved", self.approval()))]
        waited = []
        with unittest.mock.patch.object(_steps.time, "sleep", waited.append):
            self.pay()(900)
        self.assertEqual(waited, [2.0])

    def test_wishes(self):
        self.guard = Guard(self.client, subject=("agent", "bot"), ask=lambda q, d: AccessRequest("now", keys.instant("2030-01-01T00:00:00Z"), True, {"name": "t"}))
        self.answers(self.offer(), ALLOWED)
        self.fake.answers[SUBMIT] = [(202, {}, self.task("approved", self.approval()))]
        self.pay()(900)
        body = json.loads(self.fake.bodies(SUBMIT)[0])
        self.assertEqual((body["requested_access"], body["client"]), ({"requested_until": "2030-01-01T00:00:00Z", "emergency": True}, {"name": "t"}))


class Outcomes(Served):
    def test_sent(self):
        for said, want in (({}, {"size_bytes": 0}), ({"result": "right", "latency": 0.0015, "size": 12, "met": ["m"]}, {"result": "right", "latency_ms": 2,
                           "size_bytes": 12, "met": ["m"]}), ({"fault": "timeout"}, {"fault": "timeout"})):
            self.client.outcome("d7", **said)
            self.assertEqual(self.outcome(), want)
        for id in ("", "d", "7", "d4/../x", "d-1", "d٣"):
            self.assertRaises(safeconduct.InvalidError, self.client.outcome, id)

    def test_counts_once(self):
        self.client._attempts = 3
        self.fake.answers[OUTCOME] = [(503, {}, "{}"), (409, {}, "{}")]
        self.client.outcome("d7")
        self.assertRaises(safeconduct.ConflictError, self.client.outcome, "d7")

    def test_decisions_that_are_not_recorded(self):
        self.answers({"decision": True})
        self.pay()(1)
        self.assertEqual(self.fake.lines(), [EVALUATE])
        self.assertRaises(safeconduct.InvalidError, self.client.outcome, Decision("allow", "allowed"))


if __name__ == "__main__":
    unittest.main()
