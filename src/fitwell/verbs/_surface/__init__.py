"""`fitwell surface`: the error surface around a run, along its way, and between runs."""

from ._result import SurfaceResult as SurfaceResult
from ._verb import surface as surface
