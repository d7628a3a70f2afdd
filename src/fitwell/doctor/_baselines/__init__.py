"""What simple models reach on the same examples."""

from ._simple_models import SimpleModels as SimpleModels
from ._simple_models import simple_models as simple_models
