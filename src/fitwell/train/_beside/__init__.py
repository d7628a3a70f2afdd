"""Parts beside the engine, which know more of outputs than it does: penalties, teachers, views."""

from ._objectives import PENALTIES as PENALTIES
from ._objectives import Distillation as Distillation
from ._objectives import Penalized as Penalized
from ._objectives import distill as distill
from ._objectives import penalize as penalize
from ._views import Combine as Combine
from ._views import check_views as check_views
from ._views import outputs_of_views as outputs_of_views
