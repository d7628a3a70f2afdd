"""Rules on the options of loaders: what is shuffled, dropped, sampled."""

from __future__ import annotations

import pytest

from ..asked import found_in, rules_in

HEAD = """
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
"""
EPOCHS = """
def train(model, optimizer, loader):
    model.train()
    for epoch in range(9):
        for x, y in loader:
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
"""
SHUFFLED_TEST = [
    "def make(a, b):\n    return DataLoader(a, 8, shuffle=True), DataLoader(b.test_set, 8, True)",
    "def val_dataloader(self):\n    return DataLoader(self.data, batch_size=8, shuffle=True)",
    "kw = dict(batch_size=8, shuffle=True)\nvalid_dl = DataLoader(valid_ds, **kw)",
    "def get(data, shuffle=True):\n    return DataLoader(data, 8, shuffle=shuffle)\n"
    "train_loader = get(a)\ntest_loader = get(b)",
    "def get(data, split):\n    return DataLoader(data, 8, shuffle=split != 'test')\n"
    "val_loader = get(a, 'val')\ntest_loader = get(b, 'test')",
    "loaders = {'train': DataLoader(a, 8, shuffle=True), 'val': DataLoader(b, 8, shuffle=True)}",
    "SHUFFLE = True\nself.test_loader = DataLoader(data, 8, shuffle=SHUFFLE)",
]
NOT_SHUFFLED_TEST = [
    "def get(data, train):\n    if train:\n        return DataLoader(data, 8, shuffle=True)\n"
    "    return DataLoader(data, 8)\ntrain_loader = get(a, True)\ntest_loader = get(b, False)",
    "def get(data, train):\n    return DataLoader(data, 8, shuffle=train)\n"
    "train_loader = get(a, True)\ntest_loader = get(b, train=False)",
    "loaders = {s: DataLoader(d[s], 8, shuffle=s == 'train') for s in ('train', 'val')}",
    "train_eval_loader = DataLoader(train_set, 8, shuffle=True)",
    "test_loader = DataLoader(test_set, 8, shuffle=args.shuffle)",
    "loader = DataLoader(data, 8, shuffle=True)",
    "test_loader = DataLoader(test_set, 8, shuffle=True)\nimages, labels = next(iter(test_loader))",
    "kw = {'batch_size': 8}\nkw.update(cuda_kw)\ntest_loader = DataLoader(test_set, **kw)",
    "pretrain_loader = DataLoader(contest_set, 8, shuffle=True)",
]


@pytest.mark.parametrize("text", SHUFFLED_TEST)
def test_a_shuffled_test_loader_is_found(text: str) -> None:
    assert rules_in(HEAD + text) == ["shuffle-on-test-loader"]


@pytest.mark.parametrize("text", NOT_SHUFFLED_TEST)
def test_other_loaders_may_shuffle(text: str) -> None:
    assert rules_in(HEAD + text) == []


def test_the_loaders_of_two_files_are_told_apart() -> None:
    data = HEAD + (
        "def loaders(root):\n    return DataLoader(TensorDataset(root.x), 8, shuffle=True),"
        " DataLoader(root.data, 8, shuffle=True)\n"
    )
    text = "import torch\nfrom data import loaders\ntrain_loader, test_loader = loaders('x')\n"
    text += "def evaluate(model):\n    model.eval()\n    right = 0\n    with torch.no_grad():\n"
    text += "        for x, y in test_loader:\n            right += (model(x) == y).sum().item()\n"
    text += "    return right\n"
    found = [(one.file, one.rule) for one in found_in(text, data=data)]
    assert found == [("data.py", "shuffle-on-test-loader")]


def test_only_a_hint_where_one_line_makes_all_loaders() -> None:
    text = "loaders = {s: DataLoader(d[s], 8, shuffle=True) for s in ['train', 'val']}"
    assert [(f.rule, f.severity) for f in found_in(HEAD + text)] == [
        ("shuffle-on-test-loader", "hint")
    ]


