"""Faults that the course shows or warns of, in programs as it writes them."""

from __future__ import annotations

import pytest

from .asked import found_in, rules_in

NET = """\
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class MyModel(nn.Module):
    def __init__(self):
        super(MyModel, self).__init__()
        self.layer1 = nn.Linear(10, 32)
        self.layer2 = nn.Sigmoid()
        self.layer3 = nn.Linear(32, 4)

    def forward(self, x):
        out = self.layer1(x)
        out = self.layer2(out)
        return self.layer3(out)


"""
TRAIN = (
    NET
    + """\
def fit(dataset, config):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tr_set = DataLoader(dataset, 16, shuffle=True)
    model = MyModel().to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for epoch in range(config["n_epochs"]):
        model.train()
        for x, y in tr_set:
            optimizer.zero_grad()
            x, y = x.to(device), y.to(device)
            pred = model(x)
            loss = criterion(pred, y)
            loss.backward()
            optimizer.step()
"""
)
EVALUATE = """\
    dv_set = DataLoader(held_out, 16, shuffle=False)
    model.eval()
    total_loss = 0
    for x, y in dv_set:
        x, y = x.to(device), y.to(device)
        with torch.no_grad():
            pred = model(x)
            loss = criterion(pred, y)
        total_loss += loss.cpu().item() * len(x)
    avg_loss = total_loss / len(dv_set.dataset)
    return avg_loss
"""
WHOLE = TRAIN.replace("(dataset, config)", "(dataset, held_out, config)") + EVALUATE


def test_the_programs_themselves_are_clean() -> None:
    assert rules_in(TRAIN) == []
    assert rules_in(WHOLE) == []


def changed(old: str, new: str, text: str = WHOLE) -> str:
    assert old in text
    return text.replace(old, new)


def test_pt_15_the_listing_of_the_notes_with_a_trailing_comma() -> None:
    text = changed("nn.Linear(10, 32)", "nn.Linear(10, 32),")
    (finding,) = found_in(text)
    assert (finding.rule, finding.line) == ("trailing-comma", 9)
    assert finding.edits


def test_pt_15_the_same_after_a_formatter_has_put_brackets_around_it() -> None:
    text = changed("nn.Linear(10, 32)", "(nn.Linear(10, 32),)")
    assert [one.rule for one in found_in(text) if one.severity == "error"] == ["trailing-comma"]


def test_pt_19_the_listing_of_the_notes_with_the_average_inside_the_loop() -> None:
    text = changed(
        "    avg_loss = total_loss / len(dv_set.dataset)\n",
        "        avg_loss = total_loss / len(dv_set.dataset)\n",
    )
    (finding,) = found_in(text)
    assert (finding.rule, finding.severity) == ("average-inside-loop", "warning")
    assert finding.line == 1 + text[: text.index("avg_loss")].count("\n")


def test_pt_19_the_mean_of_batch_means_with_a_short_last_batch() -> None:
    text = changed(".item() * len(x)", ".item()").replace("len(dv_set.dataset)", "len(dv_set)")
    assert rules_in(text) == ["mean-of-batch-means"]


def test_pt_08_a_shuffled_test_loader() -> None:
    text = changed("held_out, 16, shuffle=False", "test_set, 16, shuffle=True")
    assert rules_in(text.replace("held_out", "test_set")) == ["shuffle-on-test-loader"]


def test_pt_16_a_loss_with_its_arguments_swapped() -> None:
    assert rules_in(
        changed("criterion(pred, y)\n            loss.b", "criterion(y, pred)\n            loss.b")
    ) == ["swapped-loss-arguments"]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("            optimizer.zero_grad()\n", "", "missing-zero-grad"),
        (
            "            loss.backward()\n            optimizer.step()\n",
            "            optimizer.step()\n            loss.backward()\n",
            "step-before-backward",
        ),
        ("loss.backward()\n", "loss.backward()\n            loss.backward()\n", "backward-twice"),
    ],
)
def test_pt_17_the_order_of_the_calls(old: str, new: str, rule: str) -> None:
    assert rules_in(changed(old, new)) == [rule]


def test_cls_06_softmax_before_cross_entropy() -> None:
    text = changed("return self.layer3(out)", "return torch.softmax(self.layer3(out), dim=1)")
    assert set(rules_in(text)) == {"softmax-before-cross-entropy"}


def test_intro_02_squared_error_of_a_probability() -> None:
    text = changed(
        "return self.layer3(out)", "return torch.softmax(self.layer3(out), dim=1)", TRAIN
    )
    text = changed("nn.CrossEntropyLoss()", "nn.MSELoss()", text)
    text = changed(
        "criterion(pred, y)", "criterion(pred, nn.functional.one_hot(y, 4).float())", text
    )
    assert rules_in(text) == ["mse-on-probabilities"]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("    model.eval()\n", "", "missing-eval"),
        ("        with torch.no_grad():\n", "        if True:\n", "missing-no-grad"),
    ],
)
def test_pt_21_the_mode_and_the_graph_of_an_evaluation(old: str, new: str, rule: str) -> None:
    text = changed("nn.Sigmoid()", "nn.Dropout(0.5)")
    assert rules_in(changed(old, new, text)) == [rule]


def test_pt_27_labels_that_are_not_long() -> None:
    assert rules_in(
        changed(
            "criterion(pred, y)\n            loss.b", "criterion(pred, y.int())\n            loss.b"
        )
    ) == ["labels-not-long"]


def test_pt_12_numbers_of_another_type() -> None:
    use = "model = MyModel()\nout = model(torch.from_numpy(np.zeros((3, 10))))\n"
    assert rules_in(f"{NET}import numpy as np\n\n{use}") == ["dtype-mixed"]


def test_pt_25_dimensions_that_do_not_match() -> None:
    assert rules_in(changed("nn.Linear(32, 4)", "nn.Linear(23, 4)")) == ["layers-do-not-fit"]


def test_pt_23_an_argument_that_must_be_named() -> None:
    text = changed(
        "        out = self.layer2(out)\n",
        "        out = nn.functional.dropout(self.layer2(out), self.training)\n",
    )
    assert rules_in(text) == ["keyword-only-argument"]


def test_pt_07_a_data_set_without_its_length() -> None:
    data = """class MyDataset(Dataset):
    def __init__(self, file):
        self.data = file

    def __getitem__(self, index):
        return self.data[index]


loader = DataLoader(MyDataset([1, 2]), batch_size=2, shuffle=True)
"""
    assert rules_in(NET + data) == ["dataset-contract"]


def test_tune_15_selection_by_the_test_set() -> None:
    text = """\
    best = 1e9
    for epoch in range(3):
        test_loss = evaluate(model, test_loader)
        if test_loss < best:
            best = test_loss
            torch.save(model.state_dict(), "best.ckpt")
"""
    program = f"import torch\nfrom engine import evaluate\n\ndef main(model, test_loader):\n{text}"
    engine = """
    import torch

    @torch.no_grad()
    def evaluate(model, loader):
        model.eval()
        return sum(model(x).sum().item() for x in loader)
    """
    assert rules_in(program, engine=engine) == ["test-set-in-selection"]
    assert rules_in(program.replace("test_", "valid_"), engine=engine) == []
