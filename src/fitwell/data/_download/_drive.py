"""Files by address: a link, or a file that was shared through Google Drive.

Drive answers for a large file with a page that asks whether to go on without a scan for viruses,
and for a popular one with a page that says its quota is used up; neither is taken for the file.
"""

from __future__ import annotations

import html
import re
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from pathlib import Path
from typing import final

from ...core.errors import DataError, UsageError
from ...core.files import sha256 as sha256_of
from ...core.files import sync
from ._transfer import (
    OpenAt,
    Patience,
    Progress,
    Refused,
    Wanted,
    alone,
    complete,
    open_url,
    request,
)

DRIVE = "https://drive.google.com"
_HOSTS = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")
_ID = re.compile(r"[-\w]{10,}")
_QUOTA = ("Quota exceeded", "Too many users have viewed or downloaded")
_PAGES = 3  # a page that asks, a page that asks again, the file


def fetch_address(
    address: str,
    out: str | Path,
    *,
    sha256: str = "",
    size: int = 0,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download a file by its link or by its id in Google Drive, going on where it broke off.

    Works for what everyone who has the link may read; does not log in, does not fetch folders.
    Nothing stands under the final name before it is whole and, where they are given, its size and
    SHA-256 are right.

    Args:
        address: ``drive:ID``, a link that Drive's share button gives, or any http(s) address.
        out: The file to write.
        sha256: SHA-256 of the content as hexadecimal digits; empty if not known.
        size: Bytes of the content; 0 if not known.
        patience: How long to try; by default five times, waiting from 5 to 40 seconds.
        progress: Called with the name, the bytes that are here and the bytes of the whole.

    Raises:
        UsageError: The address is none, or `out` is there already and cannot be checked.
        DataError: The file cannot be had, or is another one.
    """
    out = Path(out)
    open_at = opener(address)
    if out.exists():
        return _already_there(out, sha256, size)
    part = out.with_name(f".{out.name}.part")
    wanted = Wanted(
        name=out.name,
        address=address,
        way_out="what has come is kept, and the same command goes on with it",
        sha256=sha256.lower(),
        bytes=size,
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with alone(out.with_name(f".{out.name}.lock")):
            if not out.exists():
                complete(wanted, part, open_at, patience or Patience(pause=5.0), progress)
                sync(part)
                part.replace(out)
        out.with_name(f".{out.name}.lock").unlink(missing_ok=True)
    except OSError as err:
        raise DataError(f"{out}: cannot be written ({err.strerror}). Free or unlock it.") from err
    return out


def _already_there(out: Path, sha256: str, size: int) -> Path:
    if not sha256:
        raise UsageError(
            f"data get: `out` must be a new file where no sha256 is given; got {str(out)!r}, which"
            " is there. Delete it, or give its sha256."
        )
    found, count = sha256_of(out), out.stat().st_size
    if found != sha256.lower() or (size and count != size):
        raise DataError(
            f"{out}: must have the SHA-256 {sha256.lower()}; got {found} ({count:,} bytes)."
            " Delete it to download it again."
        )
    return out


def opener(address: str, *, drive: str = DRIVE) -> OpenAt:
    """Give what opens the file at an address.

    Args:
        address: As for `fetch_address`.
        drive: Where Drive is.

    Raises:
        UsageError: It is no address of a file.
    """
    parts = urllib.parse.urlsplit(address)
    if parts.scheme == "drive":
        return SharedFile(_checked_id(address.partition(":")[2], address), drive=drive).open_at
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(
            f"data get: `name` must be drive:ID or an http(s) address; got {address!r}."
        )
    if parts.hostname not in _HOSTS:
        return open_url(address)
    query = dict(urllib.parse.parse_qsl(parts.query))
    if "/folders/" in parts.path:
        raise UsageError(
            f"data get: `name` must be the link of one file; got {address!r}, a folder. Open it and"
            " share the file in it, or an archive of all."
        )
    if parts.hostname == "docs.google.com" and not parts.path.startswith(("/uc", "/file")):
        raise UsageError(
            f"data get: `name` must be the link of a file; got {address!r}, a document. Save it as"
            " a file with File > Download."
        )
    found = re.search(r"/d/([^/]+)", parts.path)
    file_id = found[1] if found else query.get("id", "")
    shared = SharedFile(
        _checked_id(file_id, address), key=query.get("resourcekey", ""), drive=drive
    )
    return shared.open_at


def _checked_id(file_id: str, address: str) -> str:
    if not _ID.fullmatch(file_id):
        raise UsageError(
            f"data get: `name` must hold the id of a file in Drive, ten or more letters and digits;"
            f" got {address!r}. Copy the link from Drive's share button."
        )
    return file_id


@final
class SharedFile:
    """A file that someone shared through Google Drive.

    Args:
        file_id: Its id.
        key: Key that older links carry beside the id.
        drive: Where Drive is.
    """

    def __init__(self, file_id: str, *, key: str = "", drive: str = DRIVE) -> None:
        query = {"export": "download", "id": file_id, **({"resourcekey": key} if key else {})}
        self._address = f"{drive}/uc?{urllib.parse.urlencode(query)}"
        self._hosts = ("google.com", "googleusercontent.com", urllib.parse.urlsplit(drive).hostname)
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def open_at(self, start: int, timeout: float) -> HTTPResponse:
        """Open the content from a byte on, answering the page that asks about viruses.

        Args:
            start: First byte.
            timeout: Seconds to wait for an answer.

        Raises:
            Refused: Drive answers with a page instead.
        """
        address = self._address
        for _ in range(_PAGES):
            try:
                response: HTTPResponse = self._opener.open(request(address, start), timeout=timeout)
            except urllib.error.HTTPError as err:
                if any(words in _page(err) for words in _QUOTA):
                    raise _quota() from err
                raise
            disposition = response.headers.get("Content-Disposition", "")
            if disposition or response.headers.get_content_type() != "text/html":
                return response
            with response:
                page = _page(response)
                address = self._next(page, response.url)
        raise Refused("Drive asks for a confirmation again and again", lasting=True)

    def _next(self, page: str, url: str) -> str:
        """Give the address that a page of Drive leads to."""
        if any(words in page for words in _QUOTA):
            raise _quota()
        host = urllib.parse.urlsplit(url).hostname or ""
        if host == "accounts.google.com" or "ServiceLogin" in url:
            raise Refused("it is not shared with everyone who has the link", lasting=True)
        form = _Form()
        form.feed(page)
        link = re.search(r'href="(/uc\?[^"]*confirm=[^"]*)"', page)
        if form.action:
            query = urllib.parse.urlencode(form.fields)
            onward = f"{form.action}{'&' if '?' in form.action else '?'}{query}"
        elif link:
            onward = html.unescape(link[1])
        else:
            title = re.search(r"<title>(.*?)</title>", page, re.DOTALL)
            said = " ".join(html.unescape(title[1]).split())[:80] if title else "no title"
            raise Refused(f"Drive answers with a page, {said!r}", lasting=True)
        onward = urllib.parse.urljoin(url, onward)
        there = urllib.parse.urlsplit(onward).hostname or ""
        if not any(there == known or there.endswith(f".{known}") for known in self._hosts):
            raise Refused(f"Drive's page leads elsewhere, to {there!r}", lasting=True)
        return onward


def _quota() -> Refused:
    return Refused(
        "Drive says that too many have downloaded it; that passes within a day, or make a copy of"
        " the file in your own Drive and share that",
        lasting=False,
    )


def _page(response: HTTPResponse | urllib.error.HTTPError) -> str:
    return response.read(2**20).decode("utf-8", errors="replace")


@final
class _Form(HTMLParser):
    """The form of the page that asks whether to go on without a scan for viruses."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = given.get("id") in ("download-form", "downloadForm")
            if self._inside:
                self.action = given.get("action", "")
        elif tag == "input" and self._inside and given.get("name"):
            self.fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
