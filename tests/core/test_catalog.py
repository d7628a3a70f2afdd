"""The catalogue of a made-up package, and of this one."""

from pathlib import Path

import pytest

from fitwell.core.catalog import entries, families, find, methods
from fitwell.core.errors import UnknownName

FILES = {
    "core/__init__.py": "from ._hidden import Hidden as Hidden",
    "nn/__init__.py": (
        "import os\n"
        "from torch.nn import LSTM as LSTM\n"
        "from ._a import Plain as Plain, not_public\n"
        "from ._a import make_it as make_it\n"
        "from ._a import SIZE as SIZE\n"
        "from ._a import Moved as Moved\n"
        "from ._gone import Gone as Gone\n"
    ),
    "nn/_a.py": (
        "from ._b import Moved\n"
        "SIZE: int = 3\n"
        "class Plain(Base):\n"
        '    """Plain thing.\n\n    Source: he2016deep.\n    """\n'
        "    def __init__(self, width: int, *, depth: int = 2, **more: str) -> None: ...\n"
        "def make_it(x: int, /, *args: int) -> int:\n"
        '    """Make."""\n'
    ),
    "nn/_b.py": (
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Moved:\n"
        '    """Moved thing."""\n'
        "    p: float = 0.5\n"
        "    kind: ClassVar[str] = 'x'\n"
        "    made: int = field(init=False)\n"
    ),
    "optim/__init__.py": "from ._c import Plain as Plain\nfrom ._c import Cosine as Cosine\n",
    "optim/_c.py": "class Plain: pass\nclass Cosine: pass\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


def test_families_are_the_packages_that_publish(package: Path) -> None:
    assert families(package) == ("nn", "optim")


def test_entries_are_the_lines_that_publish(package: Path) -> None:
    found = {entry.name: entry for entry in entries("nn", package)}
    assert sorted(found) == ["Gone", "LSTM", "Moved", "Plain", "SIZE", "make_it"]
    assert found["Plain"].signature == "Plain(width: int, *, depth: int=2, **more: str)"
    assert found["Plain"].parameters == ("width", "depth", "more")
    assert (found["Plain"].file.name, found["Plain"].line) == ("_a.py", 3)
    assert found["make_it"].signature == "make_it(x: int, /, *args: int) -> int"
    assert found["Moved"].signature == "Moved(*, p: float = 0.5)"
    assert found["Moved"].file.name == "_b.py"
    assert [found[name].kind for name in ("SIZE", "LSTM", "Gone")] == ["value", "import", "import"]
    assert found["LSTM"].card.summary == "The `LSTM` of `torch.nn`, passed on as it is."


def test_methods_are_the_entries_with_a_source(package: Path) -> None:
    assert [entry.path for entry in methods(package=package)] == ["nn.Plain"]


@pytest.mark.parametrize("name", ["optim.Cosine", "fitwell.optim.Cosine", "cosine", "OPTIM.COSINE"])
def test_a_name_is_found_in_every_spelling(package: Path, name: str) -> None:
    assert find(name, package=package).path == "optim.Cosine"


def test_a_name_in_two_families_is_refused_unless_the_family_is_given(package: Path) -> None:
    with pytest.raises(UnknownName, match=r"several families; use one of: nn\.Plain, optim\.Plain"):
        find("plain", package=package)
    assert find("plain", family="optim", package=package).path == "optim.Plain"


@pytest.mark.parametrize(
    ("name", "near"), [("cosin", "nearest: 'Cosine'"), ("optim.Cosne", r"nearest: 'optim\.Cosine'")]
)
def test_a_misspelled_name_lists_the_nearest(package: Path, name: str, near: str) -> None:
    with pytest.raises(UnknownName, match=f"^show: no method named '{name}'; {near}"):
        find(name, owner="show", package=package)


def test_a_misspelled_family_lists_the_nearest(package: Path) -> None:
    with pytest.raises(UnknownName, match="no family named 'optm'; nearest: 'optim'"):
        entries("optm", package)


def test_every_name_of_this_package_is_found_by_its_path() -> None:
    every = entries()
    assert every
    assert [find(entry.path) for entry in every] == list(every)
