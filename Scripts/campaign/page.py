# SPDX-License-Identifier: Apache-2.0
"""Requests that no browser sends, and kills of the page while people label."""
import http.client
import json
import re
import signal
import socket
import subprocess
import time
import uuid

METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW", "get", ""]
PATHS = ["/", "/api/session", "/api/next", "/api/label", "/api/skip", "/api/undo", "/api/progress",
         "/..//..//etc/passwd", "/api/label?x=%00%ff", "*", "http://elsewhere/", "/" + "a" * 9000, "/%"]
HEADS = [b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 4",
         b"Transfer-Encoding: chunked", b"Host: elsewhere", b"Host:", b"Cookie: attune=;;;=",
         b"Content-Type: application/json", b"Content-Type: \xff", b": empty", b"X" * 70000,
         b"Expect: 100-continue", b"Connection: upgrade", b"Upgrade: h2c", b"Origin: null"]
BODIES = [b"", b"{}", b"[" * 50000, b'{"name":' + b"9" * 5000 + b"}", b'{"name":"\xff"}', b"null",
          b'{"name":"\\ud800"}', b"zz\r\nabc\r\n0\r\n\r\n", b"4\r\nabcd\r\n-1\r\n", b"5\r\nabc",
          b"ffffffffffffffffff\r\n", b'{"question":"x","key":"y","ranks":[1,1e999]}', b"\x00" * 100]


class Page:
    """A server over a store, and those who ask it."""
    line = ("collect --samples questions.jsonl --store page.db --port 0 "
            "--set requests_per_second=1000000 --set request_burst=1000000")

    def __init__(self, bench, random, report):
        self.bench, self.random, self.report = bench, random, report
        self.process = None
        self.acknowledged = set()
        bench.remove("page.db")
        bench.rows("questions.jsonl", [
            {"prompt": f"ask {i}", "completions": [
                {"text": text, "ids": [1], "logprob": -1, "finish_reason": "stop"}
                for text in ("a", "b")], "model": {"name": "tiny", "fingerprint": "t"}} for i in range(5000)])
        self.begin()

    def begin(self):
        self.serve()
        # Strange requests have a name of their own: one of them may take a label back.
        self.headers, self.strange = self.session(), self.session()
        self.question = json.loads(self.ask("POST", "/api/next", {}, self.headers)[0])

    def serve(self):
        """Starts the server and waits until it listens."""
        out = self.bench.path("page.txt")
        self.process = self.bench.start(self.line, out=out)
        for _ in range(600):
            with open(out + ".err", errors="replace") as file:
                found = re.findall(r"http://127\.0\.0\.1:(\d+)/", file.read())
            if found:
                self.port = int(found[-1])
                break
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        else:
            raise SystemExit("the page does not begin")
        if self.process.poll() is not None:
            with open(out + ".err", errors="replace") as file:
                raise SystemExit("the page ends: " + file.read())

    def session(self, name=None):
        """The headers of somebody new."""
        reply, headers = self.ask("POST", "/api/session", {"name": name or uuid.uuid4().hex[:8]})
        return {"Cookie": headers.get("Set-Cookie", "").split(";")[0],
                "X-Attune-Seal": json.loads(reply).get("seal", "")}

    def ask(self, method, path, body, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, json.dumps(body),
                               {"Content-Type": "application/json", **(headers or {})})
            reply = connection.getresponse()
            text = reply.read()
            if reply.status != 200:
                raise OSError(f"status {reply.status}: {text[:200]!r}")
            return text, dict(reply.getheaders())
        finally:
            connection.close()

    def label(self):
        """One label of a person, which must outlive everything once it is acknowledged."""
        key = uuid.uuid4().hex
        question = self.question.get("question")
        if question is None:
            return
        ranks = self.random.choice([[1, 2], [2, 1], [1, 1]])
        reply, _ = self.ask("POST", "/api/label",
                            {"key": key, "question": question, "ranks": ranks}, self.headers)
        self.acknowledged.add(question)
        self.question = json.loads(reply)

    def raw(self):
        """A request of random parts."""
        random = self.random
        head = f"{random.choice(METHODS)} {random.choice(PATHS)} HTTP/{random.choice(['1.1', '1.0', '9'])}"
        lines = [head.encode(), f"Host: 127.0.0.1:{self.port}".encode()]
        if random.random() < 0.7:
            lines.append(b"Content-Type: application/json")
            lines += [f"{key}: {value}".encode() for key, value in self.strange.items()]
        lines += random.sample(HEADS, random.randrange(3))
        body = random.choice(BODIES)
        if random.random() < 0.5:
            lines.append(b"Content-Length: %d" % len(body))
        request = b"\r\n".join(lines) + b"\r\n\r\n" + body
        if random.random() < 0.2:
            request = request[:random.randrange(len(request))]
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(10)
                reply = b""
                while part := connection.recv(65536):
                    reply += part
        except TimeoutError:
            return request, "is not answered and not closed within 10 s"
        except OSError:
            return request, None
        status = re.match(rb"HTTP/1\.[01] (\d+)", reply)
        if status and status.group(1)[0] == 53:
            return request, "is answered with " + reply[:80].decode(errors="replace")
        return request, None

    def trial(self):
        try:
            if self.random.random() < 0.5:
                self.report.count("labels")
                self.label()
            else:
                self.report.count("requests")
                request, trouble = self.raw()
                if trouble:
                    self.report.fail("page", f"a request {trouble}", request, "request")
        except (OSError, ValueError) as error:
            self.report.fail("page", f"an honest request: {error}")
        if self.process.poll() is not None:
            self.report.fail("page", f"ends with {self.process.returncode}")
            self.begin()
        elif self.random.random() < 0.01:
            self.report.count("kills of the page")
            self.end(signal.SIGKILL)
            self.begin()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.report.fail("page", f"does not end within 30 s of signal {int(number)}")
            self.process.kill()
            self.process.wait()

    def close(self):
        """Ends the page and counts: every acknowledged label once."""
        self.end()
        self.bench.remove("page.jsonl")
        self.bench.must("feedback export --store page.db --output page.jsonl")
        with open(self.bench.path("page.jsonl")) as file:
            prompts = [json.loads(line)["prompt"] for line in file]
        there = len(prompts)
        if there < len(self.acknowledged) or there > len(self.acknowledged) + 2:
            self.report.fail("page", f"{len(self.acknowledged)} labels were acknowledged, "
                             f"{there} rows are in the store")
