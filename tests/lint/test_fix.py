"""What is certain is mended, and nothing else changes."""

from __future__ import annotations

import ast

import pytest

from fitwell.lint import Edit, Finding, Rule, as_diff, check_texts, fixed, rules


def finding(*edits: Edit) -> Finding:
    return Finding("a.py", 1, 1, 1, 2, "rule", "error", "It is wrong.", "Mend it.", edits=edits)


@pytest.mark.parametrize("rule", rules().values(), ids=lambda rule: rule.name)
def test_the_bad_example_is_mended(rule: Rule) -> None:
    findings = [one for one in check_texts({"a.py": rule.bad}) if one.edits]
    if not findings:
        return
    new, mended = fixed(rule.bad, findings)
    assert mended == findings
    assert ast.dump(ast.parse(new)) != ast.dump(ast.parse(rule.bad))
    assert [one for one in check_texts({"a.py": new}) if one.rule == rule.name] == []


def test_some_rule_mends() -> None:
    assert any(one.edits for rule in rules().values() for one in check_texts({"a": rule.bad}))


def test_edits_are_applied_from_the_end_and_overlapping_ones_wait() -> None:
    first = finding(Edit((1, 0), (1, 1), "first"))
    inside = finding(Edit((1, 0), (1, 3), "never"))
    second = finding(Edit((2, 4), (2, 4), "é"), Edit((2, 0), (2, 1), "zz"))
    new, mended = fixed("a = 1\nb = '3'\n", [first, inside, second])
    assert new == "first = 1\nzz = é'3'\n" or mended == []
    new, mended = fixed("a = 1\nb = 3\n", [first, inside, finding(Edit((2, 4), (2, 5), "'é'"))])
    assert new == "first = 1\nb = 'é'\n"
    assert [one.edits[0].text for one in mended] == ["first", "'é'"]


def test_nothing_changes_where_the_result_would_not_be_python() -> None:
    assert fixed("a = 1\n", [finding(Edit((1, 0), (1, 5), "a = ("))]) == ("a = 1\n", [])


def test_a_diff_names_the_file_and_ends_lines() -> None:
    text = as_diff("a.py", "a = 1", "a = 2")
    assert text == "--- a.py\n+++ a.py (mended)\n@@ -1 +1 @@\n-a = 1\n+a = 2\n"
