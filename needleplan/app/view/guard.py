"""What every message must pass before the page's program sees it: who asks, of whom, how much, with what secret."""

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Program = Callable[[Message, Receive, Send], Awaitable[None]]

#: Longest body of a request: a move has about 200 bytes.
MOST_BODY_BYTES = 20_000
#: Scripts and pictures come from this server alone; nothing is framed, sent or loaded elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """Passes on what this page's own browser sends, and answers all else with a sentence.

    The name that was asked for must be this server's, so that no foreign name that leads here is served (DNS
    rebinding); what changes anything must come from a page of this origin; every address begins with a secret that
    only the printed address tells; bodies are short and JSON.

    Args:
        program: what is guarded.
        port: the port that it is served on.
        token: the secret.
    """

    def __init__(self, program: Program, port: int, token: str) -> None:
        self._program = program
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self._token = token.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One message; see the ASGI specification."""
        if scope["type"] == "lifespan":
            await self._program(scope, receive, send)
            return
        if scope["type"] != "http":
            # A web socket is refused before it is opened.
            await send({"type": "websocket.close", "code": 1008})
            return
        status, said = self._refusal(scope)
        body = b""
        if status == 0 and scope["method"] == "POST":
            status, said, body = await _body(receive)
        if status:
            await _answer(_with_headers(send), status, said)
            return
        path = scope["path"].removeprefix(f"/{self._token.decode()}")
        inner = {**scope, "path": path, "raw_path": path.encode()}
        await self._program(inner, _receive_of(body, receive), _with_headers(send))

    def _refusal(self, scope: Message) -> tuple[int, str]:
        """(HTTP status, sentence) of a refusal; status 0 where there is none."""
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        hosts = [value.decode("latin-1").lower() for value in headers.get(b"host", [])]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return 421, f"This page is served to this machine alone, as http://{self._hosts[0]}."
        origins = [value.decode("latin-1").lower() for value in headers.get(b"origin", [])]
        if any(origin != f"http://{hosts[0]}" for origin in origins):
            return 403, "Another page may not ask this one for anything."
        if scope["method"] not in ("GET", "POST"):
            return 405, "This page knows GET and POST alone."
        path = unquote(scope["path"])
        token, _, rest = path.lstrip("/").partition("/")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token) or not path.startswith("/"):
            return 404, "There is nothing here: open the whole address that 'needleplan view' printed."
        if ".." in rest.split("/") or "\\" in rest or "\0" in rest:
            return 404, "There is no such page."
        if scope["method"] == "POST":
            kind = headers.get(b"content-type", [b""])[-1].split(b";")[0].strip().lower()
            if kind != b"application/json":
                return 415, "A request to change the plan is JSON."
        return 0, ""


async def _body(receive: Receive) -> tuple[int, str, bytes]:
    """(status, sentence, body): the body where it is short enough, a refusal where it is not."""
    parts, length = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return 400, "The request ended too soon.", b""
        part = message.get("body", b"")
        length += len(part)
        if length > MOST_BODY_BYTES:
            return 413, f"A request has at most {MOST_BODY_BYTES} bytes.", b""
        parts.append(part)
        if not message.get("more_body", False):
            return 0, "", b"".join(parts)


def _receive_of(body: bytes, receive: Receive) -> Receive:
    """Hands out a body that was read already, then what comes after."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def handed() -> Message:
        return waiting.pop() if waiting else await receive()

    return handed


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in _HEADERS}
            kept = [(name, value) for name, value in message.get("headers", []) if name.lower() not in own]
            message = {**message, "headers": [*kept, *_HEADERS]}
        await send(message)

    return sent


async def _answer(send: Send, status: int, said: str) -> None:
    content = json.dumps({"error": said}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
