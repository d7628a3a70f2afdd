"""`fitwell ui` as a user calls it."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from fitwell.cli import main
from fitwell.core.errors import MissingExtra, UsageError
from fitwell.ui import Site
from fitwell.verbs._ui import ui

from ..report.run_factory import make_run

PATIENCE = 60.0


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    code = "import sys; from fitwell.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, "ui", str(folder), "--port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def address(process: subprocess.Popen[str]) -> str:
    if process.stderr is None or not select.select([process.stderr], [], [], PATIENCE)[0]:
        raise TimeoutError("nothing was said")
    line = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    if found is None:
        raise ValueError(line + process.stderr.read())
    return found[0]


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_ctrl_c_ends_it_quietly_while_a_page_listens(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    make_run(tmp_path / "digits", pictures=False, epochs=2)
    process = start(tmp_path, *words)
    try:
        url = address(process)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/events", timeout=PATIENCE) as stream:
            assert stream.readline().startswith(b"id: ")
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
            waited = time.monotonic() - started
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert err == ""
    assert ('"url": "http' in out) == bool(words)
    assert waited < PATIENCE


def test_a_port_in_use_names_the_next_free_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["ui", str(tmp_path), "--port", str(port)]) == 2
        told = capsys.readouterr().err
        found = re.fullmatch(
            rf"fitwell ui: `port` must be free; got {port}, which another program uses\."
            r" Use the next free one: --port (\d+)\n",
            told,
        )
        assert found is not None, told
        with socket.create_server(("127.0.0.1", int(found[1]))):
            assert port < int(found[1]) <= port + 100


def test_what_cannot_be_served_is_said_at_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "digits", pictures=False, epochs=1)
    with pytest.raises(UsageError, match=rf"got '{run}', which is a run. Use '{tmp_path}'"):
        ui(run)
    with pytest.raises(UsageError, match="got the file"):
        ui(run / "run.json")
    with pytest.raises(UsageError, match="`port` must lie between 0 and 65535; got 70000"):
        ui(tmp_path, port=70000)
    with pytest.raises(UsageError, match=r"`host` must be an address of this machine; got '192\.0"):
        ui(tmp_path, host="192.0.2.1", port=0)


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_the_missing_package_is_named(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [m for m in sys.modules if m.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"ui: needs the package '{package}'.*pip install 'fitwell\[ui\]'"
    with pytest.raises(MissingExtra, match=message):
        Site(tmp_path, host="127.0.0.1", port=0)


@pytest.mark.parametrize(
    ("host", "start"), [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://localhost:")]
)
def test_the_address_can_be_opened(tmp_path: Path, host: str, start: str) -> None:
    site = Site(tmp_path / "not yet there", host=host, port=0)
    assert site.url == f"{start}{site.port}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with site.running() as url, opener.open(f"{url}/api/runs", timeout=PATIENCE) as answer:
        assert json.loads(answer.read())["runs"] == []
