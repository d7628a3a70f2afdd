"""The recipes on words and on speech, in small: data as described, records as printed."""

from __future__ import annotations

import gzip
import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fitwell.core.errors import DataError
from fitwell.core.records import read_records
from fitwell.nn import count_parameters

FOLDER = Path(__file__).parents[2] / "recipes"
QUESTIONS = ["3 Who was Galileo ?", "3 Who was she ?", "5 Where is it ?", "4 How many ?"] * 3


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., ModuleType]:
    """Load a recipe, told this on its command line, that records into a folder of the test."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def loaded(name: str, *told: str) -> ModuleType:
        monkeypatch.setattr(sys, "argv", ["recipe", *told])
        for module in ("recording", name):
            monkeypatch.delitem(sys.modules, module, raising=False)
        recipe = importlib.import_module(name)
        monkeypatch.setattr(recipe, "RECORDS", tmp_path / "recipes.jsonl")
        return recipe

    return loaded


def write_questions(folder: Path) -> Path:
    """Write both parts in the form of the published files."""
    folder.mkdir()
    for part, lines in (("train", QUESTIONS), ("test", ["4 How much is it , Galileo ?"])):
        text = "\n".join(lines).encode("latin-1")
        (folder / f"TREC.{part}.all.gz").write_bytes(gzip.compress(text))
    return folder


def test_cnn_15_words_come_from_the_training_part(
    load: Callable[..., ModuleType], tmp_path: Path
) -> None:
    recipe = load("text_cnn")
    parts = recipe.read(write_questions(tmp_path / "sentence_classification"))
    assert parts["train"][0] == (3, ["who", "was", "galileo", "?"])
    words = recipe.vocabulary([*parts["train"][:3], (0, ["once"])])
    # Those that occur once are not there: galileo, she, where, is, it.
    assert words == {"who": 2, "was": 3, "?": 4}
    test = recipe.as_tokens([*parts["test"], *parts["train"][:1]], words)
    assert test.inputs.tolist() == [[1, 1, 1, 1, 1, 1, 4], [2, 3, 1, 4, 0, 0, 0]]
    assert test.targets is not None
    assert test.targets.tolist() == [4, 3]
    with pytest.raises(DataError, match=r"TREC.train.all.gz must be there; got none"):
        recipe.read(tmp_path)


def test_cnn_15_both_networks_train_and_are_recorded(
    load: Callable[..., ModuleType], tmp_path: Path
) -> None:
    recipe = load("text_cnn")
    parts = recipe.read(write_questions(tmp_path / "sentence_classification"))
    found = recipe.main(parts, questions=12, epochs=1, seeds=(0, 1))
    (record,) = read_records(tmp_path / "recipes.jsonl")
    assert record["result"] == found
    assert record["seeds"] == [0, 1]
    assert found.keys() == recipe.WINDOWS.keys()
    maxima = {
        sum(conv.out_channels for conv in recipe.network(5, w).convs)
        for w in recipe.WINDOWS.values()
    }
    assert maxima == {recipe.FILTERS}


def test_quick_runs_of_both_leave_no_record(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FITWELL_DATA", str(tmp_path))
    write_questions(tmp_path / "sentence_classification")
    found = load("text_cnn", "--quick").main()
    assert all(len(row["of each seed"]) == 1 for row in found.values())
    recipe = load("frequency_filters", "--quick")
    found = recipe.main(speech(recipe))
    assert found.keys() == recipe.NETWORKS.keys()
    assert not (tmp_path / "recipes.jsonl").exists()


def speech(recipe: ModuleType) -> object:
    """Noise from all speakers."""
    names = [name for pair in recipe.HELD_OUT for name in pair] * 10
    shape = (60, 1, recipe.BANDS, recipe.FRAMES)
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return recipe.Speech(spectrograms=noise, digits=torch.arange(60) % 10, speakers=tuple(names))


def test_cnn_14_all_networks_are_of_equal_size_and_recorded(
    load: Callable[..., ModuleType], tmp_path: Path
) -> None:
    recipe = load("frequency_filters")
    weights = [count_parameters(make()) for make in recipe.NETWORKS.values()]
    assert max(weights) < 1.05 * min(weights)
    filters, _, pool, *_ = recipe.frequency()
    assert filters.kernel_size[1] == recipe.FRAMES
    assert pool.kernel_size == (6, 1)
    found = recipe.main(speech(recipe), epochs=1, seeds=(0, 2))
    (record,) = read_records(tmp_path / "recipes.jsonl")
    assert record["result"] == found
    assert [row["weights"] for row in found.values()] == weights
    assert all(len(row["of each seed"]) == 2 for row in found.values())


def test_cnn_14_each_speaker_is_held_out_once(load: Callable[..., ModuleType]) -> None:
    recipe = load("frequency_filters")
    assert len({name for pair in recipe.HELD_OUT for name in pair}) == 6
    said = speech(recipe)
    asked: list[tuple[int, ...]] = []
    whole = recipe.as_examples

    def noted(speech: object, rows: list[int]) -> object:
        asked.append(tuple(rows))
        return whole(speech, rows)

    recipe.as_examples = noted
    recipe.NETWORKS = {"3 x 3": recipe.square}
    recipe.measure(said, epochs=1, seeds=(0, 1, 2))
    for seed, (train, test) in enumerate(zip(asked[::2], asked[1::2], strict=True)):
        assert {said.speakers[row] for row in test} == set(recipe.HELD_OUT[seed])  # type: ignore[attr-defined]
        assert sorted(train + test) == list(range(60))


@pytest.mark.parametrize("hertz", [300, 1_000, 3_000])
def test_a_tone_is_loudest_in_the_band_of_its_pitch(
    load: Callable[..., ModuleType], hertz: int
) -> None:
    recipe = load("frequency_filters")
    time = torch.arange(4_000) / recipe.SAMPLE_RATE
    picture = recipe.log_mel(torch.sin(2 * math.pi * hertz * time), recipe.mel_matrix())
    assert picture.shape == (1, recipe.BANDS, recipe.FRAMES)
    # Centers of the bands: evenly spaced in mel = 2595 log10(1 + f / 700), up to 4,000 Hz.
    step = 2595 * math.log10(1 + 4_000 / 700) / (recipe.BANDS + 1)
    expected = 2595 * math.log10(1 + hertz / 700) / step - 1
    assert abs(int(picture[0, :, 8:24].mean(1).argmax()) - expected) <= 1


def test_speech_is_decoded_as_its_description_says(
    load: Callable[..., ModuleType], tmp_path: Path
) -> None:
    import lzma

    import numpy as np

    recipe = load("frequency_filters")
    draws = np.random.default_rng(0)
    samples = draws.integers(-3_000, 3_000, 5_000).astype(np.int16)
    steps = np.diff(samples.astype(np.int64), prepend=0)
    coded = np.where(steps >= 0, 2 * steps, -2 * steps - 1).astype(np.uint16)
    halves = [(coded & 255).astype(np.uint8), (coded >> 8).astype(np.uint8)]
    (tmp_path / "audio.xz").write_bytes(lzma.compress(np.concatenate(halves).tobytes()))
    index = "start\tn_samples\tdigit\tspeaker\ttake\n2000\t3000\t7\ttheo\t1\n0\t2000\t4\tlucas\t0\n"
    (tmp_path / "index.tsv").write_text(index)
    said = recipe.read(tmp_path, 2)
    assert said.speakers == ("lucas", "theo")  # by take
    assert said.digits.tolist() == [4, 7]
    waveform = torch.from_numpy(samples[2_000:]).float() / 2**15
    expected = recipe.log_mel(waveform, recipe.mel_matrix())
    torch.testing.assert_close(said.spectrograms[1], expected)
    with pytest.raises(DataError, match=r"audio.xz'?.* must be there; got none"):
        recipe.read(tmp_path / "nowhere", 2)
