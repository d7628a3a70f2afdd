"""`fitwell probe`: a run as what probes take, and their answers kept beside it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from fitwell.cli import main
from fitwell.core.errors import RunError, UnknownName, UsageError
from fitwell.data import Batches
from fitwell.doctor import Twin, state_digest
from fitwell.report import render_report
from fitwell.train import Member, Run, Trainer
from fitwell.verbs._probe import probe
from fitwell.verbs._probe._subject import Subject
from fitwell.verbs._probe._table import PROBES

from .runs import quick


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "probes"
    }


def test_all_that_do_not_train_are_asked_and_the_run_stays_as_it_is(
    prices: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "prices"
    shutil.copytree(prices.folder, folder)
    before, state = digest(folder), state_digest()
    found = probe("all", folder, rows=64, quiet=True)
    assert digest(folder) == before
    assert state_digest() == state
    quick_ones = [name for name, one in PROBES.items() if one.kind in ("model", "data")]
    assert [one.name for one in found.findings] == quick_ones
    asked = {one.name: one for one in found.findings if one.result is not None}
    # Targets of this table are numbers: what is about classes says so.
    refused = {one.name: one.why for one in found.findings if one.result is None}
    assert {"label_noise", "label_order", "label_permutation"} <= set(refused)
    assert all("class" in why for why in refused.values())
    for name, one in asked.items():
        kept = json.loads((folder / "probes" / f"{name}.json").read_text())
        assert kept["conclusion"] == str(one.result)
        assert (folder / "probes" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = render_report(folder)
    assert str(asked["sanity_step"].result) in page
    assert page.count('class="card probe"') == len(asked)


def test_the_first_weights_and_the_kept_ones(digits: Run) -> None:
    subject = Subject.of(digits.folder, owner="test")
    kept, again = subject.trained().state_dict(), digits.model().state_dict()
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    one, other = subject.first().state_dict(), subject.first().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], kept[name]) for name in one)


def test_a_twin_as_it_is_is_the_run_itself(prices: Run) -> None:
    subject = Subject.of(prices.folder, owner="test")
    member = subject.build(Twin(), 0)
    assert isinstance(member, Member)
    trainer = Trainer(
        member.model,
        member.objective,
        member.optimizer,
        schedule=member.schedule,
        grad_clip_norm=member.grad_clip_norm,
    )
    trainer.fit(member.train, member.valid, epochs=member.epochs)
    said = [line["train"]["loss"] for line in prices.metrics() if line["kind"] == "epoch"]
    assert [epoch["train"]["loss"] for epoch in trainer.history.epochs] == pytest.approx(said)


def test_a_twin_changes_what_it_says(digits: Run) -> None:
    subject = Subject.of(digits.folder, owner="test", epochs=2)
    plain = subject.build(Twin(), 0)
    twin = Twin(
        name="changed",
        changes={
            "lr": lambda lr: lr * 10,
            "weight_decay": lambda _: 0.0,
            "batch_size": lambda size: size // 2,
            "epochs": lambda epochs: epochs + 1,
            "examples": lambda examples: examples.select(range(40)),
        },
    )
    member = subject.build(twin, 1)
    assert not set(twin.changes) - twin.asked
    assert member.base_rates[0] == pytest.approx(10 * plain.base_rates[0])
    assert all(group["weight_decay"] == 0 for group in member.optimizer.param_groups)
    assert member.epochs == 3
    assert isinstance(member.train, Batches)
    assert isinstance(plain.train, Batches)
    assert len(member.train.examples) == 40
    assert member.train.batch_size == plain.train.batch_size // 2
    first = next(iter(plain.model.parameters()))
    assert not torch.equal(first, next(iter(member.model.parameters())))  # another seed


def test_new_data_is_compared_with_the_training_part(prices: Run, house_file: Path) -> None:
    found = probe("duplicates", prices.folder, against=str(house_file), quiet=True)
    (one,) = found.findings
    assert one.found is True  # it is the file that the run was trained on
    assert "rows of" in str(found)


def test_the_list_names_all_probes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in PROBES)
    assert main(["probe", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(PROBES)


def test_as_a_user_would_type_it(
    prices: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["probe", "sanity-step,modes", str(prices.folder), "--output", str(tmp_path / "out")]
    assert main([*words, "--quiet", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["probe"] for one in said["probes"]] == ["sanity_step", "modes"]
    assert said["probes"][0]["found"] is False
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "sanity_step.json",
        "sanity_step.png",
        "modes.json",
        "modes.png",
    }


def test_wrong_input_is_explained(prices: Run, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no probe named 'mode'; nearest: 'modes'"):
        probe("mode", prices.folder)
    with pytest.raises(UsageError, match="`run` must be the folder of a run; got none"):
        probe("modes")
    with pytest.raises(RunError, match="no run"):
        probe("modes", tmp_path)
    with pytest.raises(UsageError, match="`rows` must be at least 1; got 0"):
        probe("modes", prices.folder, rows=0)
    with pytest.raises(UsageError, match="`against` must be a part of the data"):
        probe("duplicates", prices.folder, against="nowhere.csv")
    assert not (tmp_path / "probes").exists()
    # Asked alone, what does not fit is an error, and nothing is kept.
    with pytest.raises(UsageError, match="class"):
        probe("label_order", prices.folder, output=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_model_of_the_users_own_must_be_given_again(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, generator=generator)
    data = (x.numpy(), (x[:, 0] > 0).long().numpy())
    run = quick(data, model=net, run=tmp_path / "own")
    with pytest.raises(UsageError, match="data in memory; give it again: probe"):
        probe("modes", run.folder, model=net)
    with pytest.raises(UsageError, match="model of your own"):
        probe("modes", run.folder, data=data)
    found = probe("modes", run.folder, data=data, model=net, quiet=True)
    assert found.findings[0].result is not None
