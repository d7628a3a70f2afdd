"""The network for sentences against plain loops in NumPy, and what padding may not do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from fitwell.core.errors import UsageError
from fitwell.nn import TextCNN

# float64 sums in another order.
EXACT = {"rtol": 1e-9, "atol": 1e-12}
VOCAB, CLASSES = 12, 3

SENTENCES = st.lists(
    st.lists(st.integers(1, VOCAB - 1), min_size=1, max_size=9), min_size=1, max_size=5
)


def network(**changes: object) -> TextCNN:
    torch.manual_seed(0)
    arguments = {"embed_dim": 5, "windows": (2, 3, 5), "filters": 4, **changes}
    return TextCNN(VOCAB, CLASSES, **arguments).double().eval()  # type: ignore[arg-type]


def padded(sentences: list[list[int]], length: int = 0) -> Tensor:
    length = max(length, *map(len, sentences))
    return torch.tensor([[*words, *[0] * (length - len(words))] for words in sentences])


def by_hand(model: TextCNN, sentence: list[int]) -> np.ndarray:
    """Give the logits of one sentence, kim2014convolutional equations 1 to 4."""
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    maxima = []
    for place, conv in enumerate(model.convs):
        size = conv.kernel_size[0]
        vectors = [weights["embedding.weight"][word] for word in sentence]
        while len(vectors) < size:
            vectors.append(np.zeros_like(vectors[0]))
        for w, b in zip(
            weights[f"convs.{place}.weight"], weights[f"convs.{place}.bias"], strict=True
        ):
            matches = []
            for t in range(len(vectors) - size + 1):
                total = b
                for i in range(size):
                    for d in range(len(vectors[0])):
                        total += w[d, i] * vectors[t + i][d]
                matches.append(max(total, 0.0))
            maxima.append(max(matches))
    return weights["output.weight"] @ np.array(maxima) + weights["output.bias"]


@settings(deadline=None, max_examples=30)
@given(SENTENCES)
def test_cnn_15_equals_loops_over_windows(sentences: list[list[int]]) -> None:
    model = network()
    found = model(padded(sentences)).detach().numpy()
    expected = [by_hand(model, sentence) for sentence in sentences]
    np.testing.assert_allclose(found, expected, **EXACT)


@settings(deadline=None, max_examples=30)
@given(SENTENCES, st.integers(0, 6))
def test_cnn_15_padding_never_changes_the_answer(sentences: list[list[int]], more: int) -> None:
    model = network()
    # Words may match worse than zeros do, so that a window of padding would win, were it counted.
    for conv in model.convs:
        nn.init.constant_(conv.bias, 0.5)  # type: ignore[arg-type]
    longest = max(map(len, sentences))
    together = model(padded(sentences, longest + more))
    alone = torch.cat([model(padded([sentence])) for sentence in sentences])
    torch.testing.assert_close(together, alone, **EXACT)


def test_cnn_15_padding_gets_no_gradient_and_stays_zero() -> None:
    model = network()
    model(padded([[3], [4, 5, 6, 7, 8, 9]], 9)).square().sum().backward()
    gradient = model.embedding.weight.grad
    assert gradient is not None
    assert bool((gradient[0] == 0).all())
    assert bool((gradient[[3, 4]] != 0).any(1).all())
    assert bool((model.embedding.weight[0] == 0).all())


def test_cnn_15_filters_span_the_whole_width_of_the_vectors() -> None:
    model = network()
    assert [tuple(conv.weight.shape) for conv in model.convs] == [(4, 5, 2), (4, 5, 3), (4, 5, 5)]
    tokens = padded([[1, 2, 3, 4, 5, 6, 7]])
    before = model(tokens)
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        model.embedding.weight.copy_(model.embedding.weight[:, order])
        assert not torch.allclose(model(tokens), before)
        for conv in model.convs:
            conv.weight.copy_(conv.weight[:, order])
    torch.testing.assert_close(model(tokens), before, **EXACT)


def test_windows_of_one_word_know_no_order() -> None:
    words = padded([[1, 2, 3, 4, 5]])
    mixed = words[:, [4, 0, 2, 1, 3]]
    single = network(windows=(1,))
    torch.testing.assert_close(single(words), single(mixed), **EXACT)
    assert not torch.allclose(network()(words), network()(mixed))


def test_given_vectors_are_copied_and_frozen_when_asked() -> None:
    vectors = torch.randn(VOCAB, 7, dtype=torch.float64)
    kept = vectors.clone()
    frozen = network(vectors=vectors, freeze=True)
    assert frozen.embedding.weight.shape == (VOCAB, 7)
    assert torch.equal(frozen.embedding.weight[1:], vectors[1:])
    assert "embedding.weight" not in {n for n, p in frozen.named_parameters() if p.requires_grad}
    assert network(vectors=vectors).embedding.weight.requires_grad
    assert torch.equal(vectors, kept)  # its row of padding too


def test_another_token_may_be_the_padding() -> None:
    model = network(padding_idx=VOCAB - 1)
    sentence = torch.tensor([[0, 3, 0, 1]])
    longer = torch.cat([sentence, torch.full((1, 3), VOCAB - 1)], 1)
    torch.testing.assert_close(model(longer), model(sentence), **EXACT)


def test_networks_stacked_by_vmap_answer_like_each_alone() -> None:
    torch.manual_seed(0)
    models = [TextCNN(VOCAB, CLASSES, embed_dim=4, filters=2).double().eval() for _ in range(3)]
    weights, buffers = stack_module_state(models)  # type: ignore[arg-type]
    tokens = padded([[1, 2], [3, 4, 5, 6, 7, 8]])

    def run(weights: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        output: Tensor = functional_call(models[0], (weights, buffers), (tokens,))
        return output

    together = vmap(run)(weights, buffers)
    torch.testing.assert_close(together, torch.stack([m(tokens) for m in models]), **EXACT)


def test_it_learns_a_phrase_wherever_it_stands() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(1, 9, (256, 10))
    labels = torch.arange(256) % 2
    places = torch.randint(0, 9, (256,))
    for row, label, place in zip(tokens, labels.tolist(), places.tolist(), strict=True):
        row[place : place + 2] = torch.tensor([9, 10] if label else [10, 9])
    model = TextCNN(11, 2, embed_dim=8, windows=(2,), filters=8, dropout=0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tokens[:192]), labels[:192]).backward()
        optimizer.step()
    right = model.eval()(tokens[192:]).argmax(1) == labels[192:]
    assert right.double().mean() > 0.95


def test_cnn_15_refuses_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"`windows` must be at least 1; got 0"):
        TextCNN(9, 2, windows=())
    with pytest.raises(UsageError, match=r"`padding_idx` must lie in \[0, 9\); got 9"):
        TextCNN(9, 2, padding_idx=9)
    with pytest.raises(UsageError, match="`freeze` must be False without `vectors`; got True"):
        TextCNN(9, 2, freeze=True)
    with pytest.raises(UsageError, match=r"`vectors` must have one row .* 9 words; got shape \(8"):
        TextCNN(9, 2, vectors=torch.zeros(8, 4))
    with pytest.raises(UsageError, match=r"`tokens` must be whole numbers .*; got torch.float32"):
        TextCNN(9, 2)(torch.zeros(1, 4))
    with pytest.raises(UsageError, match=r"of shape \(4,\). Look the words up first."):
        TextCNN(9, 2)(torch.zeros(4, dtype=torch.int64))
