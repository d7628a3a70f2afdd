"""The pages about the rules of `fitwell lint`: one for each, and a table of all."""

from __future__ import annotations

from fitwell.lint import Rule, check_texts, mends, rules, themes


def lint_pages() -> dict[str, str]:
    """Give the page of each rule, and the table of all, by file name."""
    pages = {f"lint-{rule.name}.md": rule_page(rule) for rule in rules().values()}
    return {"lint-rules.md": table_page(), **pages}


def table_page() -> str:
    """Give the table of all rules, theme by theme."""
    parts = [
        "# Rules of lint",
        f"{len(rules())} rules. An *error* breaks a training or makes a result wrong, a *warning*"
        " makes it worse or wrong now and then; a *hint* is shown with `--hints` only, and so is a"
        " finding of any rule that is likely but not certain. How to use them: [lint](../lint.md).",
    ]
    for heading, members in themes().values():
        rows = [
            f"| [{rule.name}](lint-{rule.name}.md) | {rule.severity} | {_prose(rule.title)} |"
            f" {'yes' if mends(rule) else ''} |"
            for rule in members
        ]
        parts.append(f"## {heading}")
        parts.append(
            "\n".join(["| rule | severity | what is wrong | `--fix` |", "|---|---|---|---|", *rows])
        )
    return "\n\n".join(parts) + "\n"


def rule_page(rule: Rule) -> str:
    """Give the page of a rule.

    Args:
        rule: The rule.
    """
    findings = check_texts({"train.py": rule.bad}, [rule])
    said = [f"train.py:{one.line}:{one.column}: {one.severity}: {one.message}" for one in findings]
    mend = " `fitwell lint --fix` does it." if mends(rule) else ""
    parts = [
        f"# {rule.name}",
        f"*{rule.severity}*: {_prose(rule.title)}.",
        _prose(rule.why),
        f"**What to do.** {_prose(rule.fix)}{mend}",
        "## Wrong",
        f"```python\n{rule.bad}```",
        "```text\n" + "\n".join(said) + "\n```",
        "## Right",
        f"```python\n{rule.good}```",
        "## Where it is known from",
        _prose(rule.source),
        "## To keep a line as it is",
        f"Write `# fitwell: ignore[{rule.name}]` at its end, or leave the rule out for a project in"
        " `pyproject.toml`: see [lint](../lint.md). All rules: [Rules of lint](lint-rules.md).",
    ]
    return "\n\n".join(parts) + "\n"


def _prose(text: str) -> str:
    """Keep what is not code from being read as HTML or as a column of a table."""
    parts = text.split("`")
    plain = [
        p if i % 2 else p.replace("<", "&lt;").replace("*", "\\*") for i, p in enumerate(parts)
    ]
    return "`".join(plain).replace("|", "\\|")
