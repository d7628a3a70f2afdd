"""`fitwell ensemble`: several runs answer as one, and the gain over the best is measured fairly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import fitwell
from fitwell.core.errors import RunError, UsageError
from fitwell.core.intervals import wilson_interval
from fitwell.data import Examples, Splits, load_builtin, load_table
from fitwell.report import pair_answers
from fitwell.train import greedy_weights, outputs_of
from fitwell.verbs._several import EnsembleResult, ensemble
from fitwell.verbs._several._combined import best_run
from fitwell.verbs._several._outputs import best_of

from .runs import call, copied, quick, rows_of

TINY: dict[str, Any] = {
    "model": "MLP(hidden=(16,))",
    "batch_size": 64,
    "epochs": 2,
    "device": "cpu",
    "report": False,
    "quiet": True,
}
KEPT: dict[str, Any] = {"report": False, "quiet": True}
# Scores that pass through float32 once more.
ROUNDED = 1e-5


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> EnsembleResult:
    folder = tmp_path_factory.mktemp("groups") / "three"
    return ensemble("digits", members=3, group=folder, **TINY)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_builtin("digits")


def outputs(result: EnsembleResult, examples: Examples | None) -> Tensor:
    assert examples is not None
    inputs = torch.as_tensor(examples.inputs).float() / 255
    members = fitwell.Group.open(result.group).members()
    return torch.stack([outputs_of(run.model(), [(inputs,)]) for run in members])


def truth(examples: Examples | None) -> Tensor:
    assert examples is not None
    assert examples.targets is not None
    return examples.targets


def test_plat_16_the_score_has_its_interval_and_is_compared_to_the_best_single(
    three, splits
) -> None:
    valid, test = outputs(three, splits.valid), outputs(three, splits.test)
    targets = truth(splits.test)
    hits = (valid.argmax(2) == truth(splits.valid)).float().mean(1)
    best = int(hits.argmax())
    found = three.parts["test"]
    assert found.best == f"member-{best + 1}"
    together = test.softmax(2).mean(0).argmax(1)
    right = int((together == targets).sum())
    assert found.scores["accuracy"] == pytest.approx(right / len(targets))
    assert found.interval == pytest.approx(wilson_interval(right, len(targets)))
    expected = pair_answers(
        ("the ensemble", found.best),
        "test",
        target=targets.tolist(),
        first=together.tolist(),
        second=test[best].argmax(1).tolist(),
        by_number=False,
    )
    assert found.paired == expected
    assert three.parts["valid"].paired is None  # which chose the best single
    assert f"Difference in accuracy, the ensemble minus {found.best}" in str(three)


def test_hw3_07_the_loss_together_is_at_most_that_of_members_on_average(three) -> None:
    for found in three.parts.values():
        losses = [scores["loss"] for scores in found.members.values()]
        assert found.scores["loss"] <= np.mean(losses)
        assert found.mean == pytest.approx(np.mean([s["accuracy"] for s in found.members.values()]))


def test_disagreement_is_counted_pair_by_pair(three, splits) -> None:
    said = outputs(three, splits.test).argmax(2)
    pairs = [(said[a] != said[b]).float().mean() for a, b in ((0, 1), (0, 2), (1, 2))]
    assert three.parts["test"].disagreement == pytest.approx(float(torch.stack(pairs).mean()))


def test_members_differ_in_their_seeds_alone(three) -> None:
    runs = fitwell.Group.open(three.group).members()
    assert [run.settings.optimization.seed for run in runs] == [0, 1, 2]
    assert len({run.manifest["data"]["fingerprint"] for run in runs}) == 1


def test_a_group_predicts_and_is_evaluated_like_a_run(three, splits, tmp_path, capsys) -> None:
    group = fitwell.Group.open(three.group)
    inputs = torch.as_tensor(splits.test.inputs)
    mean = outputs(three, splits.test).softmax(2).mean(0)
    answers = group.predict(inputs)
    assert answers.values.tolist() == mean.argmax(1).tolist()
    torch.testing.assert_close(answers.probs, mean, rtol=1e-5, atol=1e-6)
    file = fitwell.predict(group, inputs, output=tmp_path / "p.csv", probs=True)
    assert [row[1] for row in rows_of(file.path)[1:]] == [str(v) for v in answers.values.tolist()]
    again = fitwell.evaluate(three.group)
    for part, found in three.parts.items():
        assert again.parts[part] == pytest.approx(found.scores, rel=ROUNDED)
        assert again.together[part].best == found.best
    code, said, _ = call(capsys, "evaluate", three.group.folder)
    assert code == 0
    assert said["together"]["test"]["paired"]["first"] == "the ensemble"
    for name, given in (("views", {"views": 2}), ("sets", {"sets": 0.1})):
        with pytest.raises(UsageError, match=f"`{name}` must be left out for a group"):
            fitwell.predict(three.group, inputs, **given)


def test_hw3_08_existing_runs_vote(three, splits, tmp_path: Path) -> None:
    members = [run.folder for run in fitwell.Group.open(three.group).members()]
    found = ensemble(*members, combine="vote", group=tmp_path / "votes", **KEPT)
    test = outputs(three, splits.test)
    votes, probs = F.one_hot(test.argmax(2), 10).sum(0), test.softmax(2).sum(0)
    tied = votes == votes.max(1, keepdim=True).values
    expected = probs.masked_fill(~tied, -1).argmax(1)
    inputs = torch.as_tensor(splits.test.inputs)
    assert fitwell.Group.open(found.group).predict(inputs).values.tolist() == expected.tolist()
    right = (expected == truth(splits.test)).float().mean()
    assert found.parts["test"].scores["accuracy"] == pytest.approx(float(right))


def test_a_group_stands_for_its_members(three, digits, tmp_path: Path) -> None:
    found = ensemble(three.group, digits.folder, group=tmp_path / "g", **KEPT)
    assert list(found.weights) == ["member-1", "member-2", "member-3", "digits"]
    last = fitwell.Group.open(tmp_path / "g").members()[-1]
    assert last.folder.resolve() == digits.folder.resolve()


def test_groups_whose_members_have_equal_names_keep_all(three, tmp_path: Path) -> None:
    other = ensemble("digits", members=3, group=tmp_path / "other", seed=7, **TINY)
    found = ensemble(three.group, other.group, group=tmp_path / "g", **KEPT)
    named = (Path(three.group).name, Path(other.group).name)
    expected = [f"{name} member-{number}" for name in named for number in (1, 2, 3)]
    assert list(found.weights) == expected
    seeds = [run.settings.optimization.seed for run in fitwell.Group.open(found.group).members()]
    assert seeds == [0, 1, 2, 7, 8, 9]
    again = ensemble(found.group, three.group, group=tmp_path / "h", **KEPT)  # each once
    assert list(again.weights) == expected
    assert again.parts["test"].scores == pytest.approx(found.parts["test"].scores, rel=ROUNDED)


def test_losses_that_differ_are_measured_by_the_first(three, splits, tmp_path: Path) -> None:
    focal = quick("digits", loss="Focal(gamma=20)", run=tmp_path / "focal", metric="loss")
    member = fitwell.Group.open(three.group).members()[0]
    found = ensemble(member.folder, focal.folder, group=tmp_path / "g", **KEPT).parts["test"]
    said = outputs_of(focal.model(), [(torch.as_tensor(splits.test.inputs).float() / 255,)])
    expected = float(F.cross_entropy(said, truth(splits.test)))
    assert found.members["focal"]["loss"] == pytest.approx(expected, rel=ROUNDED)
    assert found.scores["loss"] <= np.mean([one["loss"] for one in found.members.values()])
    own = {"focal": focal, "member": member}
    assert focal.result["valid"]["loss"] < member.result["valid"]["loss"]
    assert focal.result["valid"]["accuracy"] < member.result["valid"]["accuracy"]
    assert best_run(own) == "member"  # on parts of their own, by what both measure alike


def test_a_member_that_failed_is_not_the_best(three) -> None:
    runs = dict(zip("abc", fitwell.Group.open(three.group).members(), strict=True))
    assert best_of(runs, {"a": float("nan"), "b": 0.2, "c": 0.1}, "loss") == "c"
    assert best_of(runs, {"a": 0.2, "b": float("nan"), "c": 0.1}, "accuracy") == "a"


def test_greedy_selection_goes_by_the_validation_part(three, splits, tmp_path: Path) -> None:
    found = ensemble(three.group, select="greedy", group=tmp_path / "g", **KEPT)
    expected = greedy_weights(outputs(three, splits.valid), truth(splits.valid))
    assert list(found.weights.values()) == pytest.approx(expected.tolist())
    assert found.selected_on == "valid"
    inputs = torch.as_tensor(splits.test.inputs)
    mean = torch.tensordot(expected, outputs(three, splits.test).softmax(2), dims=1)
    answers = fitwell.Group.open(found.group).predict(inputs)
    assert answers.values.tolist() == mean.argmax(1).tolist()


def test_rows_are_drawn_with_replacement(tmp_path: Path) -> None:
    found = ensemble("digits", members=2, vary=["bootstrap"], group=tmp_path / "g", **TINY)
    drawn = []
    for run in fitwell.Group.open(found.group).members():
        with np.load(run.folder / "split.npz") as rows:
            assert len(rows["train"]) == 1257
            assert len(set(rows["train"].tolist())) == pytest.approx(0.632 * 1257, rel=0.05)
            assert rows["valid"].tolist() == list(range(1257, 1527))
            drawn.append(rows["train"].tolist())
        again = fitwell.evaluate(run.folder)
        assert again.parts["train"] == pytest.approx(run.result["train"], rel=ROUNDED)
    assert drawn[0] != drawn[1]
    assert set(found.parts) == {"valid", "test"}


def test_snapshots_are_cycles_of_one_training(tmp_path: Path) -> None:
    found = ensemble("digits", snapshots=2, group=tmp_path / "g", **{**TINY, "epochs": 5})
    first, second = fitwell.Group.open(found.group).members()
    assert [run.result["epochs"] for run in (first, second)] == [2, 3]
    assert {run.settings.optimization.schedule for run in (first, second)} == {"Cosine(end=0.0)"}
    assert second.settings.model.weights == str(first.folder)
    assert second.result["valid"]["loss"] < first.result["valid"]["loss"]
    with pytest.raises(UsageError, match="`epochs` must be at least `snapshots`, 4"):
        ensemble("digits", snapshots=4, group=tmp_path / "h", **TINY)
    for name, given in (
        ("members", {"members": 5}),
        ("vary", {"vary": ["seed"]}),
        ("schedule", {"schedule": "Constant()"}),
    ):
        with pytest.raises(UsageError, match=f"`{name}` must be left out with `snapshots`"):
            ensemble("digits", snapshots=2, group=tmp_path / "h", **{**TINY, **given})
    assert not (tmp_path / "h").exists()


def test_numbers_are_averaged(house_file: Path, tmp_path: Path) -> None:
    given = {**TINY, "batch_size": 16, "target": "price", "ignore": ("kind",)}
    found = ensemble("table", house_file, members=2, group=tmp_path / "g", **given)
    test = load_table(house_file, target="price", ignore=("kind",)).test
    assert test is not None
    members = fitwell.Group.open(found.group).members()
    answers = torch.stack([run.predict(test).values for run in members])
    off = answers.mean(0) - truth(test)
    assert found.metric == "rmse"
    assert found.parts["test"].scores["rmse"] == pytest.approx(float(off.square().mean().sqrt()))
    spread = answers.double().var(0).mean().sqrt()
    assert found.parts["test"].disagreement == pytest.approx(float(spread))
    with pytest.raises(UsageError, match="must be probs or logits when the target is a number"):
        ensemble("table", house_file, combine="vote", group=tmp_path / "h", **given)
    errors = [scores["mse"] for scores in found.parts["test"].members.values()]
    assert found.parts["test"].scores["mse"] <= np.mean(errors)


def test_an_ensemble_goes_on_where_it_was_stopped(three, tmp_path: Path) -> None:
    folder = tmp_path / "g"
    shutil.copytree(three.group, folder)
    shutil.rmtree(folder / "members" / "member-3")
    kept = (folder / "members" / "member-1" / "model.safetensors").stat().st_mtime_ns
    again = ensemble("digits", members=3, group=folder, resume=True, **TINY)
    assert (folder / "members" / "member-1" / "model.safetensors").stat().st_mtime_ns == kept
    assert again.parts["test"].scores == pytest.approx(three.parts["test"].scores, rel=1e-3)


def test_one_run_lends_its_settings(digits, tmp_path: Path) -> None:
    found = ensemble(digits.folder, members=2, epochs=1, group=tmp_path / "g", device="cpu", **KEPT)
    for run in fitwell.Group.open(found.group).members():
        assert run.settings.model == digits.settings.model
        assert run.settings.optimization.epochs == 1


def test_a_run_lends_its_seed_too(tmp_path: Path) -> None:
    run = quick("digits", seed=7, run=tmp_path / "run", **{"epochs": 1})
    options = {"device": "cpu", **KEPT}
    for name, given in (("a", {"members": 2}), ("b", {"snapshots": 2, "epochs": 2})):
        found = ensemble(run.folder, group=tmp_path / name, **given, **options)
        made = fitwell.Group.open(found.group).members()
        assert [one.settings.optimization.seed for one in made] == [7, 8]
    found = ensemble(run.folder, members=2, seed=1, group=tmp_path / "c", **options)
    made = fitwell.Group.open(found.group).members()
    assert [one.settings.optimization.seed for one in made] == [1, 2]


def test_data_in_memory_is_given_again(splits, tmp_path: Path) -> None:
    found = ensemble(splits, members=2, group=tmp_path / "g", **TINY)
    members = [run.folder for run in fitwell.Group.open(found.group).members()]
    with pytest.raises(UsageError, match="was trained on data in memory; give it again"):
        ensemble(*members, group=tmp_path / "h", **KEPT)
    again = ensemble(*members, data=splits, group=tmp_path / "h", **KEPT)
    assert again.parts["test"].scores == pytest.approx(found.parts["test"].scores, rel=ROUNDED)


def test_runs_that_cannot_answer_together_are_refused(three, digits, kinds, tmp_path: Path) -> None:
    place = {"group": tmp_path / "g", **KEPT}
    with pytest.raises(UsageError, match="must have the same kind of data; got images"):
        ensemble(digits.folder, kinds.folder, **place)
    other = quick("digits", split_seed=1, run=tmp_path / "other")
    with pytest.raises(UsageError, match="runs must have the same test part; those of"):
        ensemble(digits.folder, other.folder, **place)
    with pytest.raises(UsageError, match="at least two different runs; got 2"):
        ensemble(digits.folder, digits.folder, **place)
    stopped = copied(digits, tmp_path / "stopped")
    facts = json.loads((stopped / "run.json").read_text())
    (stopped / "run.json").write_text(json.dumps({**facts, "status": "stopped"}))
    with pytest.raises(RunError, match="must be finished to answer with others; it is stopped"):
        ensemble(digits.folder, stopped, **place)
    for name, value in (("epochs", 3), ("members", 3), ("vary", ["seed"]), ("snapshots", 2)):
        with pytest.raises(UsageError, match=f"`{name}` must be left out for runs that are tr"):
            ensemble(three.group, **{name: value}, **place)
    with pytest.raises(UsageError, match="must be runs alone, or what to learn from; got 'digits'"):
        ensemble(three.group, "digits", **place)
    assert not (tmp_path / "g").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"members": 1}, r"`members` and `snapshots` must lie in 2 ... 500; got 1 and 0"),
        ({"snapshots": 1}, r"must lie in 2 ... 500; got 5 and 1"),
        ({"vary": ["rows"]}, r"`vary` must be one of .*; got 'rows'"),
        ({"select": "best"}, r"`select` must be one of .*; got 'best'"),
        ({"resume": True}, "`group` must name the folder that `resume` goes on with"),
        ({"combine": "sum"}, r"`combine` must be one of .*; got 'sum'"),
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, Any], words: str, tmp_path) -> None:
    place = {} if "resume" in given else {"group": tmp_path / "g"}
    with pytest.raises(UsageError, match=words):
        ensemble("digits", **{**TINY, **place, **given})
    with pytest.raises(UsageError, match="must be runs, or what to learn from; got nothing"):
        ensemble()
    assert not list(tmp_path.iterdir())
