"""The command line: one table of verbs and a dispatcher; all work is done by `fitwell.verbs`."""

from ._main import main as main
from ._main import run as run
