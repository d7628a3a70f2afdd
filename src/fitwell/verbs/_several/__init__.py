"""Verbs that train several models together: the members of a group are ordinary runs."""

from ._baselines import BaselinesResult as BaselinesResult
from ._baselines import baselines as baselines
from ._crossval import CrossvalResult as CrossvalResult
from ._crossval import crossval as crossval
from ._ensemble import EnsembleResult as EnsembleResult
from ._ensemble import ensemble as ensemble
from ._group import Group as Group
