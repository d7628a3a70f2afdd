"""What famous models were trained with can be built, and every number has its paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fitwell.core.errors import UnknownName
from fitwell.core.references import references
from fitwell.core.spec import build, parse
from fitwell.optim import DEFAULTS_BY_MODEL, OPTIMIZERS, usual_optimizer


@pytest.mark.parametrize("model", sorted(DEFAULTS_BY_MODEL))
def test_opt_08_every_entry_builds_an_optimizer_and_has_its_paper(model: str) -> None:
    usual = usual_optimizer(model)
    params = [nn.Parameter(torch.ones(2))]
    optimizer = build(usual.spec, OPTIMIZERS, owner="test", what="optimizer", params=params)
    spec = parse(usual.spec)
    assert str(spec) == usual.spec
    assert type(optimizer).__name__ == spec.name
    for name, value in spec.kwargs.items():
        assert optimizer.param_groups[0][name] == value
    assert usual.source in references()
    assert usual.note


def test_opt_08_the_models_of_the_lecture_have_the_optimizer_it_names() -> None:
    momentum = ("YOLO", "Mask R-CNN", "ResNet")
    adam = ("BERT", "Transformer", "Tacotron", "BigGAN", "MAML")
    for model in momentum:
        assert parse(usual_optimizer(model).spec).name == "SGD"
        assert parse(usual_optimizer(model).spec).kwargs["momentum"] == 0.9
    assert {parse(usual_optimizer(model).spec).name for model in adam} == {"Adam", "AdamW"}


def test_the_rate_of_the_transformer_is_the_top_of_its_schedule() -> None:
    lr = parse(usual_optimizer("transformer").spec).kwargs["lr"]
    assert lr == pytest.approx(512**-0.5 * 4000**-0.5, rel=0.01)


def test_an_unknown_model_lists_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"no model named 'ResNeXt'; nearest: .*'ResNet'"):
        usual_optimizer("ResNeXt")
