"""Write the generated pages of the site, and the blocks of numbers in the other pages.

    python docs/generate.py            # before `mkdocs build`; writes docs/reference/*.md
    python docs/generate.py --check    # changes nothing; exit code 1 if a number is out of date

Cards come from the source text (`fitwell.core.catalog`), options from the verbs' signatures,
numbers from ``records/*.jsonl``, the state of the course from ``coverage.tsv``; none by hand.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import fitwell
from fitwell.cli._arguments import EVERYWHERE, Options, is_positional, metavar
from fitwell.cli._main import load
from fitwell.cli._verbs import TABLE, Verb
from fitwell.core.cards import Card, read_card
from fitwell.core.catalog import PACKAGE, Entry, entries, families
from fitwell.core.coverage import CHAPTERS, Coverage, read_coverage
from fitwell.core.references import bibtex

sys.path.insert(0, str(Path(__file__).parent))

from lint_pages import lint_pages
from number_blocks import filled
from numbers_from_records import BENCHMARKS, benchmark_page, cell, recipes_page

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
RECORDS = ROOT / "records"
SIGNATURE_WIDTH = 88
NOTE = "<!-- Written by docs/generate.py; change the source instead. -->\n\n"


def pages(records: Path = RECORDS) -> dict[str, str]:
    """Give every generated page by file name.

    Args:
        records: Folder of the record files.
    """
    found = {f"{family}.md": family_page(family) for family in families()}
    found["cli.md"] = cli_page()
    found["python.md"] = python_page()
    found["coverage.md"] = coverage_page(read_coverage())
    found["torch-twins.md"] = twins_page()
    found["recipes.md"] = recipes_page(records)
    found["benchmarks.md"] = benchmark_page(records)
    found["zh-CN.md"] = chinese_page()
    found |= lint_pages()
    return {name: NOTE + text for name, text in found.items()}


def family_page(family: str) -> str:
    """Give the page of a family: its public names with their cards, then the references.

    Args:
        family: Name of the package.
    """
    module = ast.parse((PACKAGE / family / "__init__.py").read_text(encoding="utf-8"))
    about = ast.get_docstring(module) or ""
    parts = [f"# fitwell.{family}", about.replace("``", "`")]
    known = entries(family)
    keys: list[str] = []
    for entry in known:
        parts.append(f"## {entry.path} {{ #{entry.name} }}")
        parts += entry_parts(entry)
        keys += entry.card.keys
    if keys:
        parts += ["## References", fenced(bibtex(sorted(set(keys))).strip(), "bibtex")]
    return "\n\n".join(parts) + "\n"


def entry_parts(entry: Entry) -> Iterator[str]:
    """Give the paragraphs about one public name.

    Args:
        entry: The name.
    """
    yield from card_parts(entry.signature, entry.card)
    place = entry.file.relative_to(PACKAGE.parent.parent)
    yield f"<small>{entry.kind} in `{place}`</small>"


def card_parts(signature: str, card: Card) -> Iterator[str]:
    """Give the paragraphs of a card, in the order of the docstring.

    Args:
        signature: How it is called; may be empty.
        card: What the docstring says.
    """
    if signature:
        yield fenced(wrapped(signature), "python")
    yield from (prose(part) for part in (card.summary, card.use) if part)
    if card.formula:
        yield fenced(card.formula, "text")
    for title, items in (
        ("Arguments", card.args),
        ("Shapes", card.shapes),
        ("Raises", card.raises),
    ):
        if items:
            rows = "\n".join(f"| `{name}` | {cell(prose(text))} |" for name, text in items.items())
            yield f"| {title} | |\n|---|---|\n{rows}"
    if card.returns:
        yield f"**Returns** {prose(card.returns)}"
    lines = {
        "Source": card.source,
        "Differs": card.differs,
        "Reduces to": card.reduces_to,
        "Checked against": card.checked_against,
    }
    said = [f"- **{title}:** {prose(text)}" for title, text in lines.items() if text]
    if said:
        yield "\n".join(said)
    if card.example:
        yield fenced(card.example, "python")


def cli_page() -> str:
    """Give the page about the command line: every verb with its arguments and options."""
    parts = [
        "# Command line",
        "A verb is a Python function of the same name and arguments; the command line adds nothing."
        " Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 failed, 2"
        " wrong use or bad data, 130 stopped by Ctrl-C.",
        "Every verb has these options too:",
        "\n".join(f"- `--{name}`: {text}" for name, text in EVERYWHERE.items()),
    ]
    group = ""
    for verb in TABLE:
        if verb.group != group:
            group = verb.group
            parts.append(f"## {group}")
        parts += verb_parts(verb)
    return "\n\n".join(parts) + "\n"


def verb_parts(verb: Verb) -> Iterator[str]:
    """Give the paragraphs about one verb.

    Args:
        verb: A line of the table of verbs.
    """
    options = Options.of(load(verb))
    yield f"### fitwell {verb.words} {{ #{verb.words.replace(' ', '-')} }}"
    yield from (prose(part) for part in (options.card.summary, options.card.use) if part)
    headings = {name: title for title, names in options.card.groups.items() for name in names}
    rows: dict[str, list[str]] = {}
    for name in options.parameters:
        rows.setdefault(headings.get(name, "Arguments"), []).append(option_row(options, name))
    for title, lines in rows.items():
        yield "\n".join([f"| {title} | |", "|---|---|", *lines])


def option_row(options: Options, name: str) -> str:
    """Give the table row of one argument or option: what to type, what it does, its default.

    Args:
        options: Of the verb.
        name: Of the parameter.
    """
    parameter, kind = options.parameters[name]
    word, default = metavar(kind), parameter.default
    text = prose(options.card.args.get(name, ""))
    if word.startswith("{"):
        choices = word.strip("{}").split(",")
        text += " One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
        word = ""
    typed = f"--{name.replace('_', '-')}"
    if is_positional(parameter):
        typed = name.upper()
        text += " May be left out." if default is None else ""
    elif isinstance(default, bool):
        typed = typed.replace("--", "--no-", 1) if default else typed
        text = f"Do not: {text[0].lower()}{text[1:]}" if default else text
    else:
        typed = f"{typed} {word.replace('[{True,False}]', '')}".strip()
    if default not in (None, (), "", parameter.empty) and not isinstance(default, bool):
        text += f" Default: `{default}`."
    return f"| `{cell(typed)}` | {cell(text)} |"


def python_page() -> str:
    """Give the page about what `import fitwell` offers, sorted by name."""
    parts = ["# Python", "What `import fitwell` offers; the families have pages of their own."]
    verbs = {verb.target.partition(":")[2]: verb for verb in TABLE}
    published = {entry.name: entry for entry in entries()}
    for name in sorted(fitwell.__all__):
        parts.append(f"## fitwell.{name} {{ #{name} }}")
        if name not in published:
            function = load(verbs[name]) if name in verbs else getattr(fitwell, name)
            text = str(inspect.signature(function)).replace("'", "")
            parts += card_parts(f"{name}{text}", read_card(function.__doc__))
        else:
            entry = published[name]
            parts.append(prose(entry.card.summary))
            parts.append(f"Its card: [{entry.path}]({entry.family}.md#{name}).")
    return "\n\n".join(parts) + "\n"


def coverage_page(coverage: Coverage) -> str:
    """Give the page about how much of the course works, by chapter.

    Args:
        coverage: The coverage file.
    """
    total = coverage.count().to_dict()
    header = "| chapter | " + " | ".join(total) + " |"
    parts = [
        "# Coverage of the course",
        "What of the deep-learning course works, row by row of its catalogue. A row counts as"
        " *works* only with a test, a record or a recipe that proves it; *partial* and *limit* say"
        " what is missing. `fitwell coverage` prints the same table.",
    ]
    lines = [header, "|---|" + "---:|" * len(total)]
    for name, (title, _) in CHAPTERS.items():
        counts = " | ".join(str(n) for n in coverage.count(name).to_dict().values())
        lines.append(f"| {name} {title} | {counts} |")
    lines.append("| **all** | " + " | ".join(f"**{n}**" for n in total.values()) + " |")
    parts.append("\n".join(lines))
    for name, (title, _) in CHAPTERS.items():
        chosen = [row for row in coverage.lines if row.chapter == name]
        if chosen:
            rows = [
                f"| {row.id} | {row.state}{': ' if row.note else ''}{cell(row.note)} |"
                f" {code(row.lives)} | {code(row.proof)} |"
                for row in chosen
            ]
            parts.append(f"## {name} {title}")
            parts.append(
                "\n".join(["| row | state | lives in | proof |", "|---|---|---|---|", *rows])
            )
    return "\n\n".join(parts) + "\n"


def twins_page() -> str:
    """Give the page that puts each public part beside its twin in torch."""
    lines = (ROOT / "docs" / "torch-twins.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [
        f"| `{name}` | {twin if twin == '-' else code((twin,))} | `{test}` |"
        for name, twin, test in (line.split("\t") for line in lines)
    ]
    about = (
        "Every layer, loss, metric, optimizer, schedule and loader, what of torch it must agree"
        " with, and the test that compares them. Where torch has no twin the test compares with"
        " another reference, such as scikit-learn, NumPy, a formula or a published number."
    )
    table = "\n".join(["| name | twin | test |", "|---|---|---|", *rows])
    return f"# Beside torch\n\n{about}\n\n{table}\n"


def chinese_page() -> str:
    """Give README.zh-CN.md as a page of the site, with its links turned to the site's pages."""
    text = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](../", text).replace("](README.md)", "](../index.md)")
    return re.sub(r"\[([^\]]+)\]\((?!https?:|\.\./|#)[^)]+\)", r"\1", text)


