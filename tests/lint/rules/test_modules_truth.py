"""What the rules about modules claim is true: each fault is run."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Net(nn.Module):
    """Takes whatever attributes it is given."""

    def __init__(self, **given: object) -> None:
        super().__init__()
        for name, value in given.items():
            setattr(self, name, value)


def names(net: nn.Module) -> list[str]:
    return [name for name, _ in net.named_parameters()]


def test_layers_in_tuples_and_lists_are_not_registered() -> None:
    layer = nn.Linear(2, 2)
    for held in ((layer,), [layer], {"a": layer}, [nn.Parameter(torch.zeros(2))]):
        assert names(Net(held=held)) == []
    assert len(names(Net(held=nn.ModuleList([layer])))) == 2


def test_a_tensor_with_a_gradient_is_not_registered() -> None:
    assert names(Net(w=torch.ones(2, requires_grad=True))) == []
    assert names(Net(w=nn.Parameter(torch.ones(2)) * 0.01)) == []
    assert names(Net(w=nn.Parameter(torch.ones(2)).double())) == []
    assert list(Net(w=torch.ones(2)).state_dict()) == []
    assert names(Net(w=nn.Parameter(torch.ones(2)))) == ["w"]


def test_a_layer_of_the_class_is_not_registered_and_shared() -> None:
    class OnClass(nn.Module):
        fc = nn.Linear(2, 2)

    assert names(OnClass()) == []
    assert OnClass().fc is OnClass().fc


def test_without_super_init_a_module_does_not_work() -> None:
    class Without(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(2, 2)

    class PassedOver(nn.Module):
        def __init__(self) -> None:
            super(nn.Module, self).__init__()
            self.fc = nn.Linear(2, 2)

    class NoLayers(nn.Module):
        def __init__(self) -> None:
            self.n = 2

        def forward(self, x: Tensor) -> Tensor:
            return x * self.n

    class Unbound(nn.Module):
        def __init__(self) -> None:
            super(Unbound).__init__()
            self.fc = nn.Linear(2, 2)

    for broken in (Without, PassedOver, Unbound):
        with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
            broken()
    with pytest.raises(AttributeError):
        NoLayers()(torch.ones(1))


def test_hooks_run_around_a_module_and_not_around_its_forward() -> None:
    layer, seen = nn.Linear(2, 2), []
    layer.register_forward_hook(lambda *_: seen.append(1))
    layer.forward(torch.zeros(1, 2))
    assert seen == []
    layer(torch.zeros(1, 2))
    assert seen == [1]


def test_a_layer_made_in_forward_is_another_one_in_each_call() -> None:
    class Made(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.Dropout(0.5)(nn.Linear(8, 64)(x))

    net, x = Made().eval(), torch.ones(1, 8)
    assert names(net) == []
    assert not torch.equal(net(x), net(x))
    assert (net(x) == 0).any()


def test_a_layer_made_of_a_tensor_is_a_layer() -> None:
    for made in (nn.ReLU, nn.Softmax, nn.Flatten):
        assert isinstance(made(torch.zeros(2)), nn.Module)
    with pytest.raises(TypeError):
        nn.Tanh(torch.zeros(2))


def test_a_forward_without_return_gives_none() -> None:
    class Silent(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x + 1

    assert Silent()(torch.zeros(1)) is None


def test_functional_dropout_knows_nothing_of_eval() -> None:
    x = torch.ones(1000)
    assert (F.dropout(x, 0.5) == 0).any()
    assert (F.dropout2d(torch.ones(1, 100, 2, 2)) == 0).any()
    assert torch.equal(F.alpha_dropout(x, 0.5), x)
    assert torch.equal(F.feature_alpha_dropout(torch.ones(1, 9, 2), 0.5), torch.ones(1, 9, 2))
    q = torch.randn(1, 1, 16, 8)
    one, other = (F.scaled_dot_product_attention(q, q, q, dropout_p=0.5) for _ in range(2))
    assert not torch.equal(one, other)


def test_layers_that_do_not_fit_raise() -> None:
    x, image = torch.zeros(2, 4), torch.zeros(2, 3, 8, 8)
    pairs = [
        (nn.Sequential(nn.Linear(4, 8), nn.Linear(16, 2)), x),
        (nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(4)), x),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(16)), image),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 2)), image),
    ]
    for net, given in pairs:
        with pytest.raises(RuntimeError):
            net(given)
    rnn = nn.LSTM(4, 8, bidirectional=True)
    assert rnn(torch.zeros(3, 2, 4))[0].shape[-1] == 16
    norm = nn.BatchNorm1d(50)  # over the steps of a sequence: that is why it is only a hint
    assert norm(nn.Linear(64, 128)(torch.zeros(2, 50, 64))).shape == (2, 50, 128)


def test_a_repeated_list_holds_one_layer() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2)] * 3)
    assert layers[0] is layers[2]
    assert len(list(layers.parameters())) == 2
    apart = nn.ModuleList([copy.deepcopy(layers[0]) for _ in range(3)])
    assert len(list(apart.parameters())) == 6


def test_batch_norm_of_one_example() -> None:
    with pytest.raises(ValueError, match="more than 1 value"):
        nn.BatchNorm1d(4)(torch.zeros(1, 4))
    torch.manual_seed(0)
    images = torch.randn(1, 2, 4, 4)
    normed, other = nn.BatchNorm2d(2)(images), nn.BatchNorm2d(2)(images * 5 + 3)
    assert torch.allclose(normed, other, rtol=0, atol=1e-2)
    assert torch.utils.data.DataLoader([1, 2]).batch_size == 1


def test_a_class_whose_logit_is_cut_off_gets_no_gradient() -> None:
    raw = torch.tensor([[-2.0, 1.0, -1.0]], requires_grad=True)
    F.cross_entropy(raw.relu(), torch.tensor([1])).backward()
    assert raw.grad is not None
    assert raw.grad[0, [0, 2]].tolist() == [0.0, 0.0]
    assert torch.sigmoid(raw.relu()).min() >= 0.5
    best = torch.full((1, 10), -1.0)
    best[0, 0] = 1.0
    assert best.softmax(1)[0, 0] < 0.46


def test_a_misspelt_forward_is_not_found() -> None:
    class Misspelt(nn.Module):
        def foward(self, x: Tensor) -> Tensor:
            return x

    class WrongInit(nn.Module):
        def __int__(self) -> None:
            self.n = 2

    with pytest.raises(NotImplementedError, match="forward"):
        Misspelt()(torch.zeros(1))
    assert not hasattr(WrongInit(), "n")
