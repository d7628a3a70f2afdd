"""Google Drive as it answers, played by a server on this machine; nothing asks the real one."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fitwell.cli import main
from fitwell.core.errors import DataError, UsageError
from fitwell.data import fetch_address
from fitwell.data._download import _drive
from fitwell.data._download._drive import opener
from fitwell.data._download._transfer import Patience

CONTENT = bytes(range(256)) * 3000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE_ID = "1aB-c_D2e3F4g5H6i7J8k9"
QUICK = Patience(attempts=4, pause=0.0, timeout=10.0)

FORM = """<html><head><title>Google Drive - Virus scan warning</title></head><body>
<form id="search"><input name="q" value="wrong"></form>
<form id="download-form" action="{base}/download" method="get">
<input type="submit" id="uc-download-link" value="Download anyway"/>
<input type="hidden" name="id" value="{file_id}">
<input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="u-1&amp;2">
</form></body></html>"""
LINK = """<html><title>Google Drive - Virus scan warning</title><a id="uc-download-link"
href="/uc?export=download&amp;confirm=AbC1&amp;id={file_id}">Download anyway</a></html>"""
QUOTA = """<html><title>Google Drive - Quota exceeded</title>
<p>Sorry, you can&#39;t view or download this file at this time.</p>
<p>Too many users have viewed or downloaded this file recently.</p></html>"""


@dataclass
class Drive:
    """What Drive does, and what it was asked."""

    base: str = ""
    content: bytes = CONTENT
    page: str = ""
    quota_pages: int = 0
    quota_status: int = 200
    break_after: list[int] = field(default_factory=list)
    change_after: int = 0  # answers after which the file is another version
    asked: list[tuple[str, dict[str, list[str]], str | None]] = field(default_factory=list)
    redirect: str = ""

    def confirmed(self, path: str, query: dict[str, list[str]]) -> bool:
        if self.page == FORM:
            return path == "/download" and query.get("uuid") == ["u-1&2"]
        return self.page == "" or query.get("confirm") == ["AbC1"]


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Drive]:
    state = Drive()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            state.asked.append((parts.path, query, self.headers.get("Range")))
            if state.quota_pages:
                state.quota_pages -= 1
                self.say(QUOTA, state.quota_status)
            elif state.redirect:
                self.say(state.redirect, 200)
            elif state.confirmed(parts.path, query):
                self.send_file()
            else:
                self.say(state.page.format(base=state.base, file_id=query["id"][0]), 200)

        def say(self, page: str, status: int) -> None:
            body = page.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def send_file(self) -> None:
            wanted = self.headers.get("Range")
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            whole = len(state.content)
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            self.send_header("Content-Disposition", 'attachment; filename="set.bin"')
            self.send_header("Content-Type", "application/octet-stream")
            changed = bool(state.change_after) and len(state.asked) > state.change_after
            self.send_header("Last-Modified", f"Thu, 0{1 + changed} Jan 2026 00:00:00 GMT")
            body = state.content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.break_after.pop(0)] if state.break_after else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.base = f"http://127.0.0.1:{server.server_port}"
        plain: Callable[..., Any] = opener
        monkeypatch.setattr(_drive, "opener", lambda address: plain(address, drive=state.base))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield state
        server.shutdown()
        thread.join()


def get(target: Path, address: str = f"drive:{FILE_ID}", **more: Any) -> Path:
    return fetch_address(address, target, patience=QUICK, **more)


def nothing_left(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == ["set.bin"]


@pytest.mark.parametrize("page", ["", FORM, LINK])
def test_plat_03_a_file_comes_with_or_without_the_page_that_asks(
    drive: Drive, tmp_path: Path, page: str
) -> None:
    drive.page = page
    assert get(tmp_path / "set.bin", sha256=DIGEST).read_bytes() == CONTENT
    assert drive.asked[0][1]["id"] == [FILE_ID]
    assert len(drive.asked) == (2 if page else 1)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("page", ["", FORM])
@pytest.mark.parametrize("digest", ["", DIGEST])
def test_plat_03_a_broken_download_goes_on(
    drive: Drive, tmp_path: Path, page: str, digest: str
) -> None:
    drive.page, drive.break_after = page, [300_000, 100_000]
    assert get(tmp_path / "set.bin", sha256=digest).read_bytes() == CONTENT
    ranges = [asked[2] for asked in drive.asked if drive.confirmed(*asked[:2])]
    assert ranges == [None, "bytes=300000-", "bytes=400000-"]
    assert nothing_left(tmp_path)


def test_a_download_goes_on_in_another_process(drive: Drive, tmp_path: Path) -> None:
    drive.break_after = [300_000]
    with pytest.raises(DataError, match="broke after 300,000 of 768,000 bytes"):
        fetch_address(f"drive:{FILE_ID}", tmp_path / "set.bin", patience=Patience(attempts=1))
    assert not (tmp_path / "set.bin").exists()
    assert get(tmp_path / "set.bin").read_bytes() == CONTENT
    assert drive.asked[-1][2] == "bytes=300000-"


def test_pieces_of_two_versions_are_not_joined(drive: Drive, tmp_path: Path) -> None:
    drive.break_after, drive.change_after = [300_000], 1
    drive.content = CONTENT[::-1]
    assert get(tmp_path / "set.bin").read_bytes() == CONTENT[::-1]
    assert [asked[2] for asked in drive.asked] == [None, "bytes=300000-", None]


def test_pieces_of_two_addresses_are_not_joined(drive: Drive, tmp_path: Path) -> None:
    drive.break_after = [300_000]
    with pytest.raises(DataError, match="broke after 300,000 of 768,000 bytes"):
        fetch_address(f"{drive.base}/one", tmp_path / "set.bin", patience=Patience(attempts=1))
    drive.content = CONTENT[::-1]
    assert get(tmp_path / "set.bin", f"{drive.base}/other").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("status", [200, 403, 429])
def test_plat_03_quota_pages_are_waited_out(
    drive: Drive, tmp_path: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    drive.quota_pages, drive.quota_status = 2, status
    path = fetch_address(f"drive:{FILE_ID}", tmp_path / "set.bin", sha256=DIGEST)
    assert path.read_bytes() == CONTENT
    assert pauses == [5.0, 10.0]


def test_plat_03_a_lasting_quota_page_is_never_the_file(drive: Drive, tmp_path: Path) -> None:
    drive.quota_pages = 99
    with pytest.raises(DataError, match=r"too many have downloaded it.*the same command goes on"):
        get(tmp_path / "set.bin")
    assert not (tmp_path / "set.bin").exists()
    assert len(drive.asked) == QUICK.attempts


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sha256": "0" * 64}, rf"must have the SHA-256 0+; got {DIGEST}"),
        ({"size": 767_999}, r"must have 767,999 bytes; got 768,000"),
    ],
)
def test_plat_03_another_content_is_refused(
    drive: Drive, tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        get(tmp_path / "set.bin", **given)
    assert not (tmp_path / "set.bin").exists()
    assert not list(tmp_path.glob(".set.bin.part*"))


def test_a_file_that_is_there_is_checked_or_left_alone(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "set.bin"
    path.write_bytes(CONTENT)
    assert get(path, sha256=DIGEST.upper(), size=len(CONTENT)) == path
    with pytest.raises(UsageError, match="must be a new file where no sha256 is given"):
        get(path)
    with pytest.raises(DataError, match="Delete it to download it again"):
        get(path, sha256="1" * 64)
    assert drive.asked == []
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<title>Page\n not found</title>", "answers with a page, 'Page not found'"),
        (FORM.replace("{base}", "http://elsewhere.example"), "leads elsewhere, to 'elsewhere.ex"),
        (FORM, "asks for a confirmation again and again"),
    ],
)
def test_other_pages_end_it_at_once(drive: Drive, tmp_path: Path, page: str, message: str) -> None:
    drive.redirect = page.replace("{base}", drive.base)
    with pytest.raises(DataError, match=message):
        get(tmp_path / "set.bin")
    assert len(drive.asked) <= 3
    assert not (tmp_path / "set.bin").exists()


@pytest.mark.parametrize(
    "link",
    [
        "https://drive.google.com/file/d/{}/view?usp=sharing",
        "https://drive.google.com/file/u/0/d/{}/view",
        "https://drive.google.com/open?id={}",
        "https://drive.google.com/uc?id={}&export=download",
        "https://docs.google.com/uc?id={}",
        "https://drive.usercontent.google.com/download?id={}&export=download",
        "https://drive.google.com/file/d/{}/view?resourcekey=0-abc",
    ],
)
def test_plat_03_share_links_lead_to_their_file(drive: Drive, tmp_path: Path, link: str) -> None:
    get(tmp_path / "set.bin", link.format(FILE_ID))
    assert drive.asked[0][1]["id"] == [FILE_ID]
    assert drive.asked[0][1].get("resourcekey") == (["0-abc"] if "resourcekey" in link else None)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("drive:short", "must hold the id of a file in Drive"),
        ("https://drive.google.com/drive/folders/1aB-c_D2e3F4g5H6i7", "a folder"),
        ("https://docs.google.com/document/d/1aB-c_D2e3F4g5H6i7/edit", "a document"),
        ("https://drive.google.com/", "must hold the id"),
        ("ftp://host/file", "must be drive:ID or an http"),
        ("https:///file", "must be drive:ID or an http"),
    ],
)
def test_what_is_no_file_is_refused_before_anything_is_asked(
    tmp_path: Path, address: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        fetch_address(address, tmp_path / "set.bin")


def test_any_web_address_works(drive: Drive, tmp_path: Path) -> None:
    assert get(tmp_path / "set.bin", f"{drive.base}/some/set.bin").read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written_is_named(drive: Drive, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        get(tmp_path / "file" / "set.bin")


def test_plat_03_on_the_command_line(drive: Drive, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "new" / "set.bin"
    assert main(["data", "get", f"drive:{FILE_ID}", "--out", str(out), "--sha256", DIGEST]) == 0
    assert out.read_bytes() == CONTENT
    assert str(out) in capsys.readouterr().out
    assert main(["data", "get", f"drive:{FILE_ID}"]) == 2
    assert "`out` must name the file to write" in capsys.readouterr().err
    assert main(["data", "get", "iris", "--size", "5"]) == 2
    assert "`size` must be left out for a built-in set" in capsys.readouterr().err
