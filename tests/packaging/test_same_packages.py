"""One file of versions gives the same packages everywhere: it is complete, and the image uses it.

The image itself is built where there is a container engine; here its recipe is read.
"""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def pins() -> dict[str, Version]:
    found = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            found[name] = Version(version)
    return found


def project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file)["project"])


def direct(project: dict[str, object]) -> list[Requirement]:
    """All that pyproject.toml asks for, but for the peers of the benchmarks."""
    lines = list(project["dependencies"])  # type: ignore[call-overload]
    for extra, more in project["optional-dependencies"].items():  # type: ignore[attr-defined]
        lines += more if extra != "bench" else []
    return [Requirement(line) for line in lines if not line.startswith("fitwell[")]


def reached(roots: list[Requirement]) -> set[str]:
    """Follow the needs of installed packages, as they are here, from some of them on."""
    done: set[tuple[str, frozenset[str]]] = set()
    todo = [(canonicalize_name(r.name), frozenset(r.extras)) for r in roots]
    while todo:
        name, extras = todo.pop()
        if (name, extras) in done:
            continue
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform, or an extra that is not installed here
        done.add((name, extras))
        for need in map(Requirement, lines):
            wanted = [{"extra": extra} for extra in (*extras, "")]
            if need.marker is None or any(need.marker.evaluate(w) for w in wanted):
                todo.append((canonicalize_name(need.name), frozenset(need.extras)))
    return {name for name, _ in done}


def test_pt_29_every_line_pins_one_package_once() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.]+", line)] == []
    assert len(pins()) == len(lines)
    assert [name for name in pins() if canonicalize_name(name) != name] == []


def test_pt_29_all_that_the_project_asks_for_is_pinned_within_its_range() -> None:
    known = pins()
    wrong = [
        str(need)
        for need in direct(project())
        if canonicalize_name(need.name) not in known
        or not need.specifier.contains(known[canonicalize_name(need.name)])
    ]
    assert wrong == []


def test_pt_29_what_is_installed_is_what_is_pinned() -> None:
    """Whatever fitwell and its extras bring here, at any depth, has the version of the file."""
    known, differing = pins(), []
    for name in sorted(reached(direct(project()))):
        version = Version(importlib.metadata.version(name))
        if name not in known or known[name] != Version(version.public):
            differing.append(f"{name} {version}, pinned {known.get(name)}")
    if any("torch " in line for line in differing):
        pytest.skip("this environment was not made with constraints.txt")
    assert differing == []


def test_pt_29_the_image_takes_python_and_packages_from_the_same_files() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    (base,) = re.findall(r"^FROM python:([\d.]+)", text, re.MULTILINE)
    allowed = SpecifierSet(str(project()["requires-python"]))
    assert allowed.contains(base)
    installs = re.findall(r"pip install[^&\n]*", text)
    assert len(installs) == 2
    assert all("-c constraints.txt" in line for line in installs)
    assert "pip check" in text
    copied = [
        w for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for w in line.split()[:-1]
    ]
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_pt_29_the_image_is_for_cpus_and_takes_another_index_for_gpus() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (index,) = re.findall(r"^ARG TORCH_INDEX=(\S+)$", text, re.MULTILINE)
    assert index.endswith("/cpu")
    assert '--index-url "$TORCH_INDEX"' in text
    page = (ROOT / "docs/tour/install.md").read_text(encoding="utf-8")
    used = re.findall(r"--build-arg TORCH_INDEX=(\S+)", text + page)
    assert used
    assert all(re.fullmatch(re.escape(index.removesuffix("cpu")) + r"cu\d{3}", u) for u in used)
