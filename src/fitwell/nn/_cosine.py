"""A last layer whose outputs are cosines.

Axes: B batch.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError


@final
class CosineLinear(nn.Module):
    """Compare features with a direction for each class: a linear layer without lengths and bias.

    The last layer for `losses.AdditiveMargin`, when features are compared later by their angle.
    With `losses.CrossEntropy` take ``torch.nn.Linear``: cosines between -1 and 1 are too close
    together to be logits.

        output_bk = x_b · weight_k / (|x_b| |weight_k|)

    Features of length 0 give 0 for every class.

    Args:
        in_features: Size of the features.
        out_features: Number of classes.

    Shapes:
        x: (B, in_features)
        return: (B, out_features)

    Raises:
        UsageError: A size is below 1.

    Source: wang2018additive, section 2.
    Reduces to: ``torch.nn.Linear`` without bias where features and weights have length 1.
    Checked against: torch.nn.functional.cosine_similarity.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        if min(in_features, out_features) < 1:
            raise UsageError(
                "CosineLinear: `in_features` and `out_features` must be at least 1; got"
                f" {in_features} and {out_features}. Give the size of the features, then the"
                " number of classes."
            )
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        # Directions are uniform on the sphere; lengths are about 1, as steps are relative to them.
        nn.init.normal_(self.weight, std=1 / math.sqrt(in_features))

    def forward(self, x: Tensor) -> Tensor:
        """Give the cosine with each class."""
        return F.linear(F.normalize(x, dim=-1), F.normalize(self.weight, dim=1))

    def extra_repr(self) -> str:
        """Give the sizes, for the printed form."""
        return f"in_features={self.in_features}, out_features={self.out_features}"
