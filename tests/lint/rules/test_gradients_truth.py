"""What the rules about gradients say of torch is true of the torch that runs here."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn


def test_a_loss_made_a_leaf_again_trains_nothing() -> None:
    layer = nn.Linear(2, 1)
    loss = torch.tensor(layer(torch.ones(1, 2)).sum().item(), requires_grad=True)
    loss.backward()
    assert layer.weight.grad is None
    with pytest.raises(RuntimeError, match="does not require grad"):
        layer(torch.ones(1, 2)).sum().detach().backward()


def test_requires_grad_of_a_computed_loss_cannot_be_set() -> None:
    loss = nn.Linear(2, 1)(torch.ones(1, 2)).sum()
    with pytest.raises(RuntimeError, match="leaf variables"):
        loss.requires_grad = True


def test_a_forward_pass_under_no_grad_has_no_graph() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        loss = layer(torch.ones(1, 2)).sum()
    with pytest.raises(RuntimeError, match="does not require grad"):
        loss.backward()


def test_an_optimizer_keeps_the_old_layer() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model[1] = nn.Linear(2, 1)
    before = copy.deepcopy(model[1].state_dict())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert torch.equal(model[1].weight, before["weight"])


def test_a_module_keeps_its_parameters_when_it_is_converted() -> None:
    model = nn.Linear(2, 1)
    before = list(map(id, model.parameters()))
    model.double()
    assert list(map(id, model.parameters())) == before


def test_only_adagrad_has_a_state_from_the_start_and_it_does_not_move_along() -> None:
    model = nn.Linear(2, 1)
    plain = torch.optim.Adam(model.parameters())
    early = torch.optim.Adagrad(model.parameters())
    model.double()
    assert not plain.state
    assert {state["sum"].dtype for state in early.state.values()} == {torch.float32}


def test_a_state_that_was_loaded_before_does_not_move_along() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    loaded = torch.optim.Adam(model.parameters())
    loaded.load_state_dict(optimizer.state_dict())
    model.double()
    assert {state["exp_avg"].dtype for state in loaded.state.values()} == {torch.float32}


def test_frozen_parameters_cannot_be_trained() -> None:
    model = nn.Linear(2, 1).requires_grad_(False)
    with pytest.raises(ValueError, match="empty parameter list"):
        torch.optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.1)
    with pytest.raises(RuntimeError, match="does not require grad"):
        model(torch.ones(1, 2)).sum().backward()


def test_requires_grad_of_a_module_is_a_plain_attribute() -> None:
    model = nn.Linear(2, 1)
    model.requires_grad = False  # type: ignore[assignment]
    assert all(p.requires_grad for p in model.parameters())


def test_a_leaf_cannot_be_changed_in_place() -> None:
    w = torch.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        w -= 0.1
    with pytest.raises(RuntimeError, match="leaf Variable"):
        w[0] = 1.0


def test_an_update_to_a_new_tensor_gets_no_gradient() -> None:
    w = torch.zeros(3, requires_grad=True)
    (w.sum() ** 2).backward()
    w = w - 0.1 * w.grad  # type: ignore[operator]
    (w.sum() ** 2).backward()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert w.grad is None


def test_an_optimizer_takes_a_plain_tensor_and_passes_over_it() -> None:
    w, b = torch.zeros(3, requires_grad=True), torch.ones(1)
    optimizer = torch.optim.SGD([w, b], lr=0.1)
    (w.sum() + b).backward()
    optimizer.step()
    assert b.item() == 1.0
    assert w[0].item() != 0.0
    with pytest.raises(ValueError, match="non-leaf"):
        torch.optim.SGD([torch.ones(3, requires_grad=True) * 2], lr=0.1)


def test_an_empty_generator_clips_nothing() -> None:
    model = nn.Linear(2, 1)
    params = model.parameters()
    torch.optim.SGD(params, lr=0.1)
    (model(torch.ones(1, 2)).sum() * 1000).backward()
    with pytest.warns(UserWarning, match="empty generator"):
        nn.utils.clip_grad_norm_(params, 1.0)
    assert model.weight.grad is not None
    assert model.weight.grad.norm() > 100


def test_a_scalar_has_no_first_item() -> None:
    with pytest.raises(IndexError, match="0-dim"):
        _ = torch.ones(3).mean().data[0]


def test_data_is_written_without_autograd_noticing() -> None:
    x = torch.ones(2, requires_grad=True)
    y = x.exp()
    y.data.mul_(0)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.sum() == 0
    z = x.exp()
    z.detach().mul_(0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_small_steps_are_lost_in_half_precision_and_adam_makes_nan() -> None:
    layer = nn.Linear(2, 1).half()
    with torch.no_grad():
        layer.weight.fill_(1.0)
    layer.weight.grad = torch.ones_like(layer.weight)
    slow = torch.optim.SGD([layer.weight], lr=1e-4)
    for _ in range(20):
        slow.step()
    assert layer.weight.eq(1).all()
    layer.weight.grad = torch.zeros_like(layer.weight)
    torch.optim.Adam([layer.weight]).step()
    assert layer.weight.isnan().all()


def test_a_variable_of_a_computed_value_has_no_graph() -> None:
    value = nn.Linear(2, 1)(torch.ones(1, 2)).sum()
    wrapped = torch.autograd.Variable(value, requires_grad=True)
    assert isinstance(wrapped, torch.Tensor)
    assert wrapped.is_leaf


def test_volatile_switches_nothing_off() -> None:
    w = torch.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="volatile was removed"):
        x = torch.autograd.Variable(torch.ones(2), volatile=True)  # type: ignore[call-arg]
    assert (x * w).requires_grad


def test_a_state_with_its_graph_fails_in_the_second_step() -> None:
    rnn = nn.GRU(2, 2)
    out, state = rnn(torch.ones(1, 1, 2))
    out.sum().backward()
    out, state = rnn(torch.ones(1, 1, 2), state)
    with pytest.raises(RuntimeError, match="second time"):
        out.sum().backward()


def test_a_forgotten_module_stays_as_it_was() -> None:
    one, two = nn.Linear(2, 2), nn.Linear(2, 1)
    before = copy.deepcopy(one.state_dict())
    optimizer = torch.optim.SGD(two.parameters(), lr=0.1)
    two(one(torch.ones(1, 2))).sum().backward()
    optimizer.step()
    assert one.weight.grad is not None
    assert torch.equal(one.weight, before["weight"])
