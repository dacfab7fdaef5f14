import asyncio
import json
import os
import threading
import time
import unittest
import unittest.mock
import urllib.request

import safeconduct
from safeconduct import _steps
from safeconduct import Agent, Client, Guard, Presented, Refused, Request, agent_client, enrol

SETUP = os.environ.get("SAFECONDUCT_SDKTEST", "")


@unittest.skipUnless(SETUP, "NOT TRIED: SAFECONDUCT_SDKTEST names no running service; go test ./sdk/sdktest does")
class Service(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(SETUP, encoding="utf-8") as f:
            cls.at = json.load(f)
        cls.clerk = Agent.load(cls.at["key_file"])
        cls.filer = enrol(cls.at["url"], cls.at["enrolments"]["filer"], os.path.join(cls.at["scratch"], "filer.key"), algorithm="ES256")
        cls.pep = Client(cls.at["url"], cls.at["pep"])
        cls.bank = cls.at["bank"]

    def api(self, who, method, path, body=None):
        r = urllib.request.Request(self.at["url"] + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                   headers={"Authorization": "Bearer " + self.at[who], "Content-Type": "application/json"})
        with urllib.request.urlopen(r, timeout=10) as answer:
            return json.load(answer)

    def anna(self, yes):
        """Has anna answer the next ask, in a thread that the test waits for. It is looked for her answer more often than the service wants."""
        for module, real in ((_steps.time, time.sleep), (_steps.asyncio, asyncio.sleep)):
            p = unittest.mock.patch.object(module, "sleep", lambda seconds, real=real: real(min(seconds, 0.1)))
            p.start()
            self.addCleanup(p.stop)

        def answer():
            items = []
            while not items:
                items = self.api("approver", "GET", "/v1/approvals?mine=true")["items"]
            path = "/v1/approvals/" + items[0]["id"]
            seen = self.api("approver", "POST", path + "/view", {})
            self.api("approver", "POST", path + "/answer", {"yes": yes, "view": seen["view"], "comment": "as agreed"})

        t = threading.Thread(target=answer)
        t.start()
        self.addCleanup(t.join)

    def outcomes(self, decision):
        entries = self.api("admin", "GET", "/v1/audit/entries?kind=outcome.reported&limit=100")["items"]
        return [e for e in entries if e["body"]["decision"] == int(decision[1:])]

    def pays(self, amount, **more):
        return Request("pay", ("Account", "acme"), ("agent", "clerk"), properties={"amount": amount}, **more)

    def show(self, headers, method="GET", url="/accounts"):
        return Presented(headers["Authorization"].split(" ")[1], self.bank, headers["DPoP"], method, self.bank + url)

    def test_token(self):
        t = self.clerk.token(["pay"], resource=self.bank)
        self.assertEqual((t.type, t.scope), ("DPoP", ("pay",)))
        self.assertIs(self.clerk.token(["pay"], resource=self.bank), t)
        self.assertTrue(self.clerk.introspect(t.value)["active"])

    def test_nonce(self):
        a = Agent.load(self.at["key_file"])  # which knows no nonce yet, and the service wants one
        self.assertEqual(a._nonce, "")
        a.token(["pay"])
        self.assertNotEqual(a._nonce, "")

    def test_enrolled(self):
        self.assertEqual(self.filer.id, "filer")
        again = Agent.load(os.path.join(self.at["scratch"], "filer.key"))
        self.assertEqual((again.id, again.key_id), ("filer", self.filer.key_id))
        self.assertEqual(again.token(["pay"]).scope, ("pay",))
        with self.assertRaises(safeconduct.UnauthenticatedError) as c:
            enrol(self.at["url"], self.at["enrolments"]["filer"], os.path.join(self.at["scratch"], "again.key"))
        self.assertTrue(c.exception.hint)

    def test_what_is_not_granted(self):
        with self.assertRaises(safeconduct.ForbiddenError) as c:
            self.clerk.token(["fly"])
        self.assertEqual(c.exception.code, "invalid_scope")
        stranger = enrol(self.at["url"], self.at["enrolments"]["stranger"], os.path.join(self.at["scratch"], "stranger.key"))
        with self.assertRaises(safeconduct.SafeconductError):
            stranger.token(["pay"])

    def test_decide(self):
        d = self.pep.decide(self.pays("100.0"))
        self.assertEqual((d.effect, d.code, [o["id"] for o in d.obligations]), ("allow", "allowed", ["masked"]))
        d = self.pep.decide(self.pays("20000.0"))
        self.assertEqual((d.effect, d.code, d.offer), ("refuse", "forbidden", None))
        self.assertIn("Nobody pays that much.", [r.message for r in d.reasons])
        self.assertTrue(d.changes)
        self.assertEqual(self.pep.decide(Request("pay", ("Account", "acme"), ("agent", "nobody"), properties={"amount": "1.0"})).code, "agent_unknown")
        with self.assertRaises(safeconduct.InvalidError):
            self.pep.decide(Request("fly", ("Account", "acme"), ("agent", "clerk")))
        with self.assertRaises(safeconduct.UnauthenticatedError):
            Client(self.at["url"], "sc_pep_wrong").decide(self.pays("1.0"))

    def test_guard_masks_and_reports(self):
        guard = Guard(self.pep, subject=("agent", "clerk"))
        made = []

        @guard(resource=("Account", "acme"))
        def pay(amount):
            made.append(amount)
            return {"paid": True, "from": {"iban": "DE02120300000000202051"}}

        self.assertEqual(pay("99.0"), {"paid": True, "from": {"iban": "***"}})
        with self.assertRaises(Refused) as c:
            pay("20000.0")
        self.assertEqual((c.exception.code, made), ("forbidden", ["99.0"]))
        with guard.permit(self.pays("98.0"), shapes=True) as p:
            p.shape({})
        reported = self.outcomes(p.decision)
        self.assertEqual((len(reported), reported[0]["body"]["met"]), (1, ["masked"]))
        with self.assertRaises(safeconduct.ConflictError):
            self.pep.outcome(p.decision, fault="tool")

    def test_guard_that_cannot_mask(self):
        with self.assertRaises(Refused) as c:
            Guard(self.pep, handlers={}).permit(self.pays("97.0"), shapes=True)
        self.assertEqual(c.exception.code, "obligation_unsupported")

    def test_approved(self):
        guard = Guard(self.pep, subject=("agent", "clerk"), ask=lambda q, d: "Invoice 7 is due.")

        @guard(resource=("Account", "acme"))
        def pay(amount):
            return {"paid": amount}

        self.anna(True)
        self.assertEqual(pay("900.0"), {"paid": "900.0"})

    def test_refused_by_a_person(self):
        guard = Guard(self.pep, subject=("agent", "clerk"), ask=lambda q, d: "Please.")

        @guard(resource=("Account", "acme"))
        async def pay(amount):
            raise AssertionError("it happened")

        self.anna(False)
        with self.assertRaises(Refused) as c:
            asyncio.run(pay("901.0"))
        self.assertEqual((c.exception.code, c.exception.task.status), ("approval_required", "denied"))

    def test_how_to_ask(self):
        with self.assertRaises(Refused) as c:
            Guard(self.pep).permit(self.pays("902.0"), shapes=True)
        offer = c.exception.offer
        self.assertEqual((c.exception.remedies, offer.template), (("approval",), "finance"))
        task = self.pep.request_access(self.pays("902.0"), offer, safeconduct.AccessRequest("Please."))
        self.assertEqual((task.status, task.approval), ("pending", None))
        self.assertEqual(self.pep.cancel(self.pep.task(task), "not needed").status, "cancelled")

    def test_agent_asks_for_itself(self):
        me = agent_client(self.clerk, ["pay"])
        q = Request("pay", ("Account", "acme"), properties={"amount": "10.0"})
        self.assertEqual(me.decide(q).effect, "allow")
        with self.assertRaises(safeconduct.InvalidError):
            me.decide(Request("pay", ("Account", "acme"), properties={"amount": "10.0"}, observed={"ip": "::1"}))
        with Guard(me).permit(q, shapes=True) as p:
            p.shape(None)
        self.assertIsNone(p.unreported)
        self.assertEqual(len(self.outcomes(p.decision)), 1)
        large = Request("pay", ("Account", "acme"), properties={"amount": "903.0"})
        task = me.request_access(large, me.decide(large).offer, safeconduct.AccessRequest("I am asked to."))
        self.assertEqual(me.cancel(task).status, "cancelled")

    def test_presented(self):
        tokens = self.clerk.tokens(["pay"], resource=self.bank)
        q = Request("pay", ("Account", "acme"), properties={"amount": "10.0"})
        shown = tokens.headers("GET", self.bank + "/accounts?own")
        d = self.pep.decide(Request(q.action, q.resource, properties=q.properties, presented=self.show(shown)))
        self.assertEqual(d.code, "allowed")
        shown = tokens.headers("POST", self.bank + "/accounts")
        d = self.pep.decide(Request(q.action, q.resource, properties=q.properties, presented=self.show(shown)))
        self.assertEqual(d.code, "passport_invalid")

    def test_delegation(self):
        subject = self.clerk.token(["pay"], resource=self.bank, may_act="filer")
        with self.assertRaises(safeconduct.SafeconductError):
            self.clerk.exchange(subject.value, ["pay"], resource=self.bank)
        source = self.filer.delegated(subject.value, ["pay"], resource=self.bank)
        q = {"action": "pay", "resource": ("Account", "acme"), "properties": {"amount": "10.0"}}
        self.assertEqual(self.pep.decide(Request(**q, presented=self.show(source.headers("GET", self.bank + "/accounts")))).effect, "allow")
        self.assertEqual(self.filer.introspect(source.token().value)["act"]["sub"], "filer")
        self.clerk.revoke(subject.value)
        self.assertEqual(self.pep.decide(Request(**q, presented=self.show(source.headers("GET", self.bank + "/accounts")))).code, "passport_invalid")


if __name__ == "__main__":
    unittest.main()
