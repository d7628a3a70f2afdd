"""Parts beside the engine, which know more of outputs than it does: penalties, teachers, views."""

from ._combine import Combine as Combine
from ._combine import combine_outputs as combine_outputs
from ._combine import greedy_weights as greedy_weights
from ._objectives import PENALTIES as PENALTIES
from ._objectives import Distillation as Distillation
from ._objectives import Penalized as Penalized
from ._objectives import distill as distill
from ._objectives import penalize as penalize
from ._poses import accuracy_by_angle as accuracy_by_angle
from ._poses import accuracy_by_scale as accuracy_by_scale
from ._views import check_views as check_views
from ._views import outputs_of_views as outputs_of_views
