"""The addresses of the planning page: files, the scene, the state, and what changes it."""

import json
from collections.abc import Callable
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from needleplan.app.page.document import viewer_files
from needleplan.app.view.desk import LONGEST_WAIT_S, PlanningDesk
from needleplan.app.view.requests import Chosen, Lock, Move, Save, StaleEditError, Step, read_request
from needleplan.errors import NeedleplanError

_MEDIA_TYPES = {"html": "text/html; charset=utf-8", "js": "text/javascript", "css": "text/css"}
#: What changes the plan, by its address: the request and the name of what answers it.
_EDITS: dict[str, tuple[type, str]] = {
    "move": (Move, "move"),
    "lock": (Lock, "lock"),
    "undo": (Step, "undo"),
    "redo": (Step, "redo"),
    "reset": (Chosen, "reset"),
    "snap": (Chosen, "snap"),
    "save": (Save, "save"),
}


def page_program(desk: PlanningDesk) -> FastAPI:
    """The ASGI program of a desk, to be served behind a ``Guard``."""
    program = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    files = page_files()
    scene = _packed(desk.scene)

    async def file(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            return _refused(404, "There is no such page.")
        content, media_type = files[name]
        return Response(content, media_type=media_type)

    async def whole_scene() -> Response:
        return Response(scene, media_type="application/json")

    async def state(request: Request) -> Response:
        after = _whole(request.query_params.get("after", ""))
        return _json(await run_in_threadpool(desk.state, after, 0.0 if after < 0 else LONGEST_WAIT_S))

    async def comparison(request: Request) -> Response:
        return await _answered(lambda: desk.comparison(request.query_params.get("with") == "other"))

    async def other_parts(request: Request) -> Response:
        return await _answered(lambda: desk.other_parts(request.query_params.get("with") == "other"))

    async def margin() -> Response:
        return await _answered(desk.margin)

    async def export(request: Request) -> Response:
        try:
            asked = read_request(Step, await request.body())
            content = await run_in_threadpool(desk.export, asked)
        except NeedleplanError as error:
            return _refusal_of(error)
        headers = {"content-disposition": 'attachment; filename="for-slicer.zip"'}
        return Response(content, media_type="application/zip", headers=headers)

    def edit(kind: type, name: str) -> Callable[[Request], Any]:
        change = getattr(desk, name)

        async def edited(request: Request) -> Response:
            body = await request.body()
            return await _answered(lambda: change(read_request(kind, body)))

        return edited

    program.add_api_route("/", file, methods=["GET"], response_model=None)
    program.add_api_route("/files/{name:path}", file, methods=["GET"], response_model=None)
    program.add_api_route("/scene", whole_scene, methods=["GET"], response_model=None)
    program.add_api_route("/state", state, methods=["GET"], response_model=None)
    program.add_api_route("/comparison", comparison, methods=["GET"], response_model=None)
    program.add_api_route("/other", other_parts, methods=["GET"], response_model=None)
    program.add_api_route("/margin", margin, methods=["GET"], response_model=None)
    program.add_api_route("/export", export, methods=["POST"], response_model=None)
    for address, (kind, name) in _EDITS.items():
        program.add_api_route(f"/{address}", edit(kind, name), methods=["POST"], response_model=None)

    async def unknown(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        return _refused(status, "There is no such page." if status == 404 else "That cannot be asked here.")

    async def failed(_: Request, error: Exception) -> Response:
        # Also told on the terminal, with its traceback, by uvicorn.
        return _refused(500, f"needleplan failed at that, and nothing was changed: {error!r}")

    program.add_exception_handler(HTTPException, unknown)
    program.add_exception_handler(Exception, failed)
    return program


def page_files() -> dict[str, tuple[bytes, str]]:
    """Content and media type of every file of the page, by its name: nothing else is ever read for a request."""
    folder = resources.files("needleplan.app.view") / "page"
    files = {f"viewer/{name}": (file.content, file.media_type) for name, file in viewer_files().items()}
    for item in folder.iterdir():
        suffix = item.name.rpartition(".")[2]
        if item.is_file() and suffix in _MEDIA_TYPES:
            files[item.name] = (item.read_bytes(), _MEDIA_TYPES[suffix])
    return files


async def _answered(answer: Callable[[], dict[str, Any]]) -> Response:
    try:
        return _json(await run_in_threadpool(answer))
    except NeedleplanError as error:
        return _refusal_of(error)


def _refusal_of(error: NeedleplanError) -> Response:
    # 409: the request was right once.
    return _refused(409 if isinstance(error, StaleEditError) else 400, str(error))


def _refused(status: int, said: str) -> Response:
    return _json({"error": said}, status)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(_packed(content), status, media_type="application/json")


def _packed(content: dict[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else -1
