"""HTML pages and figures made from the records in run folders, never from live objects."""

from ._compare import Comparison as Comparison
from ._compare import compare_runs as compare_runs
from ._compare import render_comparison as render_comparison
from ._figures import Line as Line
from ._figures import bars as bars
from ._figures import curves as curves
from ._figures import heatmap as heatmap
from ._figures import histogram as histogram
from ._figures import scatter as scatter
from ._page import render_report as render_report
