"""What each address answers, and what none of them does."""

from __future__ import annotations

import asyncio
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

from fitwell.ui._app import create_app
from fitwell.ui._guard import is_ours

from ..report.run_factory import make_killed_run, make_run, write

EVIL = "<script>alert(1)</script>"
HERE = "http://localhost:8765"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder / "digits cnn", pictures=False, epochs=4)
    make_run(folder / "group" / "ü&?#%41", pictures=False, epochs=4, seed=5)
    make_killed_run(folder / "killed")
    (folder / "damaged").mkdir()
    (folder / "damaged" / "run.json").write_text('{"sta')
    write(folder / EVIL.replace("/", "|"), "run.json", {"status": EVIL, "task": EVIL})
    write(folder / "untrained", "run.json", {"status": "running"})
    half = {"status": "\ud800", "command": "\ud800", "settings": {"model": "\ud800"}}
    write(folder / "half", "run.json", half)
    return folder


class Client:
    """Asks the application in this process."""

    def __init__(self, folder: Path) -> None:
        self._app = create_app(folder)

    def get(self, address: str, params: Any = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
                return await client.get(address, params=params)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def client(runs: Path) -> Client:
    return Client(runs)


def test_the_list_as_json(client: Client, runs: Path) -> None:
    answer = client.get("/api/runs")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["folder"], found["pending"]) == (str(runs.resolve()), 0)
    status = {row["name"]: row["status"] for row in found["runs"]}
    assert status["digits cnn"] == "finished"
    assert status["damaged"] == "damaged"
    assert len(status) == 7


def test_one_run_as_json(client: Client) -> None:
    found = client.get("/api/runs/digits%20cnn").json()
    assert found["row"]["name"] == "digits cnn"
    assert len(found["epochs"]) == 4
    assert found["steps"][0][0] == 1
    assert found["settings"]["optimization"]["batch_size"] == 32
    other = client.get("/api/runs/group/%C3%BC%26%3F%23%2541").json()
    assert other["row"]["name"] == "group/ü&?#%41"


def test_half_a_letter_pair_is_still_json(client: Client) -> None:
    assert client.get("/api/runs/half").json()["settings"] == {"model": "\ud800"}
    assert client.get("/api/runs/half").json()["row"]["model"] == r"\ud800"


@pytest.mark.parametrize(
    "address", ["/", "/runs/digits%20cnn", "/runs/damaged", "/runs/group/%C3%BC%26%3F%23%2541"]
)
def test_pages_hold_no_address_outside_and_no_script_of_their_own(
    client: Client, address: str
) -> None:
    answer = client.get(address)
    assert answer.status_code == 200
    references = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
    assert references
    for reference in references:
        assert reference == "/" or client.get(reference).status_code == 200
    assert "<script>" not in answer.text
    assert not re.search(r"\son[a-z]+=|style=|https?:", answer.text)


