"""The HTTP server of the review page: on this machine alone, for who knows the address."""

import json
import logging
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, cast
from urllib.parse import parse_qs

from attacks import RefusedInput
from trainers.jobs.review.pages import PAGES, asset
from trainers.jobs.review.service import ReviewService, UnknownItem

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
LARGEST_BODY = 4096  # bytes; a decision has about 200
PATIENCE = 60  # seconds that a connection may be silent
SCRIPT, STYLE = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
ASSETS = {
    "review.js": SCRIPT, "classes.js": SCRIPT, "pictures.js": SCRIPT, "review.css": STYLE,
}  # fmt: skip
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class ReviewServer(ThreadingHTTPServer):
    """A server of one review, whose address nobody can guess."""

    daemon_threads = True  # a connection that is kept open does not keep the program

    def __init__(self, service: ReviewService, port: int) -> None:
        """Take the port.

        Args:
            service: what answers.
            port: of 127.0.0.1; 0 for a free one.

        Raises:
            ValueError: when another program has it, or this one may not.
        """
        self.service, self.token = service, secrets.token_urlsafe(24)
        try:
            super().__init__((HOST, port), ReviewHandler)
        except OSError as error:
            raise ValueError(
                f"--port {port} of {HOST} cannot be had ({error.strerror}); give another, or 0 for "
                "a free one"
            ) from error

    def server_bind(self) -> None:
        """Bind without asking the network for this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    @property
    def address(self) -> str:
        """The page's address, with the secret in it."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep the terminal quiet: mostly a browser has closed a connection."""
        log.debug("a request failed", exc_info=True)


class ReviewHandler(BaseHTTPRequestHandler):
    """One connection; each path below the token is looked up in a table, none is of a file."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Sparring", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        """Answer with the page, an asset, the list, a picture, what is revealed, or rates."""
        if (path := self._path()) is not None:
            self._guard(lambda: self._get(path))

    def do_POST(self) -> None:
        """Take a decision."""
        path = self._path()
        body = None if path is None else self._body()
        if path is not None and body is not None:
            self._guard(lambda: self._post(path, body))

    def _get(self, path: str) -> None:
        service, query = self._server.service, parse_qs(self.path.partition("?")[2])
        reviewer = query.get("reviewer", [""])[0]
        match path.split("/"):
            case [""]:
                page = PAGES.get_template("review.html")
                text = page.render(run=service.run, reviewer=service.reviewer)
                self._send(text.encode(errors="backslashreplace"), "text/html; charset=utf-8")
            case [name] if name in ASSETS:
                self._send(asset(name).encode(), ASSETS[name])
            case ["items"]:
                self._send_json(service.list_items(reviewer))
            case ["rates"]:
                self._send_json(service.rates(reviewer))
            case ["reveal", id]:
                self._send_json(service.reveal(id))
            case ["picture", id, kind]:
                self._send(service.picture(id, kind), "image/png")
            case _:
                self.send_error(HTTPStatus.NOT_FOUND)

    def _post(self, path: str, body: bytes) -> None:
        if path != "decide":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self._send_json(self._server.service.decide(json.loads(body)))

    def _guard(self, answer: Callable[[], None]) -> None:
        """Answer, and say what went wrong."""
        try:
            answer()
        except UnknownItem:
            self.send_error(HTTPStatus.NOT_FOUND)
        except (ValueError, RecursionError) as error:
            self.send_error(HTTPStatus.BAD_REQUEST, explain=str(error))
        except (ConnectionError, TimeoutError):
            raise
        except (OSError, RefusedInput) as error:
            log.warning("%s", error)
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, explain=str(error))

    def _path(self) -> str | None:
        """Return the path below the token; None where the request was refused."""
        names = (f"{HOST}:{self._server.server_port}", f"localhost:{self._server.server_port}")
        token, slash, rest = self.path.partition("?")[0].removeprefix("/").partition("/")
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in names:
            self.send_error(HTTPStatus.FORBIDDEN, explain="this server has another name")
        elif origin is not None and origin.removeprefix("http://") not in names:
            self.send_error(HTTPStatus.FORBIDDEN, explain="the request comes from another page")
        elif not slash or not secrets.compare_digest(token.encode(), self._server.token.encode()):
            self.send_error(
                HTTPStatus.FORBIDDEN, explain="take the address that the terminal shows"
            )
        else:
            return rest
        return None

    def _body(self) -> bytes | None:
        """Return the body of a request; None where it was refused."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
        elif len(length) > 9 or int(length) > LARGEST_BODY:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif self.headers.get_content_type() != "application/json":
            self.send_error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        else:
            return self.rfile.read(int(length))
        return None

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with a sentence, and end the connection: a body may be left unread."""
        if code == HTTPStatus.NOT_IMPLEMENTED:  # what the base class says of other methods
            code = HTTPStatus.METHOD_NOT_ALLOWED
        text = explain or message or HTTPStatus(code).phrase
        self.close_connection = True
        self._send(text.encode(errors="backslashreplace"), "text/plain; charset=utf-8", code)

    def _send_json(self, value: object) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _send(self, data: bytes, kind: str, code: int = HTTPStatus.OK) -> None:
        self.send_response(code)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def _server(self) -> ReviewServer:
        return cast(ReviewServer, self.server)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal quiet."""
