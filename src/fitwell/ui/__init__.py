"""The local pages of `fitwell ui`: a list of runs, a page per run, live while they train."""

from ._serve import Site as Site
