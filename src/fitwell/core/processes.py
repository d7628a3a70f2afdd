"""Several processes that train together: which one speaks to the user, and how each ends."""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn

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


def leave(code: int) -> NoReturn:
    """End this process with an exit code, whatever threads of ``torch.distributed`` still run.

    `DistributedDataParallel` keeps the process group, and with it gloo's threads, alive to the very
    end. A thread that lets go of a tensor while the interpreter is taken down aborts the process
    (SIGABRT, "terminate called without an active exception"), and a run that is done would look as
    if it had failed. So one of several processes ends without that last step.

    Args:
        code: The exit code.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
