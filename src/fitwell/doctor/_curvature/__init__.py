"""The curvature of a loss: products, eigenvalues, spectrum, trace, critical points, surfaces."""

from ._critical import CriticalPoint as CriticalPoint
from ._critical import TrialSteps as TrialSteps
from ._critical import critical_point as critical_point
from ._estimates import SpectralDensity as SpectralDensity
from ._estimates import TraceEstimate as TraceEstimate
from ._estimates import estimate_trace as estimate_trace
from ._estimates import spectral_density as spectral_density
from ._lanczos import Eigenpairs as Eigenpairs
from ._lanczos import extreme_eigenvalues as extreme_eigenvalues
from ._operator import Curvature as Curvature
from ._pictures import LossLine as LossLine
from ._pictures import LossPlane as LossPlane
from ._pictures import PlaneMark as PlaneMark
from ._plane_of import plane_through as plane_through
from ._plane_of import trajectory_plane as trajectory_plane
from ._surface import interpolation as interpolation
from ._surface import loss_line as loss_line
from ._surface import loss_plane as loss_plane
from ._surface import random_direction as random_direction
