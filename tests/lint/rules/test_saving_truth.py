"""What the rules about saving and seeds say of torch is true of the torch that runs here."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn


def written(value: object) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return file


def test_a_whole_module_is_refused_by_default() -> None:
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(written(nn.Linear(2, 1)))
    assert "weight" in torch.load(written(nn.Linear(2, 1).state_dict()))


def test_without_weights_only_a_file_runs_code(tmp_path: Path) -> None:
    made = tmp_path / "made"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (made,)  # type: ignore[return-value]

    torch.load(written(Evil()), weights_only=False)
    assert made.exists()


def test_a_state_changes_with_the_model() -> None:
    model = nn.Linear(2, 1)
    kept, shallow = model.state_dict(), model.state_dict().copy()
    copied = {name: value.clone() for name, value in model.state_dict().items()}
    model.weight.grad = torch.ones_like(model.weight)
    torch.optim.SGD([model.weight], lr=1.0).step()
    assert torch.equal(kept["weight"], model.weight)
    assert torch.equal(shallow["weight"], model.weight)
    assert not torch.equal(copied["weight"], model.weight)


def test_load_state_dict_gives_a_report() -> None:
    model = nn.Linear(2, 1)
    report = model.load_state_dict(model.state_dict())
    assert not callable(report)
    assert report.missing_keys == []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert optimizer.load_state_dict(optimizer.state_dict()) is None  # type: ignore[func-returns-value]


def test_wrappers_put_their_name_before_those_of_the_model() -> None:
    model = nn.Linear(2, 1, bias=False)
    state = nn.DataParallel(model).state_dict()
    assert list(state) == ["module.weight"]
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict(state)
    assert model.load_state_dict(state, strict=False).missing_keys == ["weight"]


def test_without_a_seed_two_models_begin_differently() -> None:
    assert not torch.equal(nn.Linear(9, 9).weight, nn.Linear(9, 9).weight)


def test_the_same_seed_gives_the_same_mask_in_each_step() -> None:
    dropout, masks = nn.Dropout(0.5), []
    for _ in range(2):
        torch.manual_seed(0)
        masks.append(dropout(torch.ones(64)))
    assert torch.equal(*masks)
    assert not torch.equal(masks[0], dropout(torch.ones(64)))


def test_a_split_differs_unless_it_has_a_generator() -> None:
    def parts(seed: int | None) -> list[int]:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        whole = torch.utils.data.TensorDataset(torch.arange(99))
        return list(torch.utils.data.random_split(whole, [90, 9], generator)[1].indices)

    assert parts(0) == parts(0)
    assert parts(None) != parts(None)
