"""Finds faults in training programs by reading them. Needs nothing but Python: not even torch."""

from ._config import Config as Config
from ._config import read_config as read_config
from ._engine import UNREAD as UNREAD
from ._engine import Finding as Finding
from ._engine import check_sources as check_sources
from ._engine import check_texts as check_texts
from ._engine import mends as mends
from ._fix import as_diff as as_diff
from ._fix import fixed as fixed
from ._rule import Edit as Edit
from ._rule import Found as Found
from ._rule import Rule as Rule
from ._sources import Source as Source
from ._sources import encoding_of as encoding_of
from ._sources import find as find
from ._sources import read as read
from .rules import rules as rules
from .rules import themes as themes
