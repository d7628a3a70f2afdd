"""Dates in tables: which form a column is written in, and the numbers a model gets from it.

Not covered: time zones (an offset such as ``+02:00`` is read over, times stay local), two-digit
years, and numbers such as 20240131, which stay numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_CLOCK = r"(?:[T ]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?"
_CLOCK += r"(?: ?Z| ?[+-]\d{2}:?\d{2})?)?$"
_DAY, _MONTH, _YEAR = r"(?P<day>\d{1,2})", r"(?P<month>\d{1,2})", r"(?P<year>\d{4})"
_WORD = r"(?P<month>[A-Za-z]{3})[a-z]*\.?"
FORMS = {
    "year-month-day": rf"^{_YEAR}[-/.]{_MONTH}[-/.]{_DAY}{_CLOCK}",
    "day.month.year": rf"^{_DAY}[.]{_MONTH}[.]{_YEAR}{_CLOCK}",
    "month/day/year": rf"^{_MONTH}[/-]{_DAY}[/-]{_YEAR}{_CLOCK}",
    "day/month/year": rf"^{_DAY}[/-]{_MONTH}[/-]{_YEAR}{_CLOCK}",
    "day month-name year": rf"^{_DAY}[ -]{_WORD}[ ,-]+{_YEAR}{_CLOCK}",
    "month-name day, year": rf"^{_WORD} {_DAY},? {_YEAR}{_CLOCK}",
}
FEATURES = ("year", "month", "day_of_week", "days", "hour")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# A column is one of dates, or of numbers, when at least this share of its values can be read so.
SHARE = 0.9


def find_form(words: Any, counts: npt.NDArray[np.int64]) -> str | None:
    """Give the form most values are written in, or None if they are no dates.

    Where day and month could be either, the form with more valid dates wins, and month/day/year
    if both have as many.

    Args:
        words: Arrow array of the distinct texts of the training rows; (M,).
        counts: How often each occurs; (M,).
    """
    total = counts.sum()
    best, most = None, 0
    for form in FORMS:
        fits = int(counts[np.isfinite(read_dates(words, form)["days"])].sum())
        if fits > most:
            best, most = form, fits
    return best if total and most >= SHARE * total else None


def read_dates(words: Any, form: str) -> dict[str, Floats]:
    """Give the features of dates; NaN where a text is missing or no valid date of this form.

    Args:
        words: Arrow array of texts; (M,).
        form: One of `FORMS`.

    Returns:
        For each name in `FEATURES` numbers (M,): ``day_of_week`` is 0 on Monday, ``days`` counts
        from 1970-01-01 with the time of day as a fraction, ``hour`` is NaN without a time of day.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.extract_regex(words, FORMS[form])
    matched = np.asarray(found.is_valid())
    if not matched.any():
        return {name: np.full(len(words), np.nan) for name in FEATURES}

    def number(name: str) -> Floats:
        texts = pc.struct_field(found, name)
        texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, texts.type), texts)
        values: Floats = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
        return values

    if "name" in form:
        short = pc.utf8_lower(pc.struct_field(found, "month"))
        place = pc.index_in(short, pa.array(_MONTHS, short.type))
        month = pc.cast(place, pa.float64()).to_numpy(zero_copy_only=False) + 1
    else:
        month = number("month")
    year, day, hour = number("year"), number("day"), number("hour")
    minute, second = np.nan_to_num(number("minute")), np.nan_to_num(number("second"))
    clock = (np.nan_to_num(hour) < 24) & (minute < 60) & (second < 61)
    valid = matched & (month >= 1) & (month <= 12) & (day >= 1) & (year >= 1) & clock
    months = ((year - 1970) * 12 + month - 1)[valid].astype("datetime64[M]")
    length = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(int)
    inside = day[valid] <= length
    valid[valid] = inside
    date = months[inside].astype("datetime64[D]") + (day[valid] - 1).astype("timedelta64[D]")
    since = date.astype(np.int64)
    fraction = (np.nan_to_num(hour) * 3600 + minute * 60 + second)[valid] / 86400
    values = (year[valid], month[valid], (since + 3) % 7, since + fraction, hour[valid])
    features = {}
    for name, part in zip(FEATURES, values, strict=True):
        features[name] = np.full(len(words), np.nan)
        features[name][valid] = part
    return features
