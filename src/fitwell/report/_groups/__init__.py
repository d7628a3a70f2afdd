"""Pages of groups: folds, ensembles and sweeps."""

from ._page import render_group as render_group
from ._sweep_page import BELIEVED as BELIEVED
from ._sweep_page import render_sweep as render_sweep