SMALL = "loader = DataLoader(TensorDataset(x, y), batch_size=8"
UNSHUFFLED = [
    "def train_dataloader(self):\n    return DataLoader(self.d, 8, shuffle=False)",
    f"{SMALL})\ntrain(model, optimizer, loader)",
    f"{SMALL}, shuffle=False)\ntrain(model, optimizer, loader)",
    "def get(data, shuffle=False):\n    return DataLoader(data, 8, shuffle=shuffle)\n"
    "train(model, optimizer, get(TensorDataset(x, y)))",
    "train_set, val_set = torch.utils.data.random_split(d, [9, 1], generator=g)\n"
    "train(model, optimizer, DataLoader(train_set, 8))",
    "class Both(torch.utils.data.Dataset):\n    def __len__(self):\n        return 9\n"
    "    def __getitem__(self, index):\n        return index, index\n"
    "kw = {'batch_size': 8}\nmine = DataLoader(Both(), **kw)\ntrain(model, optimizer, mine)",
]
SHUFFLED = [
    f"{SMALL}, shuffle=True)\ntrain(model, optimizer, loader)",
    f"{SMALL}, sampler=sampler)\ntrain(model, optimizer, loader)",
    "data = TensorDataset(x, y)\nloader = DataLoader(data, batch_size=len(data))\n"
    "train(model, optimizer, loader)",
    "class Lines(torch.utils.data.IterableDataset):\n    def __iter__(self):\n"
    "        return iter(range(9))\ntrain(model, optimizer, DataLoader(Lines(), 8))",
    f"{SMALL})\ndef features(model):\n    model.eval()\n    with torch.no_grad():\n"
    "        return [model(x) for x, y in loader]",
    "train_loader = get_loader('train')\ntrain(model, optimizer, train_loader)",
]


@pytest.mark.parametrize("text", UNSHUFFLED)
def test_training_data_that_are_not_shuffled_are_found(text: str) -> None:
    found = found_in(HEAD + EPOCHS + text)
    assert [(f.rule, f.severity) for f in found] == [("training-loader-not-shuffled", "warning")]


@pytest.mark.parametrize("text", SHUFFLED)
def test_training_data_with_an_order_of_their_own(text: str) -> None:
    assert rules_in(HEAD + EPOCHS + text) == []


def test_a_series_is_no_more_than_a_hint() -> None:
    text = (
        "class WindowSeries(torch.utils.data.Dataset):\n    def __len__(self):\n        return 9\n"
    )
    text += "    def __getitem__(self, i):\n        return i, i\n"
    text += "train_loader = DataLoader(WindowSeries(), 8)\ntrain(model, optimizer, train_loader)"
    assert [f.severity for f in found_in(HEAD + EPOCHS + text)] == ["hint"]


DROPS = [
    "test_loader = DataLoader(test_set, 8, drop_last=True)",
    "def get(d, split):\n    return DataLoader(d, 8, split == 'train', drop_last=True)\n"
    "train_loader = get(a, 'train')\nval_loader = get(b, 'val')",
    "kw = {'batch_size': 8, 'drop_last': True}\nval_loader = DataLoader(data, **kw)",
    "loaders['valid'] = DataLoader(data, 8, False, drop_last=True)",
    "def test_dataloader(self):\n    return DataLoader(self.d, 8, drop_last=True)",
]
KEEPS = [
    "train_loader = DataLoader(d, 8, shuffle=True, drop_last=True)",
    "test_loader = DataLoader(test_set, 8, drop_last=False)",
    "loader = DataLoader(data, 8, drop_last=True)",
    "test_loader = DataLoader(test_set, 8, drop_last=args.drop)",
    "for s in ('train', 'val'):\n    d[s] = DataLoader(d[s], 8, drop_last=s == 'train')",
]


@pytest.mark.parametrize("text", DROPS)
def test_a_dropped_batch_of_an_evaluation_is_found(text: str) -> None:
    assert rules_in(HEAD + text) == ["drop-last-on-evaluation"]


