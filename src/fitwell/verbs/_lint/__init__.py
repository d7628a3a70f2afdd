"""`fitwell lint`: read training programs and name the faults that cost days."""

from ._result import LintResult as LintResult
from ._verb import lint as lint
