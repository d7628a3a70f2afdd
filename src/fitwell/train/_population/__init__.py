"""Many trainings as one program, see `Population`."""

from ._choose import Choice as Choice
from ._member import Member as Member
from ._population import Population as Population
