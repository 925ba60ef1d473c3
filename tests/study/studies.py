"""Small studies, and a server to answer them at."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from motif.study.sheet import ANSWERS

PLACES = ("beach", "snow", "forest", "kitchen", "moon", "street")


def picture(path: Path, *colour: int, size: tuple[int, int] = (48, 36)) -> Path:
    """A gradient of its own, so that no two are alike and a scrambled one is seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    red, green, blue = (*colour, 0, 0, 0)[:3]
    image = Image.new("RGB", size)
    image.putdata(
        [((red + 3 * x) % 256, (green + 4 * y) % 256, blue) for y in range(size[1]) for x in range(size[0])]
    )
    image.save(path)
    return path


def drawn(folder: Path, prompt: str, seeds: range | list[int], blue: int) -> Path:
    """A folder as `motif sample` leaves it."""
    rows = [{"file": picture(folder / f"{seed:04d}.png", 10 * seed, len(prompt), blue).name, "seed": seed}
            for seed in seeds]  # fmt: skip
    (folder / "pictures.json").write_text(json.dumps({"prompt": prompt, "pictures": rows}))
    return folder


def two_sides(root: Path, *, prompts: int = 2, seeds: int = 2) -> tuple[Path, Path, Path]:
    """(A, B, photos)."""
    for i, place in enumerate(PLACES[:prompts]):
        drawn(root / "ours" / place, f"a photo of a <new1> cat in the {place}", range(seeds), 40 + 10 * i)
        drawn(root / "theirs" / place, f"a photo of a <v> cat in the {place}", range(seeds), 200 + 5 * i)
    for i in range(5):
        picture(root / "photos" / f"{i}.jpg", 40 * i, 80, 120)
    return root / "ours", root / "theirs", root / "photos"


class Server:
    """`motif study serve` as a process of its own."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        command = [sys.executable, "-m", "motif", "study", "serve", str(folder), "--port", str(port)]
        self.folder = folder
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        assert self.address, self.process.communicate()[1]
        self.port = int(self.address.rstrip("/").rpartition(":")[2])

    def stop(self, *, kill: bool = False) -> str:
        """End it, and what it said on stderr; killed, it has no time to tidy up."""
        import signal

        self.process.send_signal(signal.SIGKILL if kill else signal.SIGINT)
        said = self.process.communicate(timeout=30)[1]
        assert kill or self.process.returncode == 0, said
        return said

    def rows(self) -> list[dict[str, Any]]:
        """Every line of the answers that is no session."""
        lines = (self.folder / ANSWERS).read_text().splitlines()
        return [row for row in map(json.loads, lines) if "session" not in row]


class Rater:
    """Somebody without a browser: requests and a cookie."""

    def __init__(self, port: int, cookie: str = "") -> None:
        self.port, self.cookie = port, cookie

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, what the server says)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        data = body if isinstance(body, str) or body is None else json.dumps(body)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        sent |= {"Cookie": self.cookie} if self.cookie else {}
        try:
            connection.request(
                method, path, data, {**sent, **{k.replace("_", "-"): v for k, v in headers.items()}}
            )
            reply = connection.getresponse()
            if given := reply.getheader("Set-Cookie"):
                self.cookie = given.partition(";")[0]
                self.given = given
            said = reply.read()
            self.headers = reply.headers
        finally:
            connection.close()
        kind = reply.getheader("Content-Type") or ""
        return reply.status, json.loads(said) if "json" in kind else said

    def enter(self) -> dict[str, Any]:
        status, state = self.ask("POST", "/session")
        assert status == 200, state
        return state

    def choose(self, turn: str, side: str = "left") -> tuple[int, Any]:
        return self.ask("POST", "/answers", {"turn": turn, "side": side})

    def finish(self, state: dict[str, Any]) -> dict[str, Any]:
        """Choose the left picture to the end."""
        while state["turn"]:
            status, state = self.choose(state["turn"]["id"])
            assert status == 200, state
        return state
