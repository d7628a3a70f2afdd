"""Muon is torch's on matrices and AdamW on the rest, and its steps are nearly orthogonal."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.nn import ResNet20
from fitwell.optim import AdamW, Cosine, Muon, muon_groups
from fitwell.train import Supervised, Trainer

STEPS = 5


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def walk(params: list[Any], optimizer: torch.optim.Optimizer, first: int = 0) -> None:
    for step in range(first, first + STEPS):
        for place, p in enumerate(params):
            p.grad = draw(*p.shape, seed=100 * step + place)
        optimizer.step()


@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("shape", [(8, 5), (5, 8)])
def test_on_a_matrix_it_is_torchs_muon_bit_for_bit(shape: tuple[int, int], adjust: Any) -> None:
    p, q = nn.Parameter(draw(*shape)), nn.Parameter(draw(*shape))
    walk([p], Muon([p], lr=0.02, weight_decay=0.1, momentum=0.9, adjust=adjust))
    theirs: Any = torch.optim.Muon
    walk([q], theirs([q], lr=0.02, weight_decay=0.1, momentum=0.9, adjust_lr_fn=adjust))
    assert torch.equal(p, q)
    assert not torch.equal(p, draw(*shape))


def test_on_vectors_it_is_adamw_bit_for_bit() -> None:
    settings: dict[str, Any] = {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}
    one, other = ([nn.Parameter(draw(7)), nn.Parameter(draw(3))] for _ in "ab")
    walk(one, Muon(one, **settings))
    walk(other, AdamW(other, **settings))
    assert all(torch.equal(p, q) for p, q in zip(one, other, strict=True))


@pytest.mark.parametrize("shape", [(16, 16), (32, 8), (8, 32)])
def test_a_step_is_nearly_the_orthogonal_factor(shape: tuple[int, int]) -> None:
    """Five rounds in bfloat16 leave singular values from 0.6 to 1.3, in the right directions."""
    p = nn.Parameter(torch.zeros(shape))
    p.grad = draw(*shape)
    Muon([p], lr=1.0, weight_decay=0.0, momentum=0.0, adjust="match_rms_adamw").step()
    update = -p.detach() / (0.2 * math.sqrt(max(shape)))
    u, _, vh = torch.linalg.svd(p.grad, full_matrices=False)
    inner = u.T @ update @ vh.T  # diagonal, if the singular vectors are kept
    values = inner.diagonal()
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert (inner - torch.diag(values)).abs().max() < 0.05


def test_steps_have_the_size_of_those_of_adamw() -> None:
    p = nn.Parameter(torch.zeros(64, 32))
    p.grad = draw(64, 32)
    Muon([p], lr=1.0, weight_decay=0.0).step()
    assert p.detach().square().mean().sqrt().item() == pytest.approx(0.2, rel=0.15)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_filters_are_matrices_with_a_row_per_output(memory: torch.memory_format) -> None:
    filters = nn.Parameter(draw(6, 3, 3, 3).to(memory_format=memory))
    matrix = nn.Parameter(draw(6, 3, 3, 3).flatten(1))
    one, other = Muon([filters], lr=0.01), Muon([matrix], lr=0.01)
    for step in range(STEPS):
        filters.grad = draw(6, 3, 3, 3, seed=step).to(memory_format=memory)
        matrix.grad = draw(6, 3, 3, 3, seed=step).flatten(1)
        one.step()
        other.step()
    assert torch.equal(filters.flatten(1), matrix)
    assert filters.is_contiguous(memory_format=memory)


def test_filters_may_be_left_to_adamw() -> None:
    p, q = nn.Parameter(draw(6, 3, 3, 3)), nn.Parameter(draw(6, 3, 3, 3))
    walk([p], Muon([p], lr=0.01, filters=False, weight_decay=0.1))
    walk([q], AdamW([q], lr=0.01, weight_decay=0.1))
    assert torch.equal(p, q)


def test_groups_become_matrices_and_the_rest() -> None:
    a, b, c, d = (nn.Parameter(torch.ones(s)) for s in ((2, 2), (2,), (3, 3), (4, 4)))
    optimizer = Muon(
        [
            {"params": [a, b]},
            {"params": [c, d], "matrix": False, "lr": 0.5},
        ],
        lr=0.1,
        adamw_lr=0.3,
    )
    found = [(g["params"], g["matrix"], g["lr"]) for g in optimizer.param_groups]
    assert [(kind, lr) for _, kind, lr in found] == [(True, 0.1), (False, 0.3), (False, 0.5)]
    assert [len(params) for params, _, _ in found] == [1, 1, 2]
    assert found[0][0][0] is a
    assert found[1][0][0] is b


def test_named_parameters_are_taken() -> None:
    optimizer = Muon(nn.Linear(2, 3).named_parameters())
    assert [g["param_names"] for g in optimizer.param_groups] == [["weight"], ["bias"]]


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.hidden = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 4))
        self.head = nn.Linear(4, 11)
        self.norm = nn.LayerNorm(11)


def test_embeddings_and_the_output_layer_are_left_to_adamw() -> None:
    model = Transformer()
    names = {p: name for name, p in model.named_parameters()}
    optimizer = Muon(muon_groups(model, weight_decay=0.1))
    found = [
        ({names[p] for p in g["params"]}, g["matrix"], g["weight_decay"])
        for g in optimizer.param_groups
    ]
    assert found[0] == ({"hidden.0.weight", "hidden.2.weight"}, True, 0.1)
    assert found[1] == ({"embed.weight", "head.weight"}, False, 0.1)
    assert found[2][1:] == (False, 0.0)
    assert found[2][0] == {name for name, p in model.named_parameters() if p.ndim == 1}


def test_of_a_network_of_filters_the_head_is_left_to_adamw() -> None:
    model = ResNet20()
    hidden, other, vectors = muon_groups(model, weight_decay=0.1)
    assert [tuple(p.shape) for p in other["params"]] == [(10, 64)]
    assert {p.ndim for p in hidden["params"]} == {4}
    assert {p.ndim for p in vectors["params"]} == {1}


def test_schedules_act_on_both_and_it_trains() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1))
    x = torch.randn(32, 5)
    y = x[:, :1] - x[:, 1:2]
    optimizer = Muon(model.parameters(), lr=0.2, adamw_lr=0.1, weight_decay=0.0)
    trainer = Trainer(model, Supervised(nn.MSELoss()), optimizer, schedule=Cosine())
    history = trainer.fit([(x, y)], epochs=50)
    matrices, rest = (g["lr"] for g in optimizer.param_groups)
    assert 0 < matrices < 0.2 / 100
    assert matrices == pytest.approx(2 * rest)
    assert history.losses[-1] < history.losses[0] / 2


def test_going_on_from_a_saved_state_equals_not_stopping() -> None:
    def parameters() -> list[Any]:
        return [nn.Parameter(draw(4, 3)), nn.Parameter(draw(4)), nn.Parameter(draw(2, 3, 3, 3))]

    whole = parameters()
    optimizer = Muon(whole, adamw_lr=0.1)
    walk(whole, optimizer)
    copied, saved = copy.deepcopy((whole, optimizer.state_dict()))
    twins, pickled = pickle.loads(pickle.dumps((whole, optimizer)))
    walk(whole, optimizer, STEPS)
    again = Muon(copied, adamw_lr=0.1)
    again.load_state_dict(saved)
    walk(copied, again, STEPS)
    walk(twins, pickled, STEPS)
    for params in (copied, twins):
        assert all(torch.equal(p, q) for p, q in zip(params, whole, strict=True))
    pickled.add_param_group({"params": nn.Parameter(torch.ones(3))})
    assert pickled.param_groups[-1]["lr"] == 0.1


def test_the_loss_of_a_closure_is_given() -> None:
    p = nn.Parameter(torch.ones(2, 2))
    optimizer = Muon([p])

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    assert optimizer.step(closure).item() == 4.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "Muon: `lr` must be at least 0"),
        ({"adamw_lr": -1.0}, "Muon: `adamw_lr` must be at least 0"),
        ({"momentum": 1.0}, r"Muon: `momentum` must lie in \[0, 1\)"),
        ({"adjust": "none"}, "Muon: `adjust` must be 'original' or 'match_rms_adamw'; got 'none'"),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Muon([nn.Parameter(torch.ones(2, 2))], **settings)


def test_sparse_gradients_are_refused() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 3])).square().sum().backward()
    with pytest.raises(UsageError, match=r"Muon: gradients must be dense .* of shape \(5, 2\)"):
        Muon(table.parameters()).step()
