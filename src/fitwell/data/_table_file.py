"""Read the file of a table into columns of text (CSV, TSV) or of text and numbers (Parquet).

Nothing is guessed here but the delimiter; what the columns mean is decided in `_table_columns`.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, final

from ..core.errors import DataError
from ._bad_rows import BadRows

MISSING = ("", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "?", "None")
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_EXCEL = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")
# Rows are parsed in blocks of this many bytes; one row must fit into a block.
_BLOCK_BYTES = 8 * 2**20


@final
@dataclass(frozen=True, kw_only=True)
class RawTable:
    """Columns as they stand in a file, before anything is known about them.

    Args:
        path: The file.
        columns: Arrow arrays by header: text (missing values are null) or numbers.
        count: Number of rows.
        text: The bytes of a delimited file; None for Parquet.
        delimiter: What separates its fields.
        dropped: Sentences about columns that cannot be read, such as nested ones.
    """

    path: Path
    columns: Mapping[str, Any]
    count: int
    text: Any = None
    delimiter: str = ","
    dropped: tuple[str, ...] = field(default=())

    def row(self, position: int) -> int:
        """Give the line in the file of the row at a position, counting the header as 1.

        Args:
            position: Position among the rows that were read, from 0.
        """
        return position + 1 if self.text is None else self._lines[position]

    @cached_property
    def _lines(self) -> list[int]:
        width = len(self.columns)
        records = _records(self.text, self.delimiter)
        next(records)
        return [line for line, fields in records if fields == width]

    def need(self, name: str, what: str) -> Any:
        """Give a column, or say which nearby names there are.

        Args:
            name: Header of the column.
            what: What it is wanted for, such as ``"target column"``.

        Raises:
            DataError: There is no such column.
        """
        if name in self.columns:
            return self.columns[name]
        near = difflib.get_close_matches(name, self.columns, n=3, cutoff=0.5)
        known = ", ".join(map(repr, near or list(self.columns)[:20]))
        hint = "nearest" if near else "columns"
        message = f"{self.path}: no {what} named {name!r}; {hint}: {known}."
        if any(_NUMBER.fullmatch(header) for header in self.columns):
            message += " The first row may be data: add a header row with the names of the columns."
        raise DataError(message)


def read_file(path: str | Path, bad: BadRows) -> RawTable:
    """Read a CSV, TSV (also ``.gz``) or Parquet file.

    Args:
        path: The file.
        bad: What happens to rows with a wrong number of fields.

    Raises:
        DataError: The file is missing, empty, damaged or no table, or a row is bad.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: there is no such file. Check the path.")
    if path.is_dir():
        raise DataError(
            f"{path}: this is a folder, not a table. Name the CSV or Parquet file in it,"
            " or read a folder of images with `fitwell train images`."
        )
    with path.open("rb") as file:
        start = file.read(4096)
    if not start.strip():
        raise DataError(f"{path}: the file is empty. Write a header row and data rows.")
    if start.startswith(b"PAR1"):
        return _read_parquet(path)
    if path.suffix.lower() in _EXCEL or start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{path}: this is a spreadsheet or a zip file. Export the sheet to CSV.")
    return _read_text(path, _content(path, start), bad)


def _content(path: Path, start: bytes) -> Any:
    import pyarrow as pa

    if not start.startswith(b"\x1f\x8b"):
        content = pa.memory_map(str(path)).read_buffer()
    else:
        try:
            sink = pa.BufferOutputStream()  # owned by Arrow; see `_read_text`
            sink.write(gzip.decompress(path.read_bytes()))
            content = sink.getvalue()
        except (EOFError, OSError, zlib.error) as err:
            raise DataError(
                f"{path}: the compressed file is cut short or damaged ({err})."
                " Copy or download it again."
            ) from err
    start = content[:4096].to_pybytes()
    if not start.strip():
        raise DataError(f"{path}: the file is empty. Write a header row and data rows.")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: this is UTF-16 text. Save it as UTF-8.")
    if b"\0" in start:
        raise DataError(f"{path}: this is not a text file. Give a CSV, TSV or Parquet file.")
    return content


def _read_text(path: Path, content: Any, bad: BadRows) -> RawTable:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    line, names, delimiter = _header(path, content)

    def read(handler: Any = None) -> Any:
        return arrow_csv.read_csv(
            pa.BufferReader(content),
            read_options=arrow_csv.ReadOptions(
                column_names=names, skip_rows_after_names=line, block_size=_BLOCK_BYTES
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=handler
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True,
                null_values=list(MISSING),
            ),
        )

    # Arrow's threads let go of what they were given after the reading has ended. If that is an
    # object of Python and the interpreter is closing, as after an error, the process aborts. So
    # they are given the handler only when rows have been reported and are to be left out.
    try:
        try:
            table = read()
        except pa.ArrowInvalid:
            _report_ragged(path, content, delimiter, len(names), bad)
            table = read(lambda row: "skip")
    except pa.ArrowInvalid as err:
        _explain(path, content, err)
    columns = {name: _whole(table.column(name)) for name in names}
    _check_last_row(path, content, columns, table.num_rows)
    raw = RawTable(
        path=path, columns=columns, count=table.num_rows, text=content, delimiter=delimiter
    )
    if raw.count == 0:
        raise DataError(f"{path}: there is a header but no row of data. Add rows.")
    return raw


