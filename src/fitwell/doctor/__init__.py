"""The doctor's instruments: measure a training, experiment on copies of it, look at its surface.

Each is useful on its own, and leaves what it looks at as it was.
"""

from ._curvature import CriticalPoint as CriticalPoint
from ._curvature import Curvature as Curvature
from ._curvature import Eigenpairs as Eigenpairs
from ._curvature import LossLine as LossLine
from ._curvature import LossPlane as LossPlane
from ._curvature import SpectralDensity as SpectralDensity
from ._curvature import TraceEstimate as TraceEstimate
from ._curvature import TrialSteps as TrialSteps
from ._curvature import critical_point as critical_point
from ._curvature import estimate_trace as estimate_trace
from ._curvature import extreme_eigenvalues as extreme_eigenvalues
from ._curvature import interpolation as interpolation
from ._curvature import loss_line as loss_line
from ._curvature import loss_plane as loss_plane
from ._curvature import random_direction as random_direction
from ._curvature import spectral_density as spectral_density
from ._curvature import trajectory_plane as trajectory_plane
from ._probes import AdversarialValidation as AdversarialValidation
from ._probes import Duplicates as Duplicates
from ._probes import InitialLoss as InitialLoss
from ._probes import InputAblation as InputAblation
from ._probes import LabelNoise as LabelNoise
from ._probes import LabelOrder as LabelOrder
from ._probes import LabelPermutation as LabelPermutation
from ._probes import LearningCurve as LearningCurve
from ._probes import Modes as Modes
from ._probes import OneBatch as OneBatch
from ._probes import Overlap as Overlap
from ._probes import PowerLaw as PowerLaw
from ._probes import ProbeResult as ProbeResult
from ._probes import SanityStep as SanityStep
from ._probes import adversarial_validation as adversarial_validation
from ._probes import confident_joint as confident_joint
from ._probes import duplicates as duplicates
from ._probes import expected_initial_loss as expected_initial_loss
from ._probes import fit_power_law as fit_power_law
from ._probes import input_ablation as input_ablation
from ._probes import label_noise as label_noise
from ._probes import label_order as label_order
from ._probes import label_permutation as label_permutation
from ._probes import learning_curve as learning_curve
from ._probes import modes as modes
from ._probes import noise_share as noise_share
from ._probes import overfit_one_batch as overfit_one_batch
from ._probes import sandbox as sandbox
from ._probes import sanity_step as sanity_step
from ._probes import state_digest as state_digest
from ._watch import Watch as Watch
from ._watch import keras_callback as keras_callback
from ._watch import lightning_callback as lightning_callback
from ._watch import transformers_callback as transformers_callback
from ._watch import watch as watch
