"""The study's server: one page, the pictures, and three requests: enter, what is next, keep this choice.

Nothing that it sends tells which method made a picture. A rater is a cookie; who has none, or another's turn, is
refused. The same choice sent twice counts once.
"""

import secrets
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from motif.study.answers import Ledger
from motif.study.sheet import PICTURES

HALF_A_YEAR = 180 * 24 * 3600
POLICY = "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'"
GUARDS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
KINDS = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
REFUSED = {
    "unknown": (404, "this is none of your questions"),
    "ahead": (409, "this question is not asked yet"),
}


class Choice(BaseModel):
    """What a page sends."""

    model_config = ConfigDict(extra="forbid")
    turn: Annotated[str, Field(max_length=64)]
    side: Annotated[str, Field(max_length=8)]


def app(ledger: Ledger, folder: Path, hosts: tuple[str, ...] = ()) -> FastAPI:
    """The server of a study.

    Args:
        ledger: Its answers.
        folder: Where it lies.
        hosts: The names that the server is reached by; none is any.
    """
    server = FastAPI(title="motif study", docs_url=None, redoc_url=None, openapi_url=None)
    if hosts:
        server.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    name = f"motif-study-{ledger.study.id}"  # a cookie is the host's, whatever the port
    known = ledger.study.files()

    def rater(request: Request) -> int:
        found = ledger.rater(request.cookies.get(name))
        if found is None:
            raise HTTPException(401, "no session: open the study's first page")
        return found

    @server.get("/")
    def page() -> Response:  # pyright: ignore[reportUnusedFunction]
        return _page("page.html")

    @server.get("/page.{ending}")
    def part(ending: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return _page(f"page.{ending}")

    @server.get("/pictures/{file}")
    def picture(file: str) -> FileResponse:  # pyright: ignore[reportUnusedFunction]
        if file not in known:
            raise HTTPException(404, "no such picture")
        return FileResponse(folder / PICTURES / file, headers={"Cache-Control": "private, max-age=86400"})

    @server.post("/session")
    def enter(request: Request, response: Response) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        number = ledger.rater(request.cookies.get(name))
        if number is None:
            session = secrets.token_urlsafe(24)
            number = ledger.enter(session)
            response.set_cookie(name, session, max_age=HALF_A_YEAR, httponly=True, samesite="strict")
        return state(ledger, number)

    @server.get("/state")
    def look(request: Request) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        return state(ledger, rater(request))

    @server.post("/answers")
    def answer(choice: Choice, request: Request) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        number = rater(request)
        said = ledger.answer(number, choice.turn, choice.side)
        if said in REFUSED:
            raise HTTPException(*REFUSED[said])
        return state(ledger, number)

    @server.exception_handler(OSError)
    def not_kept(_: Request, error: OSError) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        return JSONResponse({"detail": f"not kept: {error.strerror or error}"}, 507)

    @server.middleware("http")
    async def guarded(request: Request, call_next: Any) -> Response:  # pyright: ignore[reportUnusedFunction]
        response: Response = await call_next(request)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.update(GUARDS)
        return response

    return server


def _page(file: str) -> Response:
    if file not in KINDS:
        raise HTTPException(404, "no such page")
    text = resources.files("motif.study").joinpath("page", file).read_text(encoding="utf-8")
    return Response(text, media_type=KINDS[file])


def state(ledger: Ledger, rater: int) -> dict[str, Any]:
    """What a rater's page shows: how far they are, and the next choice; none where all are made."""
    turns, done = ledger.turns(rater), ledger.answered(rater)
    shown: dict[str, Any] | None = None
    if done < len(turns):
        turn = turns[done]
        shows, pair = turn.question.shows, turn.pair
        shown = {
            "id": turn.id,
            "question": turn.question.text,
            "prompt": pair.prompt if "prompt" in shows else None,
            "references": [_url(file) for file in pair.references] if "references" in shows else [],
            "source": _url(pair.source) if "source" in shows else None,
            "left": _url(pair.file(turn.left)),
            "right": _url(pair.file(turn.right)),
        }
    return {"done": done, "total": len(turns), "turn": shown}


def _url(file: str) -> str:
    return f"/pictures/{file}"
