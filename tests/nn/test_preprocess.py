from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fitwell.core.errors import UsageError
from fitwell.nn import MLP, Normalize, TableEncoder, Unscale, embedding_dim

# Buffers and inputs are float32.
FLOAT32 = 1e-5


def table(rows: int = 200, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=generator) * torch.tensor([1.0, 50.0, 1.0, 0.01]) + 3
    x[:, 2] = torch.randint(0, 5, (rows,), generator=generator).float()
    x[torch.rand(rows, generator=generator) < 0.2, 1] = math.nan
    return x


def test_normalize_fits_images_as_numpy_does() -> None:
    images = torch.randint(0, 256, (50, 3, 6, 5), dtype=torch.uint8)
    layer = Normalize.fit(images)
    unit = images.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(layer.mean, unit.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(layer.std, unit.std((0, 2, 3)), rtol=1e-6)
    y = layer(images.float() / 255)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(3), atol=FLOAT32, rtol=0)
    torch.testing.assert_close(y.std((0, 2, 3), correction=0), torch.ones(3))


def test_normalize_leaves_a_constant_channel_at_zero() -> None:
    x = torch.stack([torch.full((9,), 1e8), torch.full((9,), 0.1), torch.arange(9.0)], 1)
    layer = Normalize.fit(x)
    assert layer.std[:2].tolist() == [1, 1]
    assert torch.equal(layer(x)[:, :2], torch.zeros(9, 2))


def test_normalize_reduces_to_the_identity() -> None:
    x = torch.randn(3, 2, 4, 4)
    assert torch.equal(Normalize([0, 0], [1, 1])(x), x)


@settings(deadline=None, max_examples=30)
@given(mean=st.floats(-1e3, 1e3), std=st.floats(1e-2, 1e3), value=st.floats(-5, 5, width=32))
def test_unscale_is_the_inverse_of_normalize(mean: float, std: float, value: float) -> None:
    x = torch.tensor([[value]], dtype=torch.float64)
    there = Unscale(mean, std).double()(x)
    back = Normalize([mean], [std]).double()(there.unsqueeze(1))
    # Taking the mean away again loses the digits that it had more than the value.
    lost = 1e-12 * (1 + abs(mean) / std)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=lost)


def test_unscale_drops_the_axis_of_one_output_only() -> None:
    assert Unscale(1, 2)(torch.zeros(4, 1)).tolist() == [1, 1, 1, 1]
    assert Unscale(1, 2)(torch.zeros(4, 3)).shape == (4, 3)
    assert Unscale.fit(torch.full((5,), 7.0)).std.item() == 1
    model = nn.Sequential(MLP(3, 1), Unscale.fit(torch.tensor([10.0, 20.0])))
    assert model(torch.zeros(6, 3)).shape == (6,)


def test_encoder_equals_the_steps_of_scikit_learn() -> None:
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.preprocessing import StandardScaler

    train, other = table(), table(20, seed=1)
    encoder = TableEncoder.fit(train, (0, 0, 5, 0))
    numbers = [0, 1, 3]
    scaler = StandardScaler().fit(train[:, numbers].double().numpy())
    scaled = scaler.transform(other[:, numbers].double().numpy())
    imputed = SimpleImputer(strategy="constant", fill_value=0.0).fit(scaled).transform(scaled)
    indicator = MissingIndicator(features="missing-only").fit(train[:, numbers].numpy())
    flags = indicator.transform(other[:, numbers].numpy())
    y = encoder(other)
    assert encoder.out_features == y.shape[1] == 3 + 1 + embedding_dim(5)
    np.testing.assert_allclose(y[:, :3].detach(), imputed, rtol=1e-4, atol=1e-4)
    assert y[:, 3].tolist() == flags[:, 0].astype(float).tolist()
    looked_up = encoder.embeddings[0].weight[other[:, 2].long()]  # type: ignore[index]
    assert torch.equal(y[:, 4:], looked_up)


