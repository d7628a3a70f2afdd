"""The verb `sweep`."""

from ._result import SweepResult as SweepResult
from ._verb import sweep as sweep
