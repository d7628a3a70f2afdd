"""Downloads against a server on this machine that breaks off, refuses, or gives something else."""

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fitwell.core.errors import DataError
from fitwell.data import RemoteFile
from fitwell.data._download import fetch, local_path, verify

CONTENT = bytes(range(256)) * 4096  # 1 MiB: more than one chunk
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Origin:
    """What the server does, and what it was asked."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.statuses: list[int] = []  # answered first, one per request, before the content
        self.break_after: list[int] = []  # bytes sent before the connection is cut, per answer
        self.ranges = True
        self.lie_about_start = False
        self.asked: list[str | None] = []
        self.url = ""


@pytest.fixture
def origin() -> Iterator[Origin]:
    state = Origin()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            if state.statuses:
                self.send_error(state.statuses.pop(0))
                return
            start = 0
            if wanted and state.ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(state.content):
                    self.send_error(416)
                    return
                self.send_response(206)
                said = 0 if state.lie_about_start else start
                whole = len(state.content)
                self.send_header("Content-Range", f"bytes {said}-{whole - 1}/{whole}")
            else:
                self.send_response(200)
            body = state.content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.break_after.pop(0)] if state.break_after else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}/set.bin"
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("FITWELL_DATA", raising=False)


def remote(origin: Origin, **changes: object) -> RemoteFile:
    values = {"name": "set.bin", "sha256": DIGEST, "bytes": len(CONTENT), "url": origin.url}
    return RemoteFile(**{**values, **changes})  # type: ignore[arg-type]


def test_file_arrives_whole_with_progress(origin: Origin, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    path = fetch(remote(origin), tmp_path / "set", progress=lambda *step: steps.append(step))
    assert path.read_bytes() == CONTENT
    assert steps[-1] == ("set.bin", len(CONTENT), len(CONTENT))
    assert [have for _, have, _ in steps] == sorted({have for _, have, _ in steps})
    assert not list(path.parent.glob("*.part"))


def test_second_call_asks_nobody(origin: Origin, tmp_path: Path) -> None:
    fetch(remote(origin), tmp_path)
    fetch(remote(origin), tmp_path)
    assert len(origin.asked) == 1


def test_broken_connections_are_resumed(origin: Origin, tmp_path: Path) -> None:
    origin.break_after = [300_000, 400_000]
    path = fetch(remote(origin), tmp_path, pause=0)
    assert path.read_bytes() == CONTENT
    assert origin.asked == [None, "bytes=300000-", "bytes=700000-"]


def test_part_of_an_earlier_process_is_continued(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(CONTENT[:1000])
    assert fetch(remote(origin), tmp_path).read_bytes() == CONTENT
    assert origin.asked == ["bytes=1000-"]


def test_complete_part_needs_no_server(tmp_path: Path, origin: Origin) -> None:
    (tmp_path / "set.bin.part").write_bytes(CONTENT)
    assert fetch(remote(origin), tmp_path).read_bytes() == CONTENT
    assert origin.asked == []


def test_server_without_ranges_starts_over(origin: Origin, tmp_path: Path) -> None:
    origin.ranges = False
    origin.break_after = [300_000]
    assert fetch(remote(origin), tmp_path, pause=0).read_bytes() == CONTENT


@pytest.mark.parametrize("garbage", [b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)])
def test_part_with_other_content_is_thrown_away(
    origin: Origin, tmp_path: Path, garbage: bytes
) -> None:
    (tmp_path / "set.bin.part").write_bytes(garbage)
    assert fetch(remote(origin), tmp_path, pause=0).read_bytes() == CONTENT


def test_wrong_content_range_is_not_appended(origin: Origin, tmp_path: Path) -> None:
    origin.lie_about_start = True
    origin.break_after = [300_000]
    with pytest.raises(DataError, match=re.escape("when asked for bytes 300000-")):
        fetch(remote(origin), tmp_path, pause=0, attempts=2)
    assert (tmp_path / "set.bin.part").read_bytes() == CONTENT[:300_000]


def test_overload_is_waited_out(origin: Origin, tmp_path: Path) -> None:
    origin.statuses = [503, 429]
    assert fetch(remote(origin), tmp_path, pause=0).read_bytes() == CONTENT


def test_lasting_refusal_is_not_repeated(origin: Origin, tmp_path: Path) -> None:
    origin.statuses = [404]
    with pytest.raises(DataError, match=r"could not be fetched \(HTTP status 404\)"):
        fetch(remote(origin), tmp_path, pause=0)
    assert len(origin.asked) == 1


def test_pauses_double(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    origin.statuses = [500] * 9
    with pytest.raises(DataError, match="HTTP status 500"):
        fetch(remote(origin), tmp_path, attempts=4, pause=0.5)
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"!", CONTENT + b"!"])
def test_changed_content_is_refused_and_removed(
    origin: Origin, tmp_path: Path, content: bytes
) -> None:
    origin.content = content
    with pytest.raises(DataError, match="The file at this address has changed"):
        fetch(remote(origin), tmp_path, pause=0)
    assert not (tmp_path / "set.bin").exists()
    assert not (tmp_path / "set.bin.part").exists()


def test_content_that_ends_early_is_refused(origin: Origin, tmp_path: Path) -> None:
    origin.content = CONTENT[:-10]
    with pytest.raises(DataError, match="could not be fetched"):
        fetch(remote(origin), tmp_path, pause=0, attempts=3)
    assert not (tmp_path / "set.bin").exists()


def test_offline_names_address_folder_and_variable(tmp_path: Path, origin: Origin) -> None:
    closed = remote(origin, url="http://127.0.0.1:9/set.bin")
    with pytest.raises(DataError, match="could not be fetched") as caught:
        fetch(closed, tmp_path / "toy", pause=0, attempts=2)
    message = str(caught.value)
    for part in (closed.url, str(tmp_path / "toy" / "set.bin"), "FITWELL_DATA", "toy/set.bin"):
        assert part in message
    assert message.count(". ") == 0  # one sentence


def test_folder_that_cannot_be_made(tmp_path: Path, origin: Origin) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        fetch(remote(origin), tmp_path / "file" / "toy")
    assert origin.asked == []


def test_many_threads_fetch_once(origin: Origin, tmp_path: Path) -> None:
    origin.break_after = [300_000]
    threads = [
        threading.Thread(target=fetch, args=(remote(origin), tmp_path), kwargs={"pause": 0})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "set.bin").read_bytes() == CONTENT
    assert len(origin.asked) == 2


def test_verify_reads_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "set.bin"
    path.write_bytes(CONTENT)
    file = RemoteFile("set.bin", DIGEST, len(CONTENT))
    verify(path, file)
    monkeypatch.setattr("fitwell.data._download._known.sha256", lambda path: "not asked for")
    assert verify(path, file) == path
    os.utime(path, ns=(1, 1))  # touched, so it is read again
    with pytest.raises(DataError, match="got not asked for"):
        verify(path, file)


def test_verify_names_size_and_digest(tmp_path: Path) -> None:
    path = tmp_path / "set.bin"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"must have 1,048,576 bytes; got 1,048,575"):
        verify(path, RemoteFile("set.bin", DIGEST, len(CONTENT)))
    with pytest.raises(DataError, match=f"must have the SHA-256 {DIGEST}"):
        verify(path, RemoteFile("set.bin", DIGEST, len(CONTENT) - 1))


@pytest.mark.parametrize("notes", ["", "[]", "{", '{"x": 3}'])
def test_damaged_notes_are_ignored(tmp_path: Path, notes: str) -> None:
    folder = tmp_path / "cache" / "data"
    folder.mkdir(parents=True)
    (folder / "verified.json").write_text(notes)
    path = tmp_path / "set.bin"
    path.write_bytes(CONTENT)
    assert verify(path, RemoteFile("set.bin", DIGEST, len(CONTENT))) == path


def test_given_folder_comes_before_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RemoteFile("set.bin", DIGEST, len(CONTENT))
    assert local_path(file, "toy") is None
    for base in (tmp_path / "cache" / "data", tmp_path / "given"):
        (base / "toy").mkdir(parents=True)
        (base / "toy" / "set.bin").write_bytes(CONTENT)
    assert local_path(file, "toy") == tmp_path / "cache" / "data" / "toy" / "set.bin"
    monkeypatch.setenv("FITWELL_DATA", str(tmp_path / "given"))
    assert local_path(file, "toy") == tmp_path / "given" / "toy" / "set.bin"
