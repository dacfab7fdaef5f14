import contextlib
import io
import os
import re
import tempfile
import unittest

from safeconduct import generate, keys

from .fake import DISCOVERY, EVALUATE, TOKEN, Fake, issued, metadata

README = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "README.md")


class Readme(unittest.TestCase):
    def setUp(self):
        with open(README, encoding="utf-8") as f:
            text = f.read()
        self.blocks = re.findall(r"```python\n(.*?)```", text, re.S)
        self.fake = Fake({"POST /v1/decisions/d7/outcome": [{"entry": 1}]})
        self.addCleanup(self.fake.close)

    def run_block(self, i, **places):
        code = self.blocks[i]
        for place, value in places.items():
            place = {"pdp": "https://pdp.example.com", "erp": "https://erp.example.com", "file": "invoice-bot.key"}[place]
            self.assertIn(place, code)
            code = code.replace(place, value)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, README, "exec"), {})
        return out.getvalue()

    def test_guard(self):
        self.fake.answers[EVALUATE] = [{"decision": True, "context": {"evaluation_id": "d7"}}]
        self.assertEqual(self.run_block(0, pdp=self.fake.url), "{'paid': '120.50'}\n")
        self.fake.answers[EVALUATE] = [{"decision": False, "context": {"code": "forbidden", "reasons": [{"code": "x", "message": "Too much."}]}}]
        self.assertEqual(self.run_block(0, pdp=self.fake.url), "forbidden refused: Too much. ()\n")

    def test_agent(self):
        d = tempfile.TemporaryDirectory()
        self.addCleanup(d.cleanup)
        file = os.path.join(d.name, "key")
        keys.save(file, keys.KeyFile(generate(), self.fake.url, "invoice-bot"), True)
        self.fake.answers.update({DISCOVERY: [metadata(self.fake)], TOKEN: [issued()], EVALUATE: [{"decision": True}], "GET /invoices/7": ["seven"]})
        self.assertEqual(self.run_block(1, erp=self.fake.url, file=file), "['Authorization', 'DPoP']\n200 b'seven'\nallow\n")


if __name__ == "__main__":
    unittest.main()
