"""A server that answers as it is told, so that it can say what ours never would."""

import http.server
import json
import socket
import threading
import time

from safeconduct import keys


class Fake:
    """answers maps "METHOD /path" to a list of answers, one after the other; the last is repeated. An answer is a body, a tuple
    of status, headers and body, or a function of the request that returns one of them, or None if it has answered."""

    def __init__(self, answers=None):
        self.answers = answers if answers is not None else {}
        self.asked = []
        self.lock = threading.Lock()
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def log_message(self, *args):
                pass

            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                line = self.command + " " + self.path
                with fake.lock:
                    fake.asked.append((line, dict((k.lower(), v) for k, v in self.headers.items()), body))
                    listed = fake.answers.get(line, [(404, {}, b"{}")])
                    answer = listed.pop(0) if len(listed) > 1 else listed[0]
                if callable(answer):
                    answer = answer(self)
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, text = answer if isinstance(answer, tuple) else (200, {}, answer)
                if isinstance(text, (dict, list)):
                    text = json.dumps(text)
                if isinstance(text, str):
                    text = text.encode()
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    if "Content-Length" not in headers:
                        self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                    self.wfile.flush()
                except OSError:
                    self.close_connection = True

            do_GET = do_POST = handle_one

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def lines(self):
        return [a[0] for a in self.asked]

    def bodies(self, line):
        return [a[2] for a in self.asked if a[0] == line]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


DISCOVERY = "GET /.well-known/oauth-authorization-server"
TOKEN = "POST /token"
EVALUATE = "POST /access/v1/evaluation"
SUBMIT = "POST /access/v1/requests"
STATUS = "GET /access/v1/requests/arq_1"


def metadata(fake, **more):
    return {"issuer": fake.url, "token_endpoint": fake.url + "/token", **more}


def issued(**more):
    return {"access_token": "t0ken", "token_type": "DPoP", "expires_in": 300, "scope": "pay", **more}


def claims(jws):
    import base64
    head, body, _ = jws.split(".")
    return [json.loads(base64.urlsafe_b64decode(p + "=" * (-len(p) % 4))) for p in (head, body)]


def drip(handler):
    """Sends a byte of the header now and then, for ever."""
    try:
        for _ in range(1000):
            handler.wfile.write(b"H")
            handler.wfile.flush()
            time.sleep(0.02)
    except OSError:
        pass


def utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(keys.now() + seconds))
