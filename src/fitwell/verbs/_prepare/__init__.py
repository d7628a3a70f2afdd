"""From the arguments of `train` to a session that is ready to begin."""

from ._command import command as command
from ._command import defaults as defaults
from ._member import as_member as as_member
from ._prepare import begin as begin
from ._prepare import prepare as prepare
from ._prepare import read_data as read_data
from ._prepare import run_folder as run_folder
