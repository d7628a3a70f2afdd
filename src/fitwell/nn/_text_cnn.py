"""A convolutional network for sentences, whose filters look at whole words.

Axes: B batch, T words of the longest sentence, D width of the word vectors, C filters of one size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from ._shapes import check_fraction, check_positive

_BOUND = 0.25
"""Vectors drawn from ±0.25 vary as much as the published ones that are learned beforehand."""


@final
class TextCNN(nn.Module):
    """Classify sentences by the strongest match of short runs of words, wherever they stand.

    For short texts whose class shows in a few phrases, such as kinds of questions or opinions; it
    trains in seconds. It does not know where a phrase stands or what follows it: for that use a
    recurrent network or a transformer. Each filter covers a few words and the whole width of their
    vectors, since neighboring numbers of a vector have nothing to do with each other.

        c[t] = ReLU( b + Σ over i, d of  w[d, i] · e[t + i, d] )   i: the words of the window
        z    = max over t of c[t],  for each filter of each size;  logits = W · dropout(z) + a

    Windows lie within the sentence; one that is shorter than a window is filled up with zeros.
    Padding after the last word never changes the answer.

    Args:
        vocab_size: Number of words, padding included; `tokens` lie in [0, vocab_size).
        out_features: Outputs per sentence, such as one logit per class.
        embed_dim: Width of the word vectors; where `vectors` are given, theirs is taken.
        windows: Words that a filter sees, one number per size of filter.
        filters: Filters of each size.
        dropout: Probability of dropping each of the maxima in training.
        padding_idx: Token that fills sentences up at their end; its vector is zero and stays so.
        vectors: Word vectors to begin from; None draws them at random.
        freeze: Keep `vectors` as they are.

    Shapes:
        tokens: (B, T)
        return: (B, out_features)

    Raises:
        UsageError: A size is below 1, `padding_idx` is no token, `vectors` do not fit, there are
            none to freeze, or `tokens` are not a batch of whole numbers.

    Source: kim2014convolutional, equations 1 to 4.
    Differs: weights of the last layer may grow beyond the published bound of 3 (use weight decay);
        one set of word vectors, not a frozen and a trained one side by side.
    Reduces to: the largest match of single words, whose order does not matter, at `windows=(1,)`.
    Checked against: loops over sentences, filters and windows in NumPy.
    """

    def __init__(
        self,
        vocab_size: int,
        out_features: int,
        *,
        embed_dim: int = 300,
        windows: Sequence[int] = (3, 4, 5),
        filters: int = 100,
        dropout: float = 0.5,
        padding_idx: int = 0,
        vectors: Tensor | None = None,
        freeze: bool = False,
    ) -> None:
        super().__init__()
        check_positive(
            "TextCNN",
            vocab_size=vocab_size,
            out_features=out_features,
            embed_dim=embed_dim,
            windows=min(windows, default=0),
            filters=filters,
        )
        check_fraction("TextCNN", dropout=dropout)
        if not 0 <= padding_idx < vocab_size:
            raise UsageError(
                f"TextCNN: `padding_idx` must lie in [0, {vocab_size}); got {padding_idx}. Keep a"
                " token for padding, such as 0."
            )
        if vectors is None:
            if freeze:
                raise UsageError(
                    "TextCNN: `freeze` must be False without `vectors`; got True. Give the vectors,"
                    " or let them learn."
                )
            vectors = torch.empty(vocab_size, embed_dim).uniform_(-_BOUND, _BOUND)
        elif vectors.ndim != 2 or len(vectors) != vocab_size:
            raise UsageError(
                f"TextCNN: `vectors` must have one row for each of {vocab_size} words; got shape"
                f" {tuple(vectors.shape)}. Add the missing words, or change `vocab_size`."
            )
        vectors = vectors.detach().clone()
        vectors[padding_idx] = 0
        self.padding_idx = padding_idx
        known: Callable[..., nn.Embedding] = nn.Embedding.from_pretrained
        self.embedding = known(vectors, freeze=freeze, padding_idx=padding_idx)
        self.windows = tuple(windows)
        self.convs = nn.ModuleList(
            nn.Conv1d(vectors.shape[1], filters, size, dtype=vectors.dtype) for size in windows
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(filters * len(windows), out_features, dtype=vectors.dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        """Give the outputs of a batch of sentences.

        Args:
            tokens: Words as whole numbers, filled up with `padding_idx` at the end.
        """
        if tokens.ndim != 2 or tokens.is_floating_point() or not tokens.shape[1]:
            raise UsageError(
                "TextCNN: `tokens` must be whole numbers of shape (B, T), T at least 1; got"
                f" {tokens.dtype} of shape {tuple(tokens.shape)}. Look the words up first."
            )
        places = torch.arange(tokens.shape[1], device=tokens.device)
        lengths = torch.where(tokens == self.padding_idx, 0, places + 1).amax(1, keepdim=True)
        words = self.embedding(tokens).transpose(1, 2)
        maxima = []
        for size, conv in zip(self.windows, self.convs, strict=True):
            matches = conv(F.pad(words, (0, max(0, size - tokens.shape[1]))))
            # The first window always counts, so that the shortest sentence has one.
            outside = places[: matches.shape[2]] > (lengths - size).clamp(min=0)
            matches = matches.masked_fill(outside.unsqueeze(1), -torch.inf)
            # ReLU and maximum may be exchanged; this way it has fewer numbers to do.
            maxima.append(matches.amax(2).relu())
        result: Tensor = self.output(self.dropout(torch.cat(maxima, 1)))
        return result
