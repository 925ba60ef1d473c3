"""`serve`: a study in raters' browsers, until it is stopped."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from motif.errors import InputError
from motif.files import reason
from motif.study.answers import opened
from motif.study.sheet import PICTURES, Study

LOOPBACK = ("127.0.0.1", "localhost")


def serve(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    on_ready: Callable[[str], None] | None = None,
) -> tuple[int, int]:
    """Serve a study until Ctrl-C. Every answer is on the disk before the next question comes.

    Args:
        folder: What `make` wrote.
        host: The address to be reached at; 0.0.0.0 lets other machines of the network in.
        port: The port; 0 takes a free one.
        on_ready: Is told the address once the server listens.

    Returns:
        How many answers there are now, and of how many raters.

    Raises:
        InputError: no study, pictures that are gone, a port that is taken, a study that is served already.
    """
    folder = Path(folder).expanduser()
    study = Study.load(folder)
    if lost := sorted(name for name in study.files() if not (folder / PICTURES / name).is_file()):
        raise InputError(f"{folder / PICTURES / lost[0]}: the study's picture is gone: make the study again")
    try:
        import uvicorn

        from motif.study.app import app
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install 'motif[study]'") from error
    with opened(folder, study) as ledger, _listening(host, port) as listener:
        server = app(ledger, folder, LOOPBACK if host in LOOPBACK else ())
        config = uvicorn.Config(server, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        running = uvicorn.Server(config)
        with _ended_by_ctrl_c(running), contextlib.suppress(KeyboardInterrupt):
            if on_ready:
                on_ready(f"http://{host}:{listener.getsockname()[1]}/")
            running.run(sockets=[listener])
        rows = ledger.answers.rows
        return sum(map(len, rows.values())), sum(map(bool, rows.values()))


@contextlib.contextmanager
def _ended_by_ctrl_c(server: Any) -> Iterator[None]:
    """Ctrl-C that comes before uvicorn hears it ends it too: as an exception it can be lost in a callback."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        server.should_exit = True

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _listening(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(64)
    except (OSError, OverflowError) as error:
        listener.close()
        why = reason(error) if isinstance(error, OSError) else "no such port"
        raise InputError(f"cannot listen at {host}:{port}: {why}: choose another --port") from error
    return listener
