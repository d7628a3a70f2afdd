"""What famous models were trained with, as their papers say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from ..core.spec import lookup


@final
@dataclass(frozen=True)
class UsualOptimizer:
    """The optimizer that a model's paper trained it with.

    What `usual_optimizer` gives.

    Args:
        spec: Printed form of the optimizer, as `fitwell train --optimizer` takes it.
        source: Key of the paper.
        note: What else belongs to it: batch, schedule, what the paper leaves open.

    Source: he2016deep, section 3.4, for one; each entry names its own.
    Checked against: every entry builds an optimizer, and its key is in the references.
    """

    spec: str
    source: str
    note: str


DEFAULTS_BY_MODEL: Mapping[str, UsualOptimizer] = {
    "AlexNet": UsualOptimizer(
        "SGD(lr=0.01, momentum=0.9, weight_decay=0.0005)",
        "krizhevsky2012imagenet",
        "batch 128; the rate divided by 10 whenever the validation error stops falling",
    ),
    "seq2seq": UsualOptimizer(
        "SGD(lr=0.7, momentum=0.0)",
        "sutskever2014sequence",
        "batch 128; after 5 epochs the rate is halved every half epoch; norm clipped to 5",
    ),
    "VGG": UsualOptimizer(
        "SGD(lr=0.01, momentum=0.9, weight_decay=0.0005)",
        "simonyan2015very",
        "batch 256; the rate divided by 10 whenever the validation accuracy stops rising",
    ),
    "ResNet": UsualOptimizer(
        "SGD(lr=0.1, momentum=0.9, weight_decay=0.0001)",
        "he2016deep",
        "batch 256; the rate divided by 10 when the error plateaus",
    ),
    "Faster R-CNN": UsualOptimizer(
        "SGD(lr=0.001, momentum=0.9, weight_decay=0.0005)",
        "ren2015faster",
        "for the proposals; a rate of 0.0001 for the last quarter of the steps",
    ),
    "YOLO": UsualOptimizer(
        "SGD(lr=0.01, momentum=0.9, weight_decay=0.0005)",
        "redmon2016you",
        "batch 64; begins at 0.001, 75 epochs at 0.01, then 30 at 0.001 and 30 at 0.0001",
    ),
    "Mask R-CNN": UsualOptimizer(
        "SGD(lr=0.02, momentum=0.9, weight_decay=0.0001)",
        "he2017mask",
        "16 images per batch; the rate divided by 10 after 120 of 160 thousand steps",
    ),
    "DCGAN": UsualOptimizer(
        "Adam(lr=0.0002, betas=(0.5, 0.999))",
        "radford2016unsupervised",
        "batch 128; generator and discriminator alike",
    ),
    "MAML": UsualOptimizer(
        "Adam(lr=0.001)",
        "finn2017model",
        "the outer optimizer; the paper names Adam and no rate, 0.001 is Adam's own",
    ),
    "Tacotron": UsualOptimizer(
        "Adam(lr=0.001)",
        "wang2017tacotron",
        "batch 32; rates of 0.0005, 0.0003 and 0.0001 after 0.5, 1 and 2 million steps",
    ),
    "Transformer": UsualOptimizer(
        "Adam(lr=0.0007, betas=(0.9, 0.98), eps=1e-09)",
        "vaswani2017attention",
        "the highest rate, after 4000 steps of warm-up; then it falls with the root of the step",
    ),
    "BigGAN": UsualOptimizer(
        "Adam(lr=5e-05, betas=(0.0, 0.999))",
        "brock2019large",
        "batch 2048; of the generator, with lr=0.0002 for the discriminator",
    ),
    "BERT": UsualOptimizer(
        "AdamW(lr=0.0001, betas=(0.9, 0.999), weight_decay=0.01)",
        "devlin2019bert",
        "batch 256; 10,000 steps of warm-up, then the rate falls along a line",
    ),
    "GPT-3": UsualOptimizer(
        "AdamW(lr=6e-05, betas=(0.9, 0.95), eps=1e-08, weight_decay=0.1)",
        "brown2020language",
        "the largest model, the smallest has lr=0.0006; cosine to a tenth; norm clipped to 1",
    ),
    "ViT": UsualOptimizer(
        "AdamW(lr=0.0008, betas=(0.9, 0.999), weight_decay=0.1)",
        "dosovitskiy2021image",
        "base size, batch 4096, on JFT-300M; 10,000 steps of warm-up, then along a line",
    ),
}
"""Optimizer, paper and remarks by model.

Where a paper says Adam and its decay acts on the weights directly, the spec says AdamW.
"""


def usual_optimizer(model: str) -> UsualOptimizer:
    """Look up what a famous model was trained with, as a place to begin.

    Args:
        model: Its name, such as ``"ResNet"``; case, dashes and underscores do not matter.

    Raises:
        UnknownName: No such model is listed; the nearest are named.

    Example:
        usual_optimizer("BERT").spec
    """
    known: Any = DEFAULTS_BY_MODEL
    found: Any = lookup(model, known, owner="usual_optimizer", what="model")
    return DEFAULTS_BY_MODEL[found[0]]
