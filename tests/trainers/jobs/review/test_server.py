"""The server of the review page answers its own page, and nobody else."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from augment import Dataset, SampleBank
from augment.bank.reviews import read_reviews
from trainers.jobs.review.server import LARGEST_BODY, ReviewServer
from trainers.jobs.review.service import ReviewService

from .conftest import fill_bank, open_queue

NAMES = ["<script>alert(1)</script>", "b"]
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReviewServer]:
    pixels = torch.arange(12 * 16).view(12, 1, 4, 4).remainder(200).to(torch.uint8)
    ids = [f"<b>{n}</b>" for n in range(12)]
    ds = Dataset(pixels, torch.arange(12) % 2, ids, name="twelve", classes=NAMES)
    fill_bank(SampleBank(tmp_path / "bank"), ds, list(range(8)), key="a")
    service = ReviewService("<u>run", "", lambda: open_queue(tmp_path / "bank", ds))
    with ReviewServer(service, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.code, self.headers, self.data = response.status, response.headers, response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def ask(
    server: ReviewServer,
    path: str = "",
    *,
    method: str = "GET",
    body: bytes | None = None,
    token: str | None = None,
    **headers: str,
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        sent = JSON | sent
    root = server.token if token is None else token
    connection.request(method, f"/{root}/{path}", body, sent)
    answer = Answer(connection.getresponse())
    connection.close()
    return answer


def decide(server: ReviewServer, item: Any, status: Any = "accepted", **fields: Any) -> Answer:
    request = {"id": item, "status": status, "reviewer": "Ann", "seen": 0} | fields
    return ask(server, "decide", method="POST", body=json.dumps(request).encode())


def item_ids(server: ReviewServer, *, control: bool = False) -> list[str]:
    items = server.service.queue.items.values()
    return [item.id for item in items if item.control == control]


def test_it_listens_on_this_machine_alone(server: ReviewServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("path", ["", "items", "review.js", "rates"])
def test_who_lacks_the_token_gets_nothing(server: ReviewServer, path: str) -> None:
    assert ask(server, path).code == 200
    for token in ("", "x", server.token[:-1], server.token + "x", "%C3%A9"):
        answer = ask(server, path, token=token)
        assert (answer.code, b"terminal" in answer.data) == (403, True)
    body = b'{"id": "x", "status": "accepted", "reviewer": "Ann", "seen": 0}'
    assert ask(server, "decide", method="POST", body=body, token="x").code == 403


def test_two_servers_have_two_tokens(server: ReviewServer) -> None:
    with ReviewServer(server.service, 0) as other:
        assert other.token != server.token
        assert len(other.token) >= 32


def test_another_name_of_the_server_is_refused(server: ReviewServer) -> None:
    port = server.server_port
    for name in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert ask(server, Host=name).code == 200
    for name in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
        assert ask(server, Host=name).code == 403
    assert ask(server, "items", Origin="http://evil.example").code == 403
    assert ask(server, "items", Origin=f"http://127.0.0.1:{port}").code == 200


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd", "..%2f..%2fetc/passwd", "picture/../../../../etc/passwd/sample",
        "review.html", "gallery.js", "review.py", "picture", "picture/0/sample", "reveal/0", "x",
        "picture/%00/sample", "items/", "//etc/passwd",
    ],
)  # fmt: skip
def test_unknown_paths_and_ids_are_not_found(server: ReviewServer, path: str) -> None:
    answer = ask(server, path)
    assert (answer.code, b"root:" in answer.data) == (404, False)


def test_only_get_and_post_are_answered(server: ReviewServer) -> None:
    for method in ("HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        assert ask(server, method=method).code == 405
    assert ask(server, "items", method="POST", body=b"{}").code == 404


def test_headers_keep_others_out(server: ReviewServer) -> None:
    for path in ("", "review.js", "x", f"picture/{item_ids(server)[0]}/sample"):
        headers = ask(server, path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"


def test_names_are_escaped(server: ReviewServer) -> None:
    page = ask(server).data
    assert b"&lt;u&gt;run" in page
    assert b"<u>" not in page
    assert b"<script>" not in page
    assert ask(server, "items").json["classes"] == NAMES


def test_what_is_sent_is_checked(server: ReviewServer) -> None:
    id = item_ids(server)[0]
    for fields in (
        {"status": "no"}, {"status": None}, {"reviewer": " "}, {"reviewer": "a\nb"},
        {"reviewer": "\ud800"}, {"reviewer": "a" * 81}, {"seen": 2}, {"seen": -2}, {"seen": True},
        {"seen": "1"}, {"id": 1},
    ):  # fmt: skip
        assert decide(server, id, **fields).code == 400, fields
    assert decide(server, "0" * 32).code == 404
    for body in (b"", b"{", b"[]", b"null", b"\xff", b"[" * 4000):
        assert ask(server, "decide", method="POST", body=body).code == 400, body
    large = b" " * (LARGEST_BODY + 1)
    assert ask(server, "decide", method="POST", body=large).code == 413
    for headers in ({"Content_Length": "-1"}, {"Content_Length": "x"}):
        assert ask(server, "decide", method="POST", body=b"{}", **headers).code == 411
    typed = ask(server, "decide", method="POST", body=b"{}", Content_Type="text/plain")
    assert typed.code == 415
    assert read_reviews(server.service.decisions.folder) == []


def test_a_decision_sent_twice_counts_once(server: ReviewServer) -> None:
    id, other, *_ = item_ids(server)
    folder = server.service.decisions.folder
    assert decide(server, id, "pending").json == {"written": False}
    assert decide(server, id).json == {"written": True}
    assert decide(server, id).json == {"written": False}
    ask(server, "items")  # a reload reads the file again
    assert decide(server, id).json == {"written": False}
    assert [r.status for r in read_reviews(folder)] == ["accepted"]
    assert decide(server, id, "pending").json == {"written": True}
    assert decide(server, id, "pending").json == {"written": False}
    assert decide(server, id, "rejected").json == {"written": True}
    assert decide(server, id, reviewer="Bob").json == {"written": True}
    assert decide(server, other).json == {"written": True}
    entries = {entry.hash: entry.status for entry in SampleBank(folder).entries()}
    assert (entries[id], entries[other]) == ("unsure", "accepted")  # two persons disagree
    rows = {row[0]: row[3:] for row in ask(server, "items?reviewer=Ann").json["items"]}
    assert rows[id] == ["rejected", 0, True]
    assert rows[other] == ["accepted", 0, False]


def test_controls_look_like_samples_until_they_are_named(server: ReviewServer) -> None:
    control, *more = item_ids(server, control=True)
    listing = ask(server, "items").json
    assert len(listing["items"]) == 8 + 1 + len(more) == 10  # a fifth of all
    assert {len(row[0]) for row in listing["items"]} == {32}
    assert {tuple(row[1:]) for row in listing["items"]} == {(0, 1, "pending", None, False)}
    assert b"control" not in json.dumps(listing).encode()
    assert ask(server, f"picture/{control}/sample").data.startswith(b"\x89PNG")
    about = ask(server, f"reveal/{control}").json
    assert about["control"] is True
    assert "attack" not in about
    decide(server, control, "accepted", seen=about["label"])
    (review,) = read_reviews(server.service.decisions.folder)
    assert review.control == about["label"] == review.seen
    rates = ask(server, "rates?reviewer=Ann").json
    assert rates["controls named by their label"].startswith("100.0 % (1 of 1;")
    assert rates["of them named by their label"] == "none"


def test_damage_is_said_and_the_server_stays(server: ReviewServer) -> None:
    id = item_ids(server)[0]
    (server.service.decisions.folder / "reviews.jsonl").write_text("no\n")
    answer = ask(server, "items")
    assert (answer.code, b"reviews.jsonl" in answer.data) == (500, True)
    assert ask(server, f"picture/{id}/sample").code == 200
