"""Observers that write down or show a training: logs, services, checkpoints, copies, progress."""

from ._copies import CopyOut as CopyOut
from ._copies import bring_back as bring_back
from ._copies import check_copy as check_copy
from ._copies import copy_run as copy_run
from ._loggers import CsvLog as CsvLog
from ._loggers import TensorBoard as TensorBoard
from ._progress import Progress as Progress
from ._recorders import CheckpointWriter as CheckpointWriter
from ._recorders import MetricsLog as MetricsLog
from ._recorders import resume as resume
from ._services import MLflow as MLflow
from ._services import WeightsAndBiases as WeightsAndBiases
