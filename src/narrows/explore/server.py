"""The explorer as a Starlette application, and the process that serves it on this machine alone."""

import contextlib
import json
import secrets
import socket
import sys
import threading
import traceback
import webbrowser
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import TypeAlias

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from narrows.explore.explorer import Explorer, Given
from narrows.explore.guard import Guard, TooLargeError
from narrows.explore.subject import Json

Answer: TypeAlias = Callable[[Request], Awaitable[Response]]
VERBS = ("about", "strip", "encode", "change", "price", "palette", "between", "draw", "complete")
"""Methods of `Explorer` that the page calls, each under its name."""
_EXPECTED = (ValueError, TypeError, LookupError, RuntimeError, ArithmeticError)


def application(explorer: Explorer) -> Starlette:
    """The explorer behind addresses; `Guard` stands before it.

    Everything runs in one thread: models are not made to be used by several at once.
    """
    page = files("narrows.explore").joinpath("page.html").read_text(encoding="utf-8")

    async def home(_request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "img-src data:; media-src data:; connect-src 'self'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        return HTMLResponse(
            page.replace("NONCE", nonce), headers={"Content-Security-Policy": policy}
        )

    async def features(request: Request) -> Response:
        path = explorer.features(int(request.path_params["model"]))
        return Response(status_code=404) if path is None else FileResponse(path)

    routes = [Route(f"/{verb}", _json(getattr(explorer, verb)), methods=["POST"]) for verb in VERBS]
    taken = Route("/take", _answering(explorer.take), methods=["POST"])
    return Starlette(
        routes=[Route("/", home), Route("/features/{model:int}", features), taken, *routes]
    )


def _json(function: Callable[[Given], Json]) -> Answer:
    """A function of plain data as one of a request's body."""

    def parsed(content: bytes) -> Json:
        given = json.loads(content or b"{}")
        if not isinstance(given, Mapping):
            raise ValueError("expected a JSON object")
        return function(given)

    return _answering(parsed)


def _answering(function: Callable[[bytes], Json]) -> Answer:
    """Answers with what a function makes of the body, or with why it cannot, in a sentence."""

    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(function(await request.body()))
        except TooLargeError as error:
            return JSONResponse({"error": str(error)}, 413)
        except _EXPECTED as error:  # a RecursionError is a RuntimeError
            return JSONResponse({"error": str(error) or type(error).__name__}, 400)
        except Exception as error:
            traceback.print_exc()
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 500)

    return answer


class Service:
    """The server of an explorer, at a loopback address of its own.

    Args:
        explorer: what it shows.
        port: 0 for a free one.

    Attributes:
        address: what a browser opens; it holds a token that no one else knows.
    """

    def __init__(self, explorer: Explorer, *, port: int = 0) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        token, port = secrets.token_urlsafe(16), self._socket.getsockname()[1]
        self.address: str = f"http://127.0.0.1:{port}/{token}/"
        self._server = uvicorn.Server(
            uvicorn.Config(
                Guard(application(explorer), token, port),
                http="h11", ws="none", lifespan="off", access_log=False, log_level="error",
                server_header=False, timeout_graceful_shutdown=1,
            )
        )  # fmt: skip

    def run(self) -> None:
        """Answers until `stop`, or Ctrl-C, which is raised on."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Ends `run`, from any thread."""
        self._server.should_exit = True


def serve(explorer: Explorer, *, port: int = 0, browser: bool = True) -> None:
    """Says the address, opens it in a browser if asked to, and answers until Ctrl-C."""
    service = Service(explorer, port=port)
    print(service.address, flush=True)
    print("Ctrl-C ends it. The address works on this machine only.", file=sys.stderr)
    if browser:  # some browsers hold up who opens them
        threading.Thread(target=webbrowser.open, args=(service.address,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):  # raised or not, as the shell handles signals
        service.run()
    print("closed", file=sys.stderr)
