"""What the rules about tensors claim is true of torch."""

from __future__ import annotations

import inspect
import warnings
from importlib import import_module

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fitwell.lint._tensors._call_slots import SLOTS


def test_a_view_mixes_what_a_permutation_swaps() -> None:
    x = torch.arange(24).view(1, 2, 3, 4)
    assert not torch.equal(x.view(1, 3, 4, 2), x.permute(0, 2, 3, 1))
    assert x.permute(0, 2, 3, 1)[0, 0, 0].tolist() == x[0, :, 0, 0].tolist()


def test_a_view_raises_where_the_memory_has_another_order_and_only_there() -> None:
    x = torch.randn(2, 3, 4, 5)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        x.permute(0, 2, 3, 1).view(2, -1)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        x.transpose(1, 2).view(2, 4, 15)
    assert x.permute(0, 2, 3, 1).view(2, -1, 3).shape == (2, 20, 3)
    assert x.permute(0, 2, 3, 1).reshape(2, -1).shape == (2, 60)


def test_squeeze_drops_a_batch_of_one() -> None:
    assert torch.zeros(32, 1).squeeze().shape == (32,)
    assert torch.zeros(1, 1).squeeze().shape == ()
    with pytest.raises(ValueError, match="Target size"):
        nn.BCEWithLogitsLoss()(torch.zeros(1, 1).squeeze(), torch.zeros(1))


def test_methods_give_new_tensors() -> None:
    x = torch.tensor([-1.0, 2.0])
    x.clamp(0, 1), x.double(), F.relu(x), x.to("meta")
    assert x.tolist() == [-1.0, 2.0]
    assert x.dtype == torch.float32
    assert x.device.type == "cpu"
    layer = nn.Linear(1, 1)
    layer.double()
    assert layer.weight.dtype == torch.float64


def test_whole_numbers_have_no_mean() -> None:
    whole = torch.tensor([1, 2, 3])
    for numbers in (whole, whole == whole):
        with pytest.raises(RuntimeError, match="could not infer output dtype"):
            numbers.mean()
    for name in ("std", "var", "norm"):
        with pytest.raises(RuntimeError):
            getattr(whole, name)()
    with pytest.raises((RuntimeError, NotImplementedError)):
        whole.softmax(0)


def test_old_constructors_take_sizes_and_cut_fractions() -> None:
    assert torch.Tensor(5).shape == (5,)
    assert torch.LongTensor([0.7, 1.2]).tolist() == [0, 1]
    assert torch.LongTensor(np.array([0.7])).tolist() == [0]
    with pytest.raises(TypeError):
        torch.Tensor(0.5)


def test_layers_take_numbers_of_their_own_type() -> None:
    layers = [nn.Linear(3, 1), nn.LSTM(3, 2), nn.BatchNorm1d(3)]
    for layer in layers:
        for x in (torch.from_numpy(np.random.rand(4, 3)), torch.ones(4, 3, dtype=torch.long)):
            with pytest.raises((RuntimeError, ValueError)):
                layer(x)
    for conv in (nn.Conv1d(1, 1, 1), nn.ConvTranspose1d(1, 1, 1)):
        with pytest.raises(RuntimeError):
            conv(torch.zeros(1, 1, 1, dtype=torch.float64))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_numpy_refuses_what_requires_gradients() -> None:
    loss = torch.ones(3, requires_grad=True).sum()
    for call in (np.array, np.exp, np.isnan, lambda one: one.numpy(), lambda one: np.mean([one])):
        with pytest.raises(RuntimeError, match="requires grad"):
            call(loss)
    for function in (np.mean, np.sum, np.max):
        with pytest.raises(TypeError):
            function(loss)


def test_parameters_stand_where_the_table_says() -> None:
    for name, slots in SLOTS.items():
        module, _, short = name.rpartition(".")
        function = getattr(import_module(module), short)
        try:
            names = list(inspect.signature(function).parameters)
        except ValueError:
            continue
        if names == ["args", "kwargs"]:  # nn.LSTM and nn.GRU
            rnn = list(inspect.signature(nn.RNNBase.__init__).parameters)
            names = [one for one in rnn if one not in ("self", "mode")]
        for slot in slots:
            if slot.name:
                assert names[slot.place] == slot.name, name


def test_arguments_at_another_place_do_what_the_rule_says() -> None:
    assert F.dropout(torch.ones(8), True).sum() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert nn.MSELoss("sum").reduction == "mean"
        assert nn.KLDivLoss("batchmean").reduction == "mean"
    assert nn.LSTM(3, 4, True).num_layers == 1
    assert not nn.LSTM(3, 4, 2, True).batch_first
    assert nn.BatchNorm2d(4, 0.9).momentum == 0.1
    assert nn.Upsample(2)(torch.zeros(1, 1, 8, 8)).shape[-1] == 2
    assert DataLoader(TensorDataset(torch.zeros(8)), 4, 4).num_workers == 0
    assert torch.randn(2, 3, True).shape == (2, 3, 1)


def test_arguments_that_must_be_named_raise() -> None:
    weight = [nn.Parameter(torch.ones(1))]
    for call in (
        lambda: torch.tensor([1.0], torch.float64),
        lambda: torch.zeros(2, 3, torch.long),
        lambda: torch.ones_like(torch.zeros(2), torch.long),
        lambda: torch.full((2,), 1, torch.long),
        lambda: nn.CrossEntropyLoss("sum"),
        lambda: nn.CrossEntropyLoss(0.1),
        lambda: F.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]), "sum"),
        lambda: torch.optim.Adam(weight, 1e-3, 1e-4),
        lambda: nn.LSTM(3, 4, 2, 0.5),
    ):
        with pytest.raises(TypeError):
            call()


def test_recurrent_layers_take_the_time_first() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, 4)
    out, _ = nn.GRU(4, 2)(x)
    assert out[:, -1].shape == (3, 2), "with (batch, time, feature) in mind: the last step"
    layer = nn.GRU(4, 2)
    alone = layer(x[:, -1:])[0][:, 0]
    assert torch.allclose(layer(x)[0][:, -1], alone), "it is the last example, of all steps"


def test_sizes_are_asked_in_one_way() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(TypeError):
        x.shape(0)
    with pytest.raises(TypeError):
        x.size[0]
    with pytest.raises(TypeError):
        range(x.shape)


def test_tensors_on_two_devices_do_not_mix() -> None:
    with pytest.raises(RuntimeError):
        nn.Linear(3, 1).to("meta")(torch.zeros(2, 3))
    with pytest.raises(RuntimeError):
        nn.GRU(3, 2).to("meta")(torch.zeros(1, 2, 3, device="meta"), torch.zeros(1, 2, 2))


def test_cuda_raises_without_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises((RuntimeError, AssertionError)):
        torch.zeros(1).cuda()


def test_a_loop_over_examples_gives_the_same_and_takes_more_calls() -> None:
    layer, x = nn.Linear(4, 2), torch.randn(3, 4)
    calls: list[int] = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    one_by_one = torch.stack([layer(x[i]) for i in range(len(x))])
    assert torch.allclose(one_by_one, layer(x), atol=1e-6)
    assert len(calls) == 3 + 1
