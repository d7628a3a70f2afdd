"""Tasks: what to do with a kind of data."""

from ._parts import innermost as innermost
from ._parts import make_optimizer as make_optimizer
from ._parts import optimizer_spec as optimizer_spec
from ._parts import pick_device as pick_device
from ._parts import rate_of as rate_of
from ._sources import Source as Source
from ._sources import open_source as open_source
from ._sources import smoke as smoke
from ._supervised import IMAGES as IMAGES
from ._supervised import TABLE as TABLE
from ._supervised import TASKS as TASKS
from ._supervised import TENSOR as TENSOR
from ._supervised import Answers as Answers
from ._supervised import ModelChoice as ModelChoice
from ._supervised import SupervisedTask as SupervisedTask
