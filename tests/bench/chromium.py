"""A Chromium without a window, spoken to over its debugging pipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
    "--disable-dev-shm-usage",
]
ON_PIPES = """
import os, sys
reader, writer, *command = sys.argv[1:]
os.dup2(int(reader), 3)
os.dup2(int(writer), 4)
os.execv(command[0], command)
"""
"""Starts a command with its debugging pipe where Chromium expects it: it reads from 3 and writes to 4."""


class Browser:
    """A Chromium spoken to over its debugging pipe: NUL-separated JSON messages, commands answered by number."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader, self.writer = reader, writer
        self.buffer = b""
        self.number = 0
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        number = self.number
        message = {"id": number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        while (answer := self.read()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def read(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            part = os.read(self.reader, 1 << 16)
            assert part, "the browser has closed its pipe"
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        content: dict[str, Any] = json.loads(message)
        return content

    def await_event(self, method: str) -> None:
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.read())

    def visit(self, path: Path, width: int, scheme: str = "light") -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        self.await_event("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def of(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") in methods]


@contextmanager
def browse(profile: Path) -> Iterator[Browser]:
    """Run a browser; it is asked to close, and ended after ten seconds if it has not."""
    assert CHROMIUM is not None
    theirs, ours = os.pipe(), os.pipe()
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    launch = [sys.executable, "-c", ON_PIPES, str(theirs[0]), str(ours[1]), *command]
    pipes = (theirs[0], ours[1])
    process = subprocess.Popen(launch, pass_fds=pipes, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for pipe in pipes:
        os.close(pipe)
    browser = Browser(ours[0], theirs[1])
    try:
        yield browser
        browser.session = None
        browser.call("Browser.close")
    finally:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(theirs[1])
        os.close(ours[0])