def numbered() -> dict[Path, str]:
    """Give the files that hold blocks of numbers, with the text they should have."""
    files = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    texts = {file: file.read_text(encoding="utf-8") for file in files if REFERENCE != file.parent}
    return {
        file: filled(text, "zh" if "zh" in file.stem else "en", RECORDS)
        for file, text in texts.items()
        if "<!-- numbers:" in text
    }


def prose(text: str) -> str:
    """Keep what stands in a docstring from being read as HTML.

    Args:
        text: Docstring prose.
    """
    parts = re.split(r"(`[^`]*`)", text.replace("``", "`"))
    return "".join(p if p.startswith("`") else p.replace("<", "&lt;") for p in parts)


def code(words: tuple[str, ...]) -> str:
    """Set several names as code, one after the other.

    Args:
        words: The names.
    """
    return ", ".join(f"`{cell(word)}`" for word in words)


def fenced(text: str, language: str) -> str:
    """Set text as a block of code.

    Args:
        text: The code.
        language: Of the code.
    """
    return f"```{language}\n{text}\n```"


def wrapped(signature: str) -> str:
    """Break a long signature into one line per argument.

    Args:
        signature: Such as ``f(a: int=1, b: int=2) -> int``.
    """
    if len(signature) <= SIGNATURE_WIDTH:
        return signature
    name, _, rest = signature.partition("(")
    arguments, word, depth, place = [], "", 0, 0
    for place, letter in enumerate(rest):  # noqa: B007 - the place of the last bracket is used
        if letter == ")" and depth == 0:
            break
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            arguments.append(word.strip())
            word = ""
        else:
            word += letter
    lines = [f"    {argument}," for argument in (*arguments, word.strip()) if argument]
    return "\n".join([f"{name}(", *lines, f"){rest[place + 1 :]}"])


def write(texts: Mapping[str, str], folder: Path) -> None:
    """Write pages, and delete those of the folder that are no longer made.

    Args:
        texts: The pages by file name.
        folder: Where they go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.md"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        file = folder / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def main() -> int:
    """Run as a script; gives the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated pages of the site.")
    parser.add_argument("--check", action="store_true", help="only say whether all is current")
    options = parser.parse_args()
    old = {f: text for f, text in numbered().items() if f.read_text(encoding="utf-8") != text}
    if options.check:
        names = ", ".join(file.relative_to(ROOT).as_posix() for file in old)
        print(f"out of date: {names}" if old else "up to date")
        return 1 if old else 0
    for file, text in old.items():
        file.write_text(text, encoding="utf-8")
    write(pages(), REFERENCE)
    files = ", ".join(f"{name}.jsonl" for name in BENCHMARKS)
    print(f"wrote {REFERENCE.relative_to(ROOT)}/*.md; benchmarks from {files}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
