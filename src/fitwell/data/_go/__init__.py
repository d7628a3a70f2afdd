"""The game of Go: rules, game records, and the planes of numbers that a network sees."""

from ._board import GoBoard as GoBoard
from ._game import GoGame as GoGame
from ._game import read_sgf as read_sgf
from ._planes import GO_PLANES as GO_PLANES
from ._planes import go_planes as go_planes
