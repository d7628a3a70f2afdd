import torch
import torch.nn.functional as F
from torch import nn


class FocalLoss(nn.Module):
    """Cross entropy with less weight on easy examples; expects logits."""

    def __init__(self, gamma=2.0, weight=None, reduction="mean"):
        super().__init__()
        self.gamma = gamma
        self.reduction = reduction
        self.register_buffer("weight", weight)

    def forward(self, logits, target):
        log_p = F.log_softmax(logits, dim=-1)
        ce = F.nll_loss(log_p, target, weight=self.weight, reduction="none")
        log_pt = log_p.gather(1, target.unsqueeze(1)).squeeze(1)
        loss = (1 - log_pt.exp()) ** self.gamma * ce
        return loss.mean() if self.reduction == "mean" else loss


def class_weights(labels, num_classes):
    counts = torch.bincount(labels, minlength=num_classes).float()
    return counts.sum() / (num_classes * counts.clamp(min=1))


def get_criterion(name, labels, num_classes):
    if name == "ce":
        return nn.CrossEntropyLoss(label_smoothing=0.1)
    if name == "focal":
        return FocalLoss(weight=class_weights(labels, num_classes))
    raise KeyError(name)
