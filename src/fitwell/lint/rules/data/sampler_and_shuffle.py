"""Options of a loader that exclude each other."""

from __future__ import annotations

from collections.abc import Iterator

from ..._data._loaders import UNKNOWN, Loader, loaders
from ..._model._file import File
from ..._rule import Found, Rule


def check(file: File) -> Iterator[Found]:
    """Look for a sampler next to options that it takes the place of.

    Args:
        file: The file.
    """
    for loader in loaders(file):
        sampler, others = _clash(loader)
        if others:
            yield Found(
                loader.where(others[0]),
                f"`DataLoader` raises: `{sampler}` is given, and `{others[0]}` too.",
                f"Leave `{others[0]}` out: `{sampler}` decides that.",
            )


def _clash(loader: Loader) -> tuple[str, list[str]]:
    """Give the sampler that is surely given, and the options that it excludes."""
    if loader.is_given("batch_sampler"):
        size = loader.option("batch_size")
        others = ["batch_size"] if size not in (None, UNKNOWN, 1) else []
        others += [one for one in ("shuffle", "drop_last") if loader.option(one) is True]
        return "batch_sampler", [*others, *(["sampler"] if loader.is_given("sampler") else [])]
    shuffles = loader.option("shuffle") is True and loader.is_given("sampler") is True
    return "sampler", ["shuffle"] if shuffles else []


RULE = Rule(
    name="sampler-and-shuffle",
    severity="error",
    title="A loader is given a sampler and `shuffle=True`",
    why=(
        "The sampler decides the order, and so `DataLoader` refuses `shuffle=True` next to it"
        " with a ValueError, when the loader is made. The same holds for `batch_sampler` with"
        " `batch_size`, `shuffle`, `sampler` or `drop_last`."
    ),
    fix="Give the sampler alone; for a random order let the sampler shuffle.",
    bad="""\
from torch.utils.data import DataLoader, WeightedRandomSampler

def make_loader(train_set, weights):
    sampler = WeightedRandomSampler(weights, num_samples=len(weights))
    return DataLoader(train_set, batch_size=64, sampler=sampler, shuffle=True)
""",
    good="""\
from torch.utils.data import DataLoader, WeightedRandomSampler

def make_loader(train_set, weights):
    sampler = WeightedRandomSampler(weights, num_samples=len(weights))
    return DataLoader(train_set, batch_size=64, sampler=sampler)
""",
    source="PyTorch docs, torch.utils.data.DataLoader: sampler and shuffle are mutually exclusive.",
    check=check,
)
