# SPDX-License-Identifier: Apache-2.0
"""Somebody who labels on the page, always the same way."""
import json
import signal
import time

from bench import Run
from page import Page


class Person(Page):
    """Prefers the shorter answer, on the page that a command serves."""

    def __init__(self, place, line):
        self.bench, self.line = place, line
        self.serve()
        self.headers = self.session("anna")

    def turn(self):
        return json.loads(self.ask("POST", "/api/next", {}, self.headers)[0])

    def settle(self):
        """Waits until no further question has come for two seconds: their order is that of all of them."""
        count, since = -1, time.monotonic()
        while time.monotonic() < since + 2:
            now = self.turn()["counts"]["all"]
            if now != count:
                count, since = now, time.monotonic()
            time.sleep(0.1)

    def label(self, most=None):
        """Labels so many questions, or all that there are."""
        labels, ends = 0, time.monotonic() + self.bench.limit
        if most:
            self.settle()
        while labels != most and self.process.poll() is None and time.monotonic() < ends:
            try:
                turn = self.turn()
                if turn["state"] == "done" or most and turn["state"] == "waiting":
                    return
                if turn["state"] == "waiting":
                    time.sleep(0.05)
                    continue
                first, second = (answer[0]["html"] for answer in turn["answers"])
                ranks = [1, 2] if (len(first), first) <= (len(second), second) else [2, 1]
                self.ask("POST", "/api/label", {"key": f"label {labels}", "question": turn["question"],
                                                "ranks": ranks}, self.headers)
                labels += 1
            except OSError:
                # The page has closed: the command has what it waited for.
                time.sleep(0.05)

    def end(self, words=None, interrupts=True):
        """Waits until the command has said some words, presses Ctrl-C, and says what it came to."""
        out, ends = self.bench.path("page.txt"), time.monotonic() + 60
        while words and time.monotonic() < ends:
            with open(out + ".err", errors="replace") as file:
                if words in file.read():
                    break
            time.sleep(0.05)
        if interrupts:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(self.bench.limit)
        with open(out, errors="replace") as output, open(out + ".err", errors="replace") as errors:
            return Run(code, errors.read(), output.read(), 0)
