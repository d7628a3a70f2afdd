"""The verbs that look things up: runs, methods, cards, sources, coverage; none needs torch."""

from ._cite import cite as cite
from ._coverage import coverage as coverage
from ._list import list_methods as list_methods
from ._list import list_runs as list_runs
from ._show import show as show
