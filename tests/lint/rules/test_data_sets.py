"""Rules on data sets, workers, samplers and the way loops take batches."""

from __future__ import annotations

import pytest

from ..asked import found_in, rules_in

HEAD = """
import random
import numpy as np
import torch
from itertools import cycle
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info, random_split
from torch.utils.data.distributed import DistributedSampler
"""
GET = "    def __getitem__(self, index):\n        return index\n"
LEN = "    def __len__(self):\n        return 9\n"
LOADED = "\nloader = DataLoader(Own(), batch_size=8, shuffle=True)"


def own(*methods: str, base: str = "Dataset") -> str:
    return f"class Own({base}):\n" + ("".join(methods) or "    pass\n")


BROKEN = [
    own(GET.replace("getitem", "get_item"), LEN) + LOADED,
    own(GET, LEN.replace("__len__", "__lenght__")),
    own(GET) + LOADED,
    own(LEN) + LOADED,
    own(GET) + "\na, b = random_split(Own(), [0.5, 0.5], torch.Generator().manual_seed(0))",
    own(GET.replace("return ", "item = "), LEN) + LOADED,
    own(GET, LEN.replace("return 9", "len(self.x)")) + LOADED,
    own("    def __iter__(self):\n        return iter('ab')\n", base="IterableDataset") + LOADED,
    own(GET, base="Dataset[int]") + LOADED,
]
WHOLE = [
    own(GET, LEN) + LOADED,
    own(),
    "class Base(Dataset):\n" + LEN + own(GET, base="Base") + LOADED,
    own(GET, base="library.PhotoSet") + LOADED,
    own("    def __iter__(self):\n        return iter('ab')\n", base="IterableDataset")
    + "\nloader = DataLoader(Own())",
    own(GET) + "\nloader = DataLoader(Own(), sampler=order)",
    own(GET.replace("return index", "raise NotImplementedError"), LEN) + LOADED,
    own(GET, LEN, "    def _size(self):\n        return 3\n") + LOADED,
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_data_set_without_its_methods_is_found(text: str) -> None:
    assert rules_in(HEAD + text) == ["dataset-contract"]


@pytest.mark.parametrize("text", WHOLE)
def test_data_sets_that_are_whole_or_not_known(text: str) -> None:
    assert rules_in(HEAD + text) == []


def drawing(start: str, item: str, options: str = "num_workers=2") -> str:
    text = own(
        f"    def __init__(self):\n        {start}\n",
        f"    def __getitem__(self, index):\n        return index + {item}\n",
        LEN,
    )
    return f"{text}\nloader = DataLoader(Own(), 8, shuffle=True, {options})"


COPIED = [
    drawing("self.rng = np.random.default_rng(0)", "self.rng.normal()"),
    drawing("self.rng = np.random.RandomState(3)", "self.rng.rand(4)"),
    drawing("self.r = random.Random(0)", "self.r.random()"),
    drawing(
        "self.g = torch.Generator().manual_seed(0)",
        "torch.randn(4, generator=self.g)",
        "num_workers=8",
    ),
    "RNG = np.random.default_rng(0)\n" + drawing("self.n = 9", "RNG.normal()"),
]
APART = [
    drawing("self.n = 9", "np.random.normal()"),
    drawing("self.n = 9", "torch.rand(1)"),
    drawing("self.rng = np.random.default_rng(0)", "self.rng.normal()", "num_workers=0"),
    drawing("self.rng = np.random.default_rng(0)", "self.rng.normal()", "timeout=3"),
    drawing("self.n = np.random.default_rng(0).normal()", "self.n"),
    drawing("self.n = 9", "np.random.default_rng(index).normal()"),
    drawing("self.r = random.Random(0)", "self.r.random()", "num_workers=2, worker_init_fn=seed"),
]


@pytest.mark.parametrize("text", COPIED)
def test_a_generator_that_workers_copy_is_found(text: str) -> None:
    found = found_in(HEAD + text)
    assert [(f.rule, f.severity) for f in found] == [("worker-seeding", "warning")]


@pytest.mark.parametrize("text", APART)
def test_generators_that_workers_do_not_share(text: str) -> None:
    assert rules_in(HEAD + text) == []


def stream(body: str, options: str = "num_workers=4") -> str:
    text = own(f"    def __iter__(self):\n        {body}\n", base="IterableDataset")
    return f"{text}\nloader = DataLoader(Own(), batch_size=8, {options})"


REPEATED = [
    stream("return iter(range(9))"),
    stream("yield from open('a.txt')"),
    stream("for row in self.rows:\n            yield row", "num_workers=2, pin_memory=True"),
    "WORKERS = 3\n" + stream("return iter(self.rows)", "num_workers=WORKERS"),
    own("    def rows(self):\n        return [1]\n", base="IterableDataset").replace("Own", "Base")
    + stream("return iter(self.rows())").replace("(IterableDataset)", "(Base)"),
]
SHARED = [
    stream("return iter(range(9))", "num_workers=0"),
    stream("return iter(range(get_worker_info().id, 9))"),
    stream("while True:\n            yield torch.rand(3)"),
    stream("return iter(range(9))", "num_workers=4, worker_init_fn=part"),
    stream("yield from self.source.shard(self.rank)"),
]


@pytest.mark.parametrize("text", REPEATED)
def test_data_that_every_worker_repeats_are_found(text: str) -> None:
    found = found_in(HEAD + text)
    assert [(f.rule, f.severity) for f in found] == [
        ("iterable-dataset-without-worker-info", "error")
    ]


@pytest.mark.parametrize("text", SHARED)
def test_data_that_workers_share(text: str) -> None:
    assert rules_in(HEAD + text) == []


STEP = """optimizer.zero_grad()
{0}cross_entropy(model(x), y).backward()
{0}optimizer.step()
"""


def epochs(before: str, each: str, loop: str = "for x, y in loader:") -> str:
    first = f"        {each}\n" if each else ""
    step = STEP.format(" " * 12)
    return HEAD + (
        f"def train(model, optimizer, data, n):\n    {before}\n    model.train()\n"
        f"    for epoch in range(n):\n{first}        {loop}\n            {step}"
    )


DISTRIBUTED = (
    "sampler = DistributedSampler(data)\n    loader = DataLoader(data, 8, sampler=sampler)"
)
INLINE = "loader = DataLoader(data, 8, sampler=DistributedSampler(data, seed=3))"
MAYBE = DISTRIBUTED.replace("(data)", "(data) if many else None", 1)
UNTOLD = [
    epochs(DISTRIBUTED, ""),
    epochs(INLINE, ""),
    epochs(MAYBE, ""),
    epochs(DISTRIBUTED, "", "for x, y in loader:").replace(
        "DistributedSampler(", "torch.utils.data.distributed.DistributedSampler("
    ),
    epochs(DISTRIBUTED, "print(epoch)"),
]
TOLD = [
    epochs(DISTRIBUTED, "sampler.set_epoch(epoch)"),
    epochs(INLINE, "loader.sampler.set_epoch(epoch)"),
    epochs(DISTRIBUTED.replace("(data)", "(data, shuffle=False)", 1), ""),
    epochs(DISTRIBUTED, "").replace("import random", "import accelerate"),
    HEAD + "s = DistributedSampler(d)\nval_loader = DataLoader(d, 8, sampler=s)",
]


@pytest.mark.parametrize("text", UNTOLD)
def test_a_sampler_that_is_never_told_the_epoch_is_found(text: str) -> None:
    assert rules_in(text) == ["sampler-without-set-epoch"]


@pytest.mark.parametrize("text", TOLD)
def test_samplers_that_need_no_epoch_or_are_told(text: str) -> None:
    assert rules_in(text) == []


MAKE = "DataLoader(data, 8, shuffle=True)"
USED_UP = [
    epochs(f"loader = iter({MAKE})", ""),
    epochs(f"loader = zip({MAKE}, extra)", ""),
    epochs(f"loader = enumerate({MAKE})", ""),
    epochs("loader = ((a, b) for a, b in data)", ""),
    epochs("loader = map(prepare, data)", "", "for i, (x, y) in enumerate(loader):"),
    "def pairs(d):\n    for a in d:\n        yield a, a\n" + epochs("loader = pairs(data)", ""),
]
FRESH = [
    epochs(f"loader = {MAKE}", ""),
    epochs("", "loader = zip(data, extra)"),
    epochs(f"batches = {MAKE}", "loader = iter(batches)"),
    epochs(f"loader = list(enumerate({MAKE}))", ""),
    epochs(f"loader = iter({MAKE})", "").replace(
        "optimizer.step()", "optimizer.step()\n            if done(x):\n                break"
    ),
]


@pytest.mark.parametrize("text", USED_UP)
def test_an_iterator_of_one_epoch_is_found(text: str) -> None:
    assert rules_in(text) == ["iterator-exhausted"]


@pytest.mark.parametrize("text", FRESH)
def test_what_can_be_gone_through_again(text: str) -> None:
    assert rules_in(text) == []


REMADE = [
    epochs("", "loader = DataLoader(data, 8, shuffle=True, num_workers=2)"),
    epochs("", "loader = DataLoader(data, 8, shuffle=True, num_workers=n - 1)"),
    epochs("", "loader = DataLoader(data, 8, True, num_workers=n)"),
    epochs("", "loader = torch.utils.data.DataLoader(data, 8, shuffle=True, num_workers=2)"),
    epochs("", "", "for x, y in DataLoader(data, 8, shuffle=True, num_workers=2):"),
]
NEEDED = [
    epochs("", "loader = DataLoader(data, 8, shuffle=True, num_workers=0)"),
    epochs("", "data = resample(epoch)\n        loader = DataLoader(data, 8, shuffle=True)"),
    epochs("", "loader = DataLoader(data, 8 * (epoch + 1), shuffle=True)"),
    epochs("", "data.grow()\n        loader = DataLoader(data, 8, shuffle=True)"),
    HEAD + "for fold in folds:\n    loader = DataLoader(data, 8, shuffle=True, num_workers=2)",
]


@pytest.mark.parametrize("text", REMADE)
def test_a_loader_that_is_made_in_every_epoch_is_a_hint(text: str) -> None:
    found = found_in(text.replace("    \n", ""))
    assert [(f.rule, f.severity) for f in found] == [("loader-made-in-loop", "hint")]


@pytest.mark.parametrize("text", NEEDED)
def test_a_loader_that_is_another_in_every_epoch(text: str) -> None:
    assert rules_in(text.replace("    \n", "")) == []


def one_batch(before: str, taken: str) -> str:
    return HEAD + (
        f"def train(model, optimizer, data, n):\n    {before}\n    model.train()\n"
        f"    for step in range(n):\n        {taken}\n        {STEP.format(' ' * 8)}"
    )


FIRST = "x, y = next(iter(loader))"
SAME_BATCH = [
    one_batch("loader = DataLoader(data, 8)", FIRST),
    one_batch("loader = DataLoader(data, 8, shuffle=False)", FIRST),
    one_batch("loader = DataLoader(data, 8)", "b = next(iter(loader))\n        x, y = b"),
    one_batch("train_loader = DataLoader(data, 8)", "x, y = next(iter(train_loader))"),
    one_batch("loader = DataLoader(data, 8)", FIRST).replace("for step in range(n)", "while n"),
]
ANOTHER_BATCH = [
    one_batch("loader = iter(cycle(DataLoader(data, 8, shuffle=True)))", "x, y = next(loader)"),
    one_batch("loader = DataLoader(data, batch_size=len(data))", FIRST),
    one_batch(f"loader = DataLoader(data, 8)\n    {FIRST}", "print(n)"),
    epochs(f"loader = {MAKE}", "example, _ = next(iter(loader))"),
    one_batch(
        "test_loader = DataLoader(data.held, 8)\n    x, y = data.all()",
        "show(next(iter(test_loader)))",
    ),
]


@pytest.mark.parametrize("text", SAME_BATCH)
def test_the_first_batch_again_and_again_is_found(text: str) -> None:
    found = found_in(text)
    assert [(f.rule, f.severity) for f in found] == [("next-iter-loader-in-loop", "warning")]


@pytest.mark.parametrize("text", ANOTHER_BATCH)
def test_one_batch_that_is_meant(text: str) -> None:
    assert rules_in(text) == []


def test_a_new_pass_for_each_batch_is_a_hint() -> None:
    found = found_in(one_batch(f"loader = {MAKE}", FIRST))
    assert [(f.rule, f.severity) for f in found] == [("next-iter-loader-in-loop", "hint")]