def test_files_of_the_pages_refer_to_nothing_outside() -> None:
    for file in (files("fitwell.ui") / "static").iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|@import|url\((?!#)", text), file.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)


def test_every_answer_carries_the_headers_that_keep_pages_in(client: Client) -> None:
    for address in (
        "/",
        "/api/runs",
        "/static/page.css",
        "/favicon.ico",
        "/nothing",
        "/runs/nothing",
        "/compare",
    ):
        headers = client.get(address).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


def test_the_report_in_the_folder_is_served_without_any_right(client: Client, runs: Path) -> None:
    (runs / "digits cnn" / "report.html").write_text(f"<p>the kept one {EVIL}</p>")
    answer = client.get("/runs/digits%20cnn/report")
    assert "the kept one" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.endswith("sandbox")
    assert "script-src" not in policy


def test_a_report_that_is_missing_or_old_is_made_but_not_written(
    client: Client, runs: Path
) -> None:
    answer = client.get("/runs/killed/report")
    assert answer.status_code == 200
    assert "This run was still training" in answer.text
    assert answer.headers["content-security-policy"].endswith("sandbox")
    assert not (runs / "killed" / "report.html").exists()
    answer = client.get("/runs/untrained/report")
    assert answer.status_code == 404
    assert "nothing was trained yet" in answer.text


def test_runs_are_compared(client: Client) -> None:
    names = [("run", "digits cnn"), ("run", "group/ü&?#%41")]
    answer = client.get("/compare", params=names)
    assert answer.status_code == 200
    assert "digits cnn" in answer.text
    assert answer.headers["content-security-policy"].endswith("sandbox")


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/compare?run=killed", 400, "Between 2 and 24 runs can be compared; got 1."),
        ("/compare?run=killed&run=killed", 400, "got 1."),
        ("/compare?run=killed&run=other", 404, "There is no run named &#x27;other&#x27;."),
        ("/runs/other", 404, "There is no run named &#x27;other&#x27;."),
        ("/runs/other/report", 404, "There is no run named"),
        ("/api/runs/other", 404, "There is no run named"),
        (f"/runs/{EVIL}", 404, "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("/nothing", 404, "There is no such page."),
        ("/static/nothing.js", 404, "There is no such file."),
        ("/static/runs.html", 404, "There is no such file."),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(
    client: Client, address: str, status: int, words: str
) -> None:
    answer = client.get(address)
    assert answer.status_code == status
    assert words in answer.text
    assert EVIL not in answer.text


PATHS = [
    "/runs/../../../../etc/passwd/report",
    "/runs/..%2f..%2fetc%2fpasswd/report",
    "/runs/%2e%2e/%2e%2e/etc",
    "/runs//etc/passwd",
    "/runs/digits%20cnn/../../secret/report",
    "/runs/digits%20cnn/run.json",
    "/runs/digits%20cnn%00/report",
    "/api/runs/../../../etc/passwd",
    "/static/../_app.py",
    "/static/..%2f_app.py",
    "/static//etc/passwd",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out_of_the_folder(runs: Path, path: str) -> None:
    """The path is given to the application as it is: clients would clean it before."""
    secret = runs.parent / "secret"
    if not secret.exists():
        make_run(secret, pictures=False, epochs=1)
    status, body = ask(runs, path)
    assert status == 404
    assert b"root:" not in body
    assert b"class Pages" not in body


def ask(folder: Path, path: str, *headers: tuple[bytes, bytes], method: str = "GET") -> Any:
    """Call the application with a raw request."""
    from urllib.parse import unquote

    sent: list[dict[str, Any]] = []

    async def call() -> None:
        app = create_app(folder)
        scope = {
            "type": "http", "http_version": "1.1", "method": method, "scheme": "http",
            "path": unquote(path), "raw_path": path.encode(), "root_path": "", "query_string": b"",
            "headers": headers or ((b"host", b"127.0.0.1:8765"),), "client": ("127.0.0.1", 9),
            "server": ("127.0.0.1", 8765),
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)

    asyncio.run(call())
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(runs: Path, method: str) -> None:
    for path in ("/", "/api/runs", "/runs/killed", "/compare", "/events"):
        status, _ = ask(runs, path, method=method)
        assert status == 405


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True),
        ("localhost:8765", True),
        ("LOCALHOST.", True),
        ("a.localhost:1", True),
        ("127.0.0.1:8765", True),
        ("192.168.1.7:8765", True),
        ("[::1]:8765", True),
        ("[::1]", True),
        ("my-machine:80", True),
        ("My-Machine", True),
        ("evil.example", False),
        ("evil.example:8765", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8765", False),
        ("evil-localhost", False),
        ("localhost:8765@evil.example", False),
        ("", False),
        (":8765", False),
        ("[evil]:1", False),
    ],
)
def test_whose_name_it_is(host: str, ours: bool) -> None:
    assert is_ours(host, frozenset({"my-machine"})) is ours


def test_a_page_elsewhere_cannot_read_by_pointing_its_name_here(runs: Path) -> None:
    status, body = ask(runs, "/api/runs", (b"host", b"evil.example:8765"))
    assert status == 421
    assert b"digits" not in body
    both = ((b"host", b"localhost"), (b"host", b"evil.example"))
    assert ask(runs, "/api/runs", *both)[0] == 421
    assert ask(runs, "/api/runs", (b"accept", b"*/*"))[0] == 421
    assert ask(runs, "/api/runs", (b"host", b"localhost:1"))[0] == 200


def test_a_report_that_links_out_of_the_folder_is_refused(
    client: Client, runs: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.html"
    secret.write_text("the secret")
    make_run(runs / "linking", pictures=False, epochs=2)
    (runs / "linking" / "report.html").symlink_to(secret)
    answer = client.get("/runs/linking/report")
    assert answer.status_code == 403
    assert "is a link out of the folder" in answer.text


def test_texts_of_a_run_reach_the_page_only_as_json(client: Client) -> None:
    name = EVIL.replace("/", "|")
    assert client.get(f"/runs/{name}").text == client.get("/runs/killed").text
    row = client.get(f"/api/runs/{name}")
    assert row.headers["content-type"] == "application/json"
    assert row.json()["row"]["task"] == EVIL
    assert json.loads(row.text)["row"]["status"] == EVIL
