"""Who may ask: this machine, by the address that holds the token, in requests of bounded size."""

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 16 << 20
"""Bytes of a request."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class TooLargeError(ValueError):
    """A request has more bytes than are taken."""


class Guard:
    """Answers only requests that name this server, come from its own pages and know the token.

    A page elsewhere can make a browser send requests here, and a name elsewhere can be made to
    lead here (DNS rebinding). So the Host header must be a loopback name with this port, an Origin
    header the same, and the path begins with the token.

    Args:
        app: what answers what is let through; it sees paths without the token.
        token: first part of every path.
        port: of this server.
        largest: bytes of a request.
    """

    def __init__(self, app: ASGIApp, token: str, port: int, *, largest: int = LARGEST) -> None:
        self._app, self._token, self._largest = app, token.encode(), largest
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self._said = f"at most {largest >> 20} MB" if largest >> 20 else f"at most {largest} bytes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            status, sentence = refusal
            headers = {**_HEADERS, "Connection": "close"}
            await JSONResponse({"error": sentence}, status, headers)(scope, receive, send)
            return
        inner = {**scope, "path": scope["path"][1 + len(self._token) :] or "/"}
        await self._app(inner, self._counted(receive), _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and sentence for what is not let through."""
        headers = Headers(scope=scope)
        hosts, origin = headers.getlist("host"), headers.get("origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return 403, "this server answers only under its loopback address"
        if origin is not None and urlsplit(origin).netloc.lower() not in self._hosts:
            return 403, "this server answers only its own page"
        token = scope["path"].split("/")[1].encode() if "/" in scope["path"] else b""
        if not hmac.compare_digest(token, self._token):
            return 403, "open the whole address that narrows explore printed, with its token"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._largest:
            return 413, f"a request may have {self._said}; choose a smaller file"
        return None

    def _counted(self, receive: Receive) -> Receive:
        """The messages of a request, as long as they are not too many bytes together."""
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._largest:
                raise TooLargeError(f"a request may have {self._said}; choose a smaller file")
            return message

        return counted


def _with_headers(send: Send) -> Send:
    """Adds the headers that every answer has."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return wrapped
