"""Data larger than memory: rows on disk, orders that suit them, and reading ahead."""

from ._array_file import Arrays as Arrays
from ._array_file import read_arrays as read_arrays
from ._memory import memory_budget as memory_budget
from ._memory import memory_limit as memory_limit
from ._order import Window as Window
from ._order import shuffle_buffer as shuffle_buffer
from ._read_ahead import chunks as chunks
from ._read_ahead import outgrows as outgrows
from ._read_ahead import read_ahead as read_ahead
from ._rows import PIECE_BYTES as PIECE_BYTES
from ._rows import DiskRows as DiskRows
from ._rows import Inputs as Inputs
