"""The reference file: every entry is whole, every key that code uses is there."""

import re

import pytest

from fitwell.core.errors import UnknownName
from fitwell.core.references import DATA_SETS, FILE, RE_EXPORTS, bibtex, own_entry, references

NEEDED = {
    "article": {"author", "title", "journal", "year"},
    "book": {"author", "title", "publisher", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "incollection": {"author", "title", "booktitle", "year", "publisher", "pages"},
    "techreport": {"author", "title", "institution", "year"},
    "misc": {"author", "title", "year"},
    "software": {"author", "title", "version", "year"},
}


def problems(key: str, entry: str) -> list[str]:
    """Give what is wrong with an entry."""
    kind = re.match(r"@(\w+)\{", entry)
    fields = dict(re.findall(r"^  (\w+)\s*= \{(.*)\},?$", entry, re.MULTILINE))
    wrong = sorted(NEEDED[kind[1] if kind else ""] - set(fields))
    if entry.count("{") != entry.count("}"):
        wrong.append("braces")
    if len(fields) != len(entry.splitlines()) - 2:
        wrong.append("lines that are no field")
    if key != "fitwell":
        year = re.search(r"\d{4}", key)
        author = fields.get("author", "").split(",")[0].replace("{", "").lower()
        if year is None or year[0] != fields.get("year") or not key.startswith(author[:3]):
            wrong.append("key is not author, year, word")
    return wrong


def test_every_entry_is_whole() -> None:
    assert {key: bad for key, text in references().items() if (bad := problems(key, text))} == {}
    assert len(references()) == FILE.read_text(encoding="utf-8").count("\n@")


def test_keys_are_in_order_of_year() -> None:
    keys = list(references())
    assert keys == sorted(keys, key=lambda key: (re.findall(r"\d{4}", key)[0], key))


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        ("@misc{a2000b,\n  author = {A, B},\n  year = {2000}\n}", "title"),
        ("@misc{a2000b,\n  author = {A, B},\n  title = {{T},\n  year = {2000}\n}", "braces"),
        ("@misc{a2000b,\n  author = {A, B},\n  title = {T},\n  year = {2001}\n}", "key is not"),
    ],
)
def test_a_broken_entry_is_caught(entry: str, wrong: str) -> None:
    assert any(found.startswith(wrong) for found in problems("a2000b", entry))


def test_every_key_in_the_tables_has_an_entry() -> None:
    assert set(DATA_SETS.values()) | set(RE_EXPORTS.values()) <= set(references())


def test_fitwell_cites_itself() -> None:
    assert problems("fitwell", own_entry("1.2.3")) == []
    assert "version = {1.2.3}" in own_entry("1.2.3")


def test_each_key_is_given_once() -> None:
    assert bibtex(["he2016deep", "he2016deep"]) == references()["he2016deep"]


def test_an_unknown_key_lists_the_nearest() -> None:
    with pytest.raises(
        UnknownName, match="cite: no reference named 'he2016deap'; nearest: 'he2016"
    ):
        bibtex(["he2016deap"])
