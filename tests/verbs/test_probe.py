"""`fitwell probe`: a run as what probes take, and their answers kept beside it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import fitwell
from fitwell.cli import main
from fitwell.core.errors import RunError, UnknownName, UsageError
from fitwell.data import Batches
from fitwell.doctor import Twin, state_digest
from fitwell.report import render_report, render_sweep
from fitwell.train import Run
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
    assert [part.part for part in one.result.overlaps] == [house_file.name]


def test_a_part_that_is_compared_is_compared_once(prices: Run, tmp_path: Path) -> None:
    parts = {}
    for against in (None, "test"):
        found = probe("duplicates", prices, against=against, output=tmp_path, quiet=True)
        parts[against] = [part.part for part in found.findings[0].result.overlaps]
    assert parts == {None: ["valid", "test"], "test": ["test"]}


def test_the_bound_is_of_all_training_examples(digits: Run, tmp_path: Path) -> None:
    found = probe("generalization_bound", digits, output=tmp_path, quiet=True).findings[0].result
    assert found.n == digits.manifest["data"]["counts"]["train"]
    share = fitwell.evaluate(digits).parts["train"]["accuracy"]
    assert found.train_error == pytest.approx(1 - share)


def test_the_noise_scale_is_compared_with_a_step(tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", batch_size=32, accumulate=2, epochs=1)
    found = probe("gradient_noise_scale", run, quiet=True).findings[0].result
    assert found.control == 64
    with pytest.raises(
        UsageError, match=r"`rows` must be at least 128 for .*; got 100. Use --rows"
    ):
        probe("gradient_noise_scale", run, rows=100, quiet=True)


def test_the_seeds_are_compared_by_the_metric_of_the_run(tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", epochs=1, smoke=True, metric="accuracy")
    found = probe("seed_spread", run, seeds=2, quiet=True).findings[0].result
    assert found.metric == "accuracy"


def test_what_is_timed_is_the_step_of_the_run(tmp_path: Path) -> None:
    kept = {"augment": "Crop(padding=1)", "precision": "bf16", "penalty": "L2(0.001)"}
    run = quick("digits", run=tmp_path / "run", model="CNN(widths=(4,))", epochs=1, **kept)
    state = state_digest()
    found = probe("timing", run, quiet=True).findings[0].result
    assert state_digest() == state
    assert found.seconds > 0


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


IDLE: list[tuple[str, dict[str, Any], str]] = [
    ("modes", {"against": "test"}, "`against` must be left out for modes, .*; got 'test'"),
    ("sharpness", {"epochs": 3}, "`epochs` must be left out for sharpness, .*; got 3. .*capacity"),
    ("capacity", {"rows": 5}, "`rows` must be left out for capacity, .*; got 5"),
    ("timing", {"rows": 5}, "`rows` must be left out for timing, .*; got 5"),
    ("modes,sharpness", {"seeds": 3}, "`seeds` must be left out for modes, sharpness, which"),
    ("selection", {"device": "cpu"}, "`device` must be left out for selection, .*; got 'cpu'"),
    ("", {}, "`name` must be that of a probe; got ''. List them with: fitwell probe"),
]


@pytest.mark.parametrize(("name", "given", "message"), IDLE)
def test_what_would_do_nothing_is_refused(
    prices: Run, name: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=f"^probe: {message}"):
        probe(name, prices.folder, quiet=True, **given)


def test_parts_that_are_not_there_are_told_from_files(tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", epochs=1, smoke=True, test=0.0)
    subject = Subject.of(run, owner="probe", against="test")
    if subject.splits.test is not None:
        subject = replace(subject, splits=replace(subject.splits, test=None))
    with pytest.raises(UsageError, match=r"run must have a part 'test' for this; .* has train and"):
        subject.other()


def test_the_selection_is_among_all_members_of_a_sweep(tmp_path: Path) -> None:
    few: dict[str, Any] = {"model": "MLP(hidden=(8,))", "epochs": 1, "quiet": True}
    over = {"lr": [0.001, 0.01], "seed": "each(0, 1)"}
    sweep = fitwell.sweep("digits", over=over, method="grid", group=tmp_path / "s", **few)
    report = probe("selection", sweep.group, quiet=True)
    found = report.findings[0].result
    rows = fitwell.Group.open(sweep.group).result["members"]
    assert found.candidates == len(rows) == 4
    assert found.scores == tuple(sorted((row["valid"] for row in rows), reverse=True))
    run = Run.open(sweep.group / "members" / rows[0]["member"])
    assert found.n == run.manifest["data"]["counts"]["valid"]
    assert str(found) in render_sweep(sweep.group)
    with pytest.raises(UsageError, match=r"`run` must be a run for modes; .*Name one of its"):
        probe("modes", sweep.group)
    with pytest.raises(UsageError, match=r"`run` must be a sweep for selection; .*fitwell sweep"):
        probe("selection", run)
    folder = tmp_path / "e"
    fitwell.ensemble("digits", members=2, group=folder, report=False, smoke=True, **few)
    with pytest.raises(UsageError, match=r"finished sweep over classifiers .* got .*, ensemble"):
        probe("selection", folder)
    by_loss = tmp_path / "l"
    fitwell.sweep(
        *("digits",), over={"lr": [0.01]}, method="grid", group=by_loss, metric="loss", **few
    )
    with pytest.raises(UsageError, match=r"by their accuracy, .* got .*, a sweep by loss"):
        probe("selection", by_loss)


def test_a_module_of_the_users_stays_as_it_is(tmp_path: Path) -> None:
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 2)
    )
    x = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))
    data = (x.numpy(), (x[:, 0] > 0).long().numpy())
    run = quick(data, model=net, run=tmp_path / "own", batch_size=8)
    with torch.no_grad():
        net[0].weight.add_(1.0)  # the user went on with it
    before = state_digest(net)
    first = ("sanity_step", "expected_initial_loss", "gradient_flow", "overfit_one_batch")
    now = ("timing", "modes", "generalization_gap")
    found = probe(",".join((*first, *now)), run.folder, data=data, model=net, quiet=True)
    assert state_digest(net) == before
    asked = {one.name: one for one in found.findings}
    assert all("Give a function that makes the model." in asked[name].why for name in first)
    assert all(asked[name].result is not None for name in now)
    with pytest.raises(UsageError, match="Give a function that makes the model"):
        probe("seed_spread", run.folder, data=data, model=net, quiet=True)
    subject = Subject.of(run.folder, data, owner="probe", model=net)
    kept = run.load_model()
    assert all(torch.equal(kept[k], v) for k, v in subject.trained().state_dict().items())


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
