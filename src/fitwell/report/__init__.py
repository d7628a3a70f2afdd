"""HTML pages and figures made from the records in run folders, never from live objects.

The figures are a family of functions: data first, then ``title``, ``x_label``, ``y_label`` and
``size`` by name, and an SVG string back. Each follows the light or dark page it stands in, carries
its numbers as a description for those who cannot see it, and is the same for the same data.
"""

from ._compare import Comparison as Comparison
from ._compare import compare_runs as compare_runs
from ._compare_page import render_comparison as render_comparison
from ._figures import Line as Line
from ._figures import bars as bars
from ._figures import curves as curves
from ._figures import histogram as histogram
from ._figures import scatter as scatter
from ._groups import BELIEVED as BELIEVED
from ._groups import render_group as render_group
from ._groups import render_sweep as render_sweep
from ._model_figures import ReliabilityBin as ReliabilityBin
from ._model_figures import heatmap as heatmap
from ._model_figures import quantiles as quantiles
from ._model_figures import reliability as reliability
from ._page import render_report as render_report
from ._paired import Paired as Paired
from ._paired import pair_answers as pair_answers
from ._rate_range import rate_range as rate_range
from ._surface_page import render_surface as render_surface