def test_encoder_reduces_to_normalize_on_numbers() -> None:
    x = torch.randn(30, 3) * 7 + 2
    torch.testing.assert_close(TableEncoder.fit(x, (0, 0, 0))(x), Normalize.fit(x)(x))


def test_unseen_and_missing_categories_start_as_zeros_and_can_learn() -> None:
    encoder = TableEncoder.fit(torch.tensor([[1.0], [2.0]]), (3,))
    y = encoder(torch.tensor([[0.0], [7.0], [-1.0], [math.nan], [2.0]]))
    assert torch.equal(y[:4], torch.zeros(4, embedding_dim(3)))
    assert bool((y[4] != 0).all())
    y.sum().backward()
    assert bool((encoder.embeddings[0].weight.grad[0] != 0).all())  # type: ignore[index]


def test_encoder_never_gives_nan_whatever_is_missing() -> None:
    train = table()
    train[:, 0] = math.nan
    encoder = TableEncoder.fit(train, (0, 0, 5, 0))
    assert encoder(torch.full((2, 4), math.nan)).isfinite().all()


def test_encoder_cuts_outliers_off() -> None:
    x = torch.randn(500, 1)
    encoder = TableEncoder.fit(x, (0,), clip=3.0)
    assert encoder(torch.tensor([[1e9], [-math.inf]])).tolist() == [[3.0], [-3.0]]


def test_encoder_is_built_again_from_its_settings() -> None:
    encoder = TableEncoder.fit(table(), (0, 0, 5, 0), clip=8.0)
    twin = TableEncoder(**json.loads(json.dumps(encoder.settings())))
    twin.load_state_dict(encoder.state_dict())
    x = table(9, seed=3)
    assert torch.equal(encoder(x), twin(x))
    assert twin.settings() == encoder.settings()


@pytest.mark.parametrize(("cardinality", "dim"), [(1, 2), (2, 2), (10, 6), (100, 21), (10**6, 50)])
def test_embedding_dim_values(cardinality: int, dim: int) -> None:
    assert embedding_dim(cardinality) == dim


def test_preprocessing_refuses_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"Normalize: `std` must be positive and finite; got 0"):
        Normalize([0.5], [0])
    with pytest.raises(UsageError, match=r"Normalize: `mean` must be finite; got nan"):
        Normalize([math.nan], [1])
    with pytest.raises(UsageError, match=r"Normalize: `std` must have one entry per entry of"):
        Normalize([0.5], [1, 1])
    with pytest.raises(UsageError, match=r"Normalize: `x` must have 2 channels at axis 1; got"):
        Normalize([0, 0], [1, 1])(torch.zeros(2, 3, 4, 4))
    with pytest.raises(UsageError, match=r"Unscale: `std` must be positive"):
        Unscale(0, -1)
    with pytest.raises(UsageError, match=r"`cardinalities` must exceed every code; got 4 for"):
        TableEncoder.fit(table(), (0, 0, 4, 0))
    with pytest.raises(
        UsageError, match=r"`inputs` must not be infinite; got infinity in column 3"
    ):
        TableEncoder.fit(torch.tensor([[0.0, 0, 0, math.inf]]), (0, 0, 5, 0))
    with pytest.raises(UsageError, match=r"`inputs` must have shape \(N, 3\); got \(200, 4\)"):
        TableEncoder.fit(table(), (0, 0, 0))
    with pytest.raises(UsageError, match=r"TableEncoder: `x` must have shape \(B, 4\)"):
        TableEncoder.fit(table(), (0, 0, 5, 0))(torch.zeros(2, 3))
    with pytest.raises(UsageError, match=r"TableEncoder: `mean` must have 2 entries; got 1"):
        TableEncoder((0, 0), mean=(0,), std=(1,))
    with pytest.raises(UsageError, match=r"TableEncoder: `clip` must be above 0; got 0"):
        TableEncoder((0,), mean=(0,), std=(1,), clip=0)
    with pytest.raises(UsageError, match=r"`cardinalities` must name at least one column"):
        TableEncoder((), mean=(), std=())