@pytest.mark.parametrize("text", KEEPS)
def test_other_batches_may_be_dropped(text: str) -> None:
    assert rules_in(HEAD + text) == []


SAMPLER = "from torch.utils.data import RandomSampler, BatchSampler\n"
CLASHES = [
    "DataLoader(d, 8, sampler=RandomSampler(d), shuffle=True)",
    "s = RandomSampler(d)\nl = DataLoader(d, 8, True, s)",
    "s = RandomSampler(d)\nDataLoader(d, batch_sampler=BatchSampler(s, 8, True), batch_size=8)",
    "s = BatchSampler(RandomSampler(d), 8, True)\nDataLoader(d, batch_sampler=s, shuffle=True)",
    "def f(d, s):\n    return DataLoader(d, sampler=s, shuffle=True)\nf(d, RandomSampler(d))",
]
NO_CLASHES = [
    "DataLoader(d, 8, sampler=RandomSampler(d))",
    "s = None\nif many:\n    s = RandomSampler(d)\nDataLoader(d, 8, sampler=s, shuffle=s is None)",
    "s = RandomSampler(d) if many else None\nDataLoader(d, 8, sampler=s, shuffle=True)",
    "DataLoader(d, batch_sampler=BatchSampler(RandomSampler(d), 8, True))",
    "DataLoader(d, 8, sampler=None, shuffle=True)",
    "DataLoader(d, 8, sampler=RandomSampler(d), shuffle=False)",
]


@pytest.mark.parametrize("text", CLASHES)
def test_options_that_exclude_each_other_are_found(text: str) -> None:
    assert rules_in(HEAD + SAMPLER + text) == ["sampler-and-shuffle"]


@pytest.mark.parametrize("text", NO_CLASHES)
def test_options_that_may_go_together(text: str) -> None:
    assert rules_in(HEAD + SAMPLER + text) == []


def predicts(loader: str, body: str, after: str) -> str:
    return HEAD + (
        f"def predict(model, data, writer, path):\n    loader = {loader}\n    model.eval()\n"
        f"    kept = []\n    with torch.no_grad():\n        for {body}\n    {after}\n"
    )


TAKES = "x in loader:\n            kept.append(model(x))"
WRITTEN = [
    predicts("DataLoader(data, 8, shuffle=True)", TAKES, "writer.writerows(kept)"),
    predicts("DataLoader(data, 8, True)", TAKES, "np.savetxt(path, kept)"),
    predicts(
        "DataLoader(data, 8, shuffle=True)",
        "x, _ in loader:\n            kept.extend(model(x).tolist())",
        "pd.DataFrame(kept).to_csv(path)",
    ),
    predicts(
        "DataLoader(data, 8, shuffle=True)",
        "i, x in enumerate(loader):\n            kept.append(model(x))",
        "writer.writerow(kept)",
    ),
    predicts("DataLoader(data.test, 8, shuffle=True)", TAKES, "writer.writerows(kept)"),
]
IN_ORDER = [
    predicts("DataLoader(data, 8)", TAKES, "writer.writerows(kept)"),
    predicts("DataLoader(data, 8, shuffle=True)", TAKES, "return torch.cat(kept).mean()"),
    predicts(
        "DataLoader(data, 8, shuffle=True)",
        "x, names in loader:\n            kept.append((names, model(x)))",
        "writer.writerows(kept)",
    ),
    predicts(
        "DataLoader(data, 8, shuffle=True)",
        "b in loader:\n            kept.append((b['id'], model(b['x'])))",
        "writer.writerows(kept)",
    ),
    predicts("make(data)", TAKES, "writer.writerows(kept)"),
]


@pytest.mark.parametrize("text", WRITTEN)
def test_predictions_of_a_shuffled_loader_are_found(text: str) -> None:
    assert rules_in(text) == ["predictions-shuffled"]


@pytest.mark.parametrize("text", IN_ORDER)
def test_predictions_that_keep_their_names_or_order(text: str) -> None:
    assert rules_in(text) == []
