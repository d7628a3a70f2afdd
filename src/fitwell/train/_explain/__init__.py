"""Errors that teach: what an error of torch means, where it happened, and what to do."""

from ._call import explain_call as explain_call
from ._explain import explain as explain
from ._explain import explain_errors as explain_errors
from ._explanation import Explanation as Explanation
from ._finite import first_nonfinite as first_nonfinite
