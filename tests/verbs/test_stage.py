"""Data onto a local disk: whole, safe, gone on with, measured; and how fast disks are."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitwell.cli import main
from fitwell.core import staging
from fitwell.core.archives import stem
from fitwell.core.disk_speed import file_system, measure_disk
from fitwell.core.errors import DataError, UsageError
from fitwell.verbs._data import speed, stage

from .runs import call

FILES = {
    "a/one.png": b"1" * 10,
    "a/two.png": b"",
    "b/deep/three.bin": bytes(range(256)) * 5000,
    "four.txt": "grün".encode(),
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "drive" / "photos"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def beside(folder: Path) -> list[str]:
    """What lies beside a staged folder, the note that says it is whole left out."""
    others = {folder.name, f".{folder.name}.staged.json"}
    return sorted(path.name for path in folder.parent.iterdir() if path.name not in others)


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path) -> Path:
    kinds = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
    with tarfile.open(path, kinds[path.suffix]) as archive:  # type: ignore[call-overload]
        for name, data in FILES.items():
            add(archive, name, data)
    return path


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **changes: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in changes.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("name", ["d.zip", "d.tar", "d.tar.gz", "D.TGZ", "d.tar.bz2", "d.tar.xz"])
def test_plat_05_an_archive_arrives_unpacked_and_measured(name: str, tmp_path: Path) -> None:
    make: Callable[[Path], Path] = zipped if name.endswith("zip") else tarred
    archive = make(tmp_path / name.lower()).rename(tmp_path / name)
    done = stage(archive, to=tmp_path / "local" / "d")
    assert content(tmp_path / "local" / "d") == dict(sorted(FILES.items()))
    assert (done.files, done.bytes) == (4, sum(map(len, FILES.values())))
    assert done.sha256 == sha256(archive.read_bytes()).hexdigest()
    assert done.bytes_read == archive.stat().st_size
    assert done.bytes_written == done.bytes_read + done.bytes
    plain = done.to_dict()
    assert plain["read_speed"] > 0
    assert plain["write_speed"] > 0
    assert "MB/s" in str(done)
    assert beside(done.folder) == []


def test_plat_05_what_is_there_and_unchanged_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped(tmp_path / "d.zip")
    first = stage(archive)
    monkeypatch.setattr(staging, "_copy", lambda *_: pytest.fail("read again"))
    again = stage(archive)
    assert again.folder == first.folder
    assert (again.files, again.bytes, again.sha256) == (4, first.bytes, first.sha256)
    assert again.files_read == 0
    assert "nothing was read" in str(again)
    assert again.to_dict()["read_speed"] is None


def test_a_changed_or_damaged_stage_is_renewed(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "d.zip")
    folder = stage(archive).folder
    (folder / "four.txt").unlink()
    assert stage(archive).files_read == 1
    assert content(folder) == dict(sorted(FILES.items()))
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("five.txt", b"5")
    assert stage(archive).files == 5


def test_files_put_beside_what_was_staged_are_never_deleted(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "d.zip")
    folder = stage(archive).folder
    (folder / "labels.csv").write_text("mine")
    again = stage(archive)
    assert (again.files, again.files_read) == (4, 0)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("five.txt", b"5")
    with pytest.raises(DataError, match=r"got 1 files more\. Move them away"):
        stage(archive)
    assert (folder / "labels.csv").read_text() == "mine"
    (folder / "labels.csv").unlink()
    assert stage(archive).files == 5


def test_plat_05_a_copy_that_was_cut_off_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tarred(tmp_path / "d.tar")
    size = archive.stat().st_size
    monkeypatch.setattr(staging, "BLOCK", 100_000)
    seen: list[int] = []

    def stop(name: str, have: int, whole: int) -> None:
        seen.append(have)
        if len(seen) == 3:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(DataError, match="daily quota is used up; run the same command later"):
        staging.stage(archive, tmp_path / "local", progress=stop)
    assert not (tmp_path / "local").exists()
    done = staging.stage(archive, tmp_path / "local")
    assert done.bytes_read == size - 300_000
    assert content(tmp_path / "local") == dict(sorted(FILES.items()))
    assert done.sha256 == sha256(archive.read_bytes()).hexdigest()


def test_what_was_left_of_another_version_is_not_gone_on_with(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "d.tar")
    (tmp_path / ".local.part").write_bytes(b"old")
    done = stage(archive, to=tmp_path / "local")
    assert done.bytes_read == archive.stat().st_size
    assert done.files == 4


def test_plat_05_a_folder_is_copied_and_only_what_changed_again(
    source: Path, tmp_path: Path
) -> None:
    local = tmp_path / "local"
    done = stage(source, to=local)
    assert content(local) == dict(sorted(FILES.items()))
    assert (done.files_read, done.bytes_read) == (4, done.bytes)
    assert stage(source, to=local).files_read == 0
    (source / "four.txt").write_text("new")
    (local / "a/one.png").unlink()
    again = stage(source, to=local)
    assert again.files_read == 2
    assert (local / "four.txt").read_text() == "new"
    assert (local / "a/one.png").read_bytes() == FILES["a/one.png"]
    assert stage(source, to=local).to_dict()["read_speed"] is None


def test_links_in_a_folder_are_followed_to_files_only(source: Path, tmp_path: Path) -> None:
    (source / "link.txt").symlink_to(source / "four.txt")
    (source / "loop").symlink_to(source)
    (source / "nowhere").symlink_to(tmp_path / "gone")
    os.mkfifo(source / "pipe")
    done = stage(source, to=tmp_path / "local")
    assert done.skipped == 3
    assert (tmp_path / "local/link.txt").read_bytes() == FILES["four.txt"]
    assert "Left out: 3 links and special files." in str(done)


def test_many_small_files_are_better_packed() -> None:
    done = staging.Staged(
        source=Path("photos"),
        folder=Path("local"),
        files_read=1000,
        bytes_read=10**6,
        read_seconds=100.0,
        bytes_written=10**6,
        write_seconds=1.0,
    )
    assert "10.0 files/s from photos" in str(done)
    assert "tar -cf data.tar -C photos ." in str(done)


def test_a_single_file_is_staged_too(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    done = stage(tmp_path / "rows.csv", to=tmp_path / "local")
    assert content(tmp_path / "local") == {"rows.csv": b"a,b\n1,2\n"}
    assert done.bytes_written == done.bytes == 8


@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_plat_05_too_little_room_is_said_before_anything_is_copied(
    kind: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = source if kind == "folder" else zipped(tmp_path / "d.zip")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"must have 1\.3 MB free; got 0\.0 MB.*Nothing was copied"):
        stage(given, to=tmp_path / "local" / "d")
    assert not (tmp_path / "local" / "d").exists()


def test_plat_05_a_quota_that_runs_out_is_said(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(staging, "_copy", full)
    for place in (source, zipped(tmp_path / "d.zip")):
        with pytest.raises(DataError, match=r"is full\. Free some room or name another disk"):
            stage(place, to=tmp_path / "local" / place.name)


HOSTILE: dict[str, Callable[[tarfile.TarFile], None]] = {
    "../out.txt": lambda t: add(t, "../out.txt", b"x"),
    "/tmp/out.txt": lambda t: add(t, "/tmp/out.txt", b"x"),
    "a/../../out.txt": lambda t: add(t, "a/../../out.txt", b"x"),
    "..\\out.txt": lambda t: add(t, "..\\out.txt", b"x"),
    "C:\\out.txt": lambda t: add(t, "C:\\out.txt", b"x"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_plat_05_a_name_that_leads_out_ends_it(kind: str, name: str, tmp_path: Path) -> None:
    archive = tmp_path / "in" / f"evil.{kind}"
    archive.parent.mkdir()
    if kind == "tar":
        with tarfile.open(archive, "w") as tarred_archive:
            add(tarred_archive, "good.txt", b"good")
            HOSTILE[name](tarred_archive)
    else:
        with zipfile.ZipFile(archive, "w") as zipped_archive:
            zipped_archive.writestr("good.txt", b"good")
            zipped_archive.writestr(name, b"x")
    with pytest.raises(DataError, match=r"leads out of the folder.*Do not use this archive"):
        stage(archive, to=tmp_path / "local" / "d")
    assert not list(tmp_path.rglob("*out.txt"))
    assert not (tmp_path / "local" / "d").exists()
    assert not list((tmp_path / "local").glob(".d.unpacking"))


def test_plat_05_links_never_lead_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    archive = tmp_path / "d.tar"
    with tarfile.open(archive, "w") as opened:
        add(opened, "real.txt", b"real")
        add(opened, "hard.txt", type=tarfile.LNKTYPE, linkname="real.txt")
        add(opened, "soft.txt", type=tarfile.SYMTYPE, linkname="real.txt")
        add(opened, "out", type=tarfile.SYMTYPE, linkname=str(tmp_path))
        add(opened, "out/stolen", b"x")  # would land in tmp_path if the link were made
        add(opened, "leak", type=tarfile.SYMTYPE, linkname="../secret")
        add(opened, "leak2", type=tarfile.LNKTYPE, linkname=str(tmp_path / "secret"))
        add(opened, "round", type=tarfile.SYMTYPE, linkname="round")
        add(opened, "device", type=tarfile.CHRTYPE)
    done = stage(archive, to=tmp_path / "local" / "d")
    found = content(tmp_path / "local" / "d")
    same = {"real.txt": b"real", "hard.txt": b"real", "soft.txt": b"real"}
    assert found == {**same, "out/stolen": b"x"}
    assert not (tmp_path / "stolen").exists()
    assert not [path for path in (tmp_path / "local").rglob("*") if path.is_symlink()]
    assert done.skipped == 5


def test_a_symbolic_link_in_a_zip_is_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("real", b"real")
    done = stage(tmp_path / "d.zip", to=tmp_path / "local")
    assert content(tmp_path / "local") == {"real": b"real"}
    assert done.skipped == 1


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip").read_bytes()
    with tarfile.open(tmp_path / "d.tar", "w") as archive:
        add(archive, "one.txt", b"1")
        add(archive, "inner.zip", inner)
    stage(tmp_path / "d.tar", to=tmp_path / "local")
    assert content(tmp_path / "local") == {"inner.zip": inner, "one.txt": b"1"}


def test_a_zip_packed_in_an_unknown_way_is_explained(tmp_path: Path) -> None:
    archive = tmp_path / "d.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("big.bin", b"x")
    data = bytearray(archive.read_bytes())
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):  # the method, in both heads
        data[data.index(mark) + place] = 9  # Deflate64
    archive.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"'big\.bin', packed in a way that Python cannot read"):
        stage(archive, to=tmp_path / "local")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-600])


def scratch(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 40):
        data[place] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("harm", [truncate, scratch])
@pytest.mark.parametrize("name", ["d.zip", "d.tar.gz", "d.tar.xz", "d.tar.bz2"])
def test_a_damaged_archive_is_named(
    name: str, harm: Callable[[Path], None], tmp_path: Path
) -> None:
    archive = (zipped if name.endswith("zip") else tarred)(tmp_path / name)
    harm(archive)
    with pytest.raises(DataError, match=r"is not a whole archive"):
        stage(archive, to=tmp_path / "local" / "d")
    assert not (tmp_path / "local" / "d").exists()
    assert not list((tmp_path / "local").glob(".d.unpacking"))


def test_another_digest_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "d.zip")
    right = sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=rf"must have the SHA-256 0+; got {right}"):
        stage(archive, sha256="0" * 64)
    assert stage(archive, sha256=right.upper()).files == 4
    with pytest.raises(DataError, match="must have the SHA-256"):
        stage(archive, sha256="0" * 64)


def test_misuse_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not there. Is the drive mounted\?"):
        stage(tmp_path / "gone.zip")
    with pytest.raises(UsageError, match="`sha256` must be left out for a folder"):
        stage(source, sha256="0" * 64)
    with pytest.raises(DataError, match="must lie outside"):
        stage(source, to=source / "local")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="must be new, empty or staged before"):
        stage(zipped(tmp_path / "d.zip"), to=tmp_path / "mine")
    assert content(tmp_path / "mine") == {"thesis.txt": b"mine"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("photos.tar.gz", "photos"), ("a.b.zip", "a.b"), ("x.TGZ", "x"), ("rows.csv", "rows.csv")],
)
def test_names_of_staged_folders(name: str, expected: str) -> None:
    assert stem(Path(name)) == expected


NAMES = st.lists(st.text("ab./", min_size=1, max_size=6), min_size=1, max_size=5, unique=True)


@given(names=NAMES)
@settings(max_examples=40, deadline=None)
def test_no_name_at_all_writes_outside(
    names: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("names")
    archive = root / "d.tar"
    with tarfile.open(archive, "w") as opened:
        for name in names:
            add(opened, name, b"x")
    before = archive.read_bytes()
    try:
        stage(archive, to=root / "local" / "d")
    except DataError:
        pass
    assert sorted(path.name for path in root.iterdir()) == ["d.tar", "local"]
    assert archive.read_bytes() == before
    assert {p.name for p in (root / "local").iterdir()} <= {
        "d",
        ".d.staged.json",
        ".d.part",
        ".d.part.json",
    }


def test_plat_05_on_the_command_line(tmp_path: Path, capsys: Any) -> None:
    archive = zipped(tmp_path / "d.zip")
    code, result, _ = call(capsys, "data", "stage", archive, "--to", tmp_path / "local")
    assert code == 0
    assert result["files"] == 4
    assert result["folder"] == str(tmp_path / "local")
    assert main(["data", "stage", str(tmp_path / "gone.zip")]) == 2
    assert "is not there" in capsys.readouterr().err


def test_plat_09_each_disk_is_measured_and_left_clean(tmp_path: Path, capsys: Any) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    words = ("--seconds", "0.02", "--max-bytes", "4194304")
    code, result, _ = call(capsys, "data", "speed", tmp_path / "one", tmp_path / "two", *words)
    assert code == 0
    assert [disk["folder"] for disk in result["disks"]] == [
        str(tmp_path / "one"),
        str(tmp_path / "two"),
    ]
    for disk in result["disks"]:
        speeds = ("write", "read", "random_write", "random_read", "small_write", "small_read")
        assert all(disk[name] > 0 for name in speeds)
    assert content(tmp_path / "one") == {}
    assert list((tmp_path / "two").iterdir()) == []


def test_plat_09_the_table_has_a_row_per_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = str(speed(seconds=0.01, max_bytes=2**20))
    assert str(tmp_path) in text
    assert str(tmp_path / "cache") in text
    assert "MB/s" in text


def test_plat_09_the_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    sync = os.fsync

    def watch(handle: int) -> None:
        written.append(os.fstat(handle).st_size)
        sync(handle)

    monkeypatch.setattr("os.fsync", watch)
    measure_disk(tmp_path, seconds=0.3, max_bytes=3 * 2**20)
    assert max(written) == 3 * 2**20


def test_speed_misuse_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a folder that can be written"):
        speed(tmp_path / "gone")
    with pytest.raises(UsageError, match="must be positive; got seconds=0"):
        speed(tmp_path, seconds=0)


def test_file_systems_are_named(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\ndrive {tmp_path} fuse.drive rw 0 0\n")
    assert file_system(tmp_path, mounts) == "fuse.drive"
    assert file_system(Path("/"), mounts) == "ext4"
    assert file_system(tmp_path, tmp_path / "none") == ""
