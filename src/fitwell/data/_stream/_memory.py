"""How much memory inputs may take."""

from __future__ import annotations

from ...core.machine import read_memory

_UNKNOWN = 8 * 2**30


def memory_limit() -> int:
    """Give the bytes of memory this process may use: the machine's, or less by a limit set for it.

    Known are limits of Linux control groups (containers), and ``ulimit -v`` and ``-d``; where the
    system says nothing it is 8 GiB.
    """
    return min([read_memory().usable or _UNKNOWN, *_process_limits()])


def memory_budget() -> int:
    """Give the bytes that one set of inputs may take in memory: a quarter of the limit."""
    return memory_limit() // 4


def _process_limits() -> list[int]:
    try:
        import resource
    except ImportError:  # not on Windows
        return []
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    limits = [resource.getrlimit(kind)[0] for kind in kinds]
    return [limit for limit in limits if limit != resource.RLIM_INFINITY]