def _header(path: Path, content: Any) -> tuple[int, list[str], str]:
    """Give line and names of the header, and the delimiter."""
    start = content[: 2**20].to_pybytes().decode("utf-8-sig", errors="replace")
    first = next(line for line in start.splitlines() if line.strip())
    delimiter = "\t"
    if not path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab")):
        outside = re.sub(r'"[^"]*"', "", first)
        delimiter = max(",;\t", key=outside.count)
    reader = csv.reader(io.StringIO(start, newline=""), delimiter=delimiter)
    line = 1
    for fields in reader:
        if fields:
            break
        line = reader.line_num + 1
    names = _numbered([name.strip() or f"column {i}" for i, name in enumerate(fields, start=1)])
    if all(_NUMBER.fullmatch(name) for name in names) and not _counts_up(names):
        raise DataError(
            f"{path}, row {line}: the header is missing: the first row holds only numbers"
            f" ({', '.join(names[:3])}, ...). Add a row with the names of the columns."
        )
    return line, names, delimiter


def _numbered(names: list[str]) -> list[str]:
    """Number repeated names as pandas does: ``x, x.1, x.2``."""
    seen: dict[str, int] = {}
    numbered: list[str] = []
    for name in names:
        count = seen.get(name, 0)
        seen[name] = count + 1
        numbered.append(f"{name}.{count}" if count else name)
    return numbered


def _counts_up(names: list[str]) -> bool:
    """Whether headers are 0, 1, 2, ..., as written for frames whose columns have no names."""
    return any(names == [str(i + first) for i in range(len(names))] for first in (0, 1))


def _records(content: Any, delimiter: str) -> Iterator[tuple[int, int]]:
    """Give the line at which each record starts, and how many fields it has."""
    stream = io.TextIOWrapper(
        io.BytesIO(content), encoding="utf-8-sig", errors="replace", newline=""
    )
    reader = csv.reader(stream, delimiter=delimiter)
    line = 1
    for fields in reader:
        if fields:
            yield line, len(fields)
        line = reader.line_num + 1


def _report_ragged(path: Path, content: Any, delimiter: str, width: int, bad: BadRows) -> None:
    for line, fields in _records(content, delimiter):
        if fields != width:
            bad.report(
                path,
                line,
                f"this row has {fields} fields where the header has {width}",
                f"Look for a missing or an extra {delimiter!r}, or quote the text around it.",
            )


def _check_last_row(path: Path, content: Any, columns: Mapping[str, Any], count: int) -> None:
    """Refuse a file in which an opening quote swallowed all that follows."""
    if count == 0:
        return
    last = [column[count - 1].as_py() or "" for column in columns.values()]
    if any("\n" in value for value in last) and bytes(content).count(b'"') % 2:
        start = next(value for value in last if "\n" in value).splitlines()[0]
        raise DataError(
            f"{path}: a quote is opened before {start!r} and never closed, so the rest of the file"
            " would be one field. Close or remove it."
        )


def _explain(path: Path, content: Any, err: Exception) -> NoReturn:
    """Turn the CSV reader's complaint into a sentence with the row."""
    for number, line in enumerate(bytes(content).splitlines(), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as wrong:
            raise DataError(
                f"{path}, row {number}: byte 0x{line[wrong.start]:02x} is not UTF-8; the file is"
                " probably Latin-1. Save it as UTF-8."
            ) from err
    raise DataError(
        f"{path}: cannot be read as a table ({err}). Look for a quote that is never closed."
    ) from err


def _whole(column: Any) -> Any:
    """One array instead of chunks; 64-bit offsets where a column exceeds 2 GiB of text."""
    import pyarrow as pa

    if column.num_chunks == 1:
        return column.chunk(0)
    if pa.types.is_string(column.type) and column.nbytes > 2**30:
        column = column.cast(pa.large_string())
    return column.combine_chunks()


def _read_parquet(path: Path) -> RawTable:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as err:
        raise DataError(
            f"{path}: the Parquet file is cut short or damaged ({err}). Write or copy it again."
        ) from err
    names = [str(name) for name in table.column_names]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise DataError(f"{path}: two columns are named {doubled[0]!r}. Give each its own name.")
    if table.num_rows == 0:
        raise DataError(f"{path}: the table has no rows. Add rows.")
    columns: dict[str, Any] = {}
    dropped: list[str] = []
    for name in names:
        values = _plain(_whole(table.column(name)))
        if values is None:
            dropped.append(f"{name} (a nested or binary column)")
        else:
            columns[name] = values
    return RawTable(path=path, columns=columns, count=table.num_rows, dropped=tuple(dropped))


def _plain(values: Any) -> Any:
    """Give an array as text or as float64; None for what is neither."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_dictionary(kind):
        return _plain(values.dictionary_decode())
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        if pa.types.is_duration(kind):
            return pc.cast(values.cast(pa.int64()), pa.float64())
        return values.cast(pa.string())
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.string())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pc.if_else(pc.is_in(values, pa.array(MISSING, kind)), pa.scalar(None, kind), values)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return values
    return None
