"""Watching a training: what is seen while it runs, at a fixed small share of its time."""

from ._adapters import keras_callback as keras_callback
from ._adapters import lightning_callback as lightning_callback
from ._adapters import transformers_callback as transformers_callback
from ._guard import NaNGuard as NaNGuard
from ._log import WatchLog as WatchLog
from ._stall import Stall as Stall
from ._watch import Watch as Watch
from ._watch import watch as watch
