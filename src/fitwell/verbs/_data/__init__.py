"""`fitwell data`: the built-in sets, and data on its way to this machine."""

from ._sets import get_data as get_data
from ._sets import list_data as list_data
from ._sets import show_data as show_data
from ._stage import speed as speed
from ._stage import stage as stage
