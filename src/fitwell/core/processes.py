"""Which of several processes that train together speaks to the user."""

from __future__ import annotations

import os

_PREFIX = "fitwell-"


def launch_name(unique: str) -> str:
    """Give a name for processes whose launcher tells what came of them.

    Args:
        unique: What no other launch has.
    """
    return _PREFIX + unique


def launched() -> bool:
    """Tell whether this process has such a launcher."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(_PREFIX)


def tells_results() -> bool:
    """Tell whether results are this process's to tell: the first one's, or the launcher's."""
    return os.environ.get("RANK", "0") == "0" and not launched()
