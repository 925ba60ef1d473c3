"""Headless Chromium, driven by the DevTools protocol over a pipe: no driver, no library."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
         "--disable-dev-shm-usage")  # fmt: skip
PIPED = """
import os, sys
commands, replies = (os.dup(int(n)) for n in sys.argv[1:3])
while replies < 5 or commands < 5:
    commands, replies = os.dup(commands), os.dup(replies)
os.dup2(commands, 3); os.dup2(replies, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Tab": 9, "Enter": 13, "1": 49, "2": 50}


def chromium() -> tuple[str, str]:
    """(the browser's path, "") or ("", why there is none). Debian's is installed where this may be done."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found, ""
    apt = shutil.which("apt-get")
    if not apt or os.geteuid() != 0:
        return "", "no Chromium here, and no right to install Debian's"
    with open(Path(tempfile.gettempdir()) / "motif-apt.lock", "w") as lock:  # two workers of one run
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := shutil.which("chromium"):  # the other worker's work
            return found, ""
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            try:
                done = subprocess.run([apt, "-q", *command], capture_output=True, text=True, timeout=70,
                                      env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})  # fmt: skip
            except subprocess.TimeoutExpired:
                return "", f"Chromium cannot be installed: apt-get {command[0]} took more than 70 s"
        found = shutil.which("chromium")
        return (found, "") if found else ("", f"Chromium cannot be installed: {done.stderr.strip()[-200:]}")


class Browser:
    """One process; each page is a person of its own, with cookies of its own."""

    def __init__(self, path: str, folder: Path) -> None:
        commands, self.write = os.pipe()
        self.read, replies = os.pipe()
        command = [sys.executable, "-c", PIPED, str(commands), str(replies), path, *FLAGS]
        self.process = subprocess.Popen(
            [*command, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(commands, replies), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
        )  # fmt: skip
        os.close(commands)
        os.close(replies)
        self.rest, self.number, self.events = b"", 0, list[dict[str, Any]]()

    def call(self, method: str, session: str | None = None, *, timeout: float = 60, **parameters: Any) -> Any:
        """Send a command and wait for its reply."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self.write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while True:
            while b"\0" not in self.rest:
                if not select.select([self.read], [], [], max(end - time.monotonic(), 0))[0]:
                    raise TimeoutError(f"{method}: no reply")
                if not (more := os.read(self.read, 1 << 20)):
                    raise ConnectionError(f"{method}: the browser is gone")
                self.rest += more
            line, _, self.rest = self.rest.partition(b"\0")
            reply = json.loads(line)
            if reply.get("id") != self.number:
                self.events.append(reply)
                continue
            if "error" in reply:
                raise RuntimeError(f"{method}: {reply['error']['message']}")
            return reply["result"]

    def person(self, *, width: int = 1200, height: int = 860, dark: bool = False) -> Page:
        """A page of somebody who was never here."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        page = Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        page.call("Page.enable")
        page.call("Runtime.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        if dark:
            page.call(
                "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
            )
        return page

    def close(self) -> None:
        """End the process."""
        try:
            self.call("Browser.close", timeout=5)
            self.process.wait(10)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.read)
        os.close(self.write)


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self.session = browser, session

    def call(self, method: str, **parameters: Any) -> Any:
        return self.browser.call(method, self.session, **parameters)

    def open(self, address: str) -> None:
        """Go somewhere; the page's script has run when this returns."""
        self.call("Page.navigate", url=address)
        self.wait(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression, of a promise what it comes to."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, (
                f"never: {condition}; the page says: {self.run('document.body.innerText')}"
            )
            time.sleep(0.02)

    def click(self, selector: str, *, times: int = 1) -> None:
        """Press and release the mouse in the middle of an element; twice is a double click."""
        x, y = self.run(f"(r => [r.x + r.width / 2, r.y + r.height / 2])"
                        f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")  # fmt: skip
        for count in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=count)

    def press(self, key: str, *, held: bool = False) -> None:
        """A key down and up; held, it repeats first."""
        code = KEYS[key]
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **about)
        for _ in range(5 if held else 0):
            self.call("Input.dispatchKeyEvent", type="rawKeyDown", autoRepeat=True, **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path) -> Path:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path
