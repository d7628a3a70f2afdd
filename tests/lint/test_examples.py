"""Each rule finds its bad example, and nothing else there; its good one is silent."""

from __future__ import annotations

import ast
import importlib
import re

import pytest

from fitwell.lint import Rule, check_texts, rules
from fitwell.lint.rules import themes

ALL = pytest.mark.parametrize("rule", rules().values(), ids=lambda rule: rule.name)


@ALL
def test_the_bad_example_has_exactly_its_rule(rule: Rule) -> None:
    findings = check_texts({"train.py": rule.bad})
    assert {finding.rule for finding in findings} == {rule.name}, findings
    assert rule.severity in {finding.severity for finding in findings}


@ALL
def test_the_good_example_is_silent(rule: Rule) -> None:
    assert check_texts({"train.py": rule.good}) == []


@ALL
def test_a_rule_says_what_why_and_what_to_do(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    assert not rule.title.endswith(".")
    for text in (rule.why, rule.fix, rule.source):
        assert text.endswith("."), text
    assert rule.bad != rule.good
    for finding in check_texts({"train.py": rule.bad}):
        for sentence in (finding.message, finding.fix):
            assert sentence.endswith(".")
            assert "\n" not in sentence


@ALL
def test_the_file_of_a_rule_has_its_name(rule: Rule) -> None:
    module = rule.check.__module__
    assert module.rpartition(".")[2].replace("_", "-") == rule.name
    tree = ast.parse(rule.bad)
    assert ast.unparse(tree) != ast.unparse(ast.parse(rule.good)), "they differ in more than looks"


def test_there_are_at_least_forty_rules() -> None:
    assert len(rules()) >= 40
    assert sum(len(members) for _, members in themes().values()) == len(rules())
    for theme in themes():
        assert importlib.import_module(f"fitwell.lint.rules.{theme}").__doc__
