"""The data card: what the data is, how it was cut, and what it looks like."""

from __future__ import annotations

from typing import Any, Final

from ._errors import TABLE_CLASSES, class_names
from ._examples import Picture
from ._figures import bars
from ._numbers import count, percent, plain, short
from ._records import Records, mapping, number, numbers, sequence
from ._templates import figure

_SHEET_BYTES: Final = 600_000
"""Pictures of the contact sheet together, as base64."""
_COLUMNS: Final = 100
_BAR: Final = 26  # height of the highest bar of a column's histogram


def data_section(records: Records) -> dict[str, Any]:
    """Give source, parts, class balance, contact sheet and columns, as far as they are recorded.

    Args:
        records: Records of the run.
    """
    data, schema = mapping(records.run.get("data")), mapping(records.run.get("schema"))
    counts = {name: int(value) for name, value in numbers(data.get("counts")).items()}
    total = sum(counts.values())
    names = sequence(schema.get("class_names"))
    facts = [
        ("source", data.get("source")),
        ("split", data.get("how")),
        ("kind", schema.get("kind")),
        ("shape of one input", " × ".join(plain(n) for n in sequence(schema.get("input_shape")))),
        ("target", schema.get("target_name")),
        ("classes", f"{len(names)}: {_list_names(names)}" if names else None),
        ("class sizes", _sizes(records)),
    ]
    columns, target = _columns(records), plain(schema.get("target_name", "target"))
    return {
        "facts": [(name, plain(value)) for name, value in facts if value],
        "counts": [(k, count(n), percent(n / total) if n else "0%") for k, n in counts.items()],
        "total": count(total),
        "balance": _balance(records),
        "sheet": _sheet(records),
        "columns": columns[:_COLUMNS],
        "more_columns": max(0, len(sequence(schema.get("columns"))) - _COLUMNS),
        "described": bool(sequence(records.data.get("columns"))),
        "target": _column(target, "target", records.data.get("target")),
    }


def _class_sizes(records: Records) -> tuple[str, list[float], list[str]]:
    """Give part, sizes and names: of the training part if recorded, else as evaluated."""
    recorded = mapping(mapping(records.run.get("data")).get("balance")).get("train")
    sizes = [number(size) or 0.0 for size in sequence(recorded)]
    if sizes:
        return "training", sizes, class_names(records, len(sizes))
    classes = [mapping(item) for item in sequence(records.evaluation.get("per_class"))]
    sizes = [number(item.get("support")) or 0.0 for item in classes]
    return records.part, sizes, [plain(item.get("name")) for item in classes]


def _sizes(records: Records) -> str:
    """Say how large the classes are, where there are too many for a figure."""
    part, sizes, names = _class_sizes(records)
    if len(sizes) <= TABLE_CLASSES:
        return ""
    pairs = list(zip(sizes, names, strict=True))
    (low, least), (high, most) = min(pairs), max(pairs)
    return f"from {short(low)} ({least}) to {short(high)} ({most}) in the {part} part"


def _balance(records: Records) -> dict[str, Any] | None:
    part, sizes, names = _class_sizes(records)
    if not 1 < len(sizes) <= TABLE_CLASSES or not any(sizes):
        return None
    svg = bars(names, sizes, title="Examples of each class", x_label="examples")
    return {"title": f"Class balance, {part} part", "svg": figure(svg)}


def _sheet(records: Records) -> dict[str, Any] | None:
    found = mapping(records.data.get("sheet"))
    across, budget = int(number(found.get("across")) or 0), _SHEET_BYTES
    rows = []
    for item in map(mapping, sequence(found.get("rows"))):
        picture = Picture.read(item.get("picture"))
        if len(picture.text) > budget:
            break
        budget -= len(picture.text)
        shown, size = number(item.get("shown")) or 0.0, number(item.get("count"))
        if picture.text and across and 0 < shown <= across:
            rows.append(
                {
                    "label": plain(item.get("label")),
                    "count": "" if size is None else count(int(size)),
                    "picture": picture,
                    "width": f"{100 * shown / across:.1f}%",
                }
            )
    if not rows:
        return None
    more = int(number(found.get("more")) or 0) + len(sequence(found.get("rows"))) - len(rows)
    return {"across": min(across, 24), "rows": rows, "more": more}


def _columns(records: Records) -> list[dict[str, Any]]:
    """Give the columns of a table: what is recorded of their values, else their kinds alone."""
    described = [mapping(item) for item in sequence(records.data.get("columns"))]
    by_name = {str(item.get("name")): item for item in described}
    found = []
    for item in sequence(mapping(records.run.get("schema")).get("columns"))[:_COLUMNS]:
        column = mapping(item)
        name = plain(column.get("name"))
        row = _column(name, plain(column.get("kind")), by_name.get(name))
        categories = sequence(column.get("categories"))
        listed = f"{len(categories)}: {_list_names(categories, 8)}" if categories else ""
        found.append({**(row or {"name": name, "kind": plain(column.get("kind"))}), "all": listed})
    return found


def _column(name: str, kind: str, record: Any) -> dict[str, Any] | None:
    """Describe the values of a column as words, with a small histogram."""
    found = mapping(record)
    if not found:
        return None
    rows, missing = number(found.get("rows")), number(found.get("missing"))
    known = numbers(found)
    ends = [known.get(key) for key in ("low", "median", "high")]
    common = [sequence(pair) for pair in sequence(found.get("common"))]
    bins = [max(0.0, number(size) or 0.0) for size in sequence(found.get("bins"))[:40]]
    return {
        "name": plain(name),
        "kind": kind,
        "missing": _missing(rows, missing),
        "ends": ["" if end is None else short(end) for end in ends],
        "mean": short(known["mean"]) if "mean" in known else "",
        "std": short(known["std"]) if "std" in known else "",
        "common": ", ".join(
            f"{plain(pair[0])} ({count(int(number(pair[1]) or 0))})"
            for pair in common
            if len(pair) == 2
        ),
        "bars": [round(_BAR * size / max(bins)) for size in bins] if any(bins) else [],
    }


def _missing(rows: float | None, missing: float | None) -> str:
    if missing is None:
        return "–"
    if not missing or not rows:
        return count(int(missing))
    return f"{count(int(missing))} ({percent(missing / rows)})"


def _list_names(names: Any, limit: int = 20) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(plain(name) for name in names[:limit]) + more
