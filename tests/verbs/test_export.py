"""`fitwell export`: the file computes what the run computes, says what it is, or is not kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fitwell
from fitwell.core.errors import MissingExtra, RunError, UnknownName, UsageError
from fitwell.data import Batches
from fitwell.nn import LocallyConnected2d
from fitwell.train import Run
from fitwell.verbs._export._formats import FORMATS, Format

from .runs import call, houses, quick

# Twice what `export` allows, for other examples than it compares; in units of the largest output.
TOLERANCE: dict[Format, float] = {"safetensors": 2e-6, "torch-export": 2e-5, "onnx": 2e-4}


class Places(nn.Module):
    """A network of the user's own, of which every place has weights of its own."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.local = LocallyConnected2d(1, 2, 3, image_size=(8, 8))
        self.head = nn.Linear(2 * 6 * 6, out_features)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.local(x).flatten(1))
        return result


class Recurrent(nn.Module):
    """Reads an image row by row."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.cell = nn.GRU(8, 6, batch_first=True)
        self.head = nn.Linear(6, out_features)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cell(x.squeeze(1))
        result: Tensor = self.head(states[:, -1])
        return result


class FixedBatch(nn.Module):
    """Asks for the length of the batch in the way that tracing cannot leave open."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x.reshape(len(x), -1))
        return result


class Branching(FixedBatch):
    """Decides by the values, which no trace can follow."""

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x.flatten(1))
        return result if result.sum() > 0 else -result


class Noisy(FixedBatch):
    """Gives other outputs each time it is asked."""

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(F.dropout(x.flatten(1), 0.5, training=True))
        return result


MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "MLP": ("MLP(hidden=(8,), activation='gelu', dropout=0.1)", (5,)),
    "Linear": ("Linear()", (1, 8, 8)),
    "CNN": ("CNN(widths=(4, 8), convs=1)", (1, 8, 8)),
    "CNN stride": ("CNN(widths=(4, 8), convs=1, pool='stride')", (3, 9, 8)),
    "LeNet5": ("LeNet5()", (1, 28, 28)),
    "LeNet5 table": ("LeNet5(table=True)", (1, 28, 28)),
    "ResNet20": ("ResNet20()", (3, 16, 16)),
    "ResNet20 plain": ("ResNet20(residual=False)", (3, 16, 16)),
    "ResNet18": ("ResNet18()", (3, 32, 32)),
    "ResNet18 large": ("ResNet18(stem='imagenet')", (3, 40, 40)),
    "MobileNet": ("MobileNet(width=0.25)", (3, 32, 32)),
    "local": (Places, (1, 8, 8)),
    "recurrent": (Recurrent, (1, 8, 8)),
}
QUICK_TO_BUILD = [name for name in MODELS if "ResNet" not in name]
QUICK_TO_TRACE = ("MLP", "CNN", "local")


def case(name: str, kind: Format) -> Any:
    fast = (
        QUICK_TO_BUILD
        if kind == "safetensors"
        else [*QUICK_TO_TRACE]
        if kind == "torch-export"
        else []
    )
    return pytest.param(name, kind, marks=() if name in fast else pytest.mark.slow)


CASES = [case(name, kind) for name in MODELS for kind in FORMATS]


def tiny(name: str, folder: Path) -> Run:
    """A run of a few steps on a few random examples in memory."""
    spec, shape = MODELS[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, *shape, generator=generator)
    if len(shape) == 3:
        x = (60 * x + 128).clamp(0, 255).to(torch.uint8)
        x = x.squeeze(1) if shape[0] == 1 else x.permute(0, 2, 3, 1)
    y = torch.arange(40) % 4
    return quick((x, y), model=spec, batch_size=8, max_steps=2, epochs=None, run=folder)


def apply(path: str | Path, kind: Format, model: nn.Module, x: Tensor) -> Tensor:
    """Compute outputs by the file alone; weights go into a module that was spoiled before."""
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(None, {"inputs": x.numpy()})[0])
    if kind == "torch-export":
        with Path(path).open("rb") as file:
            result: Tensor = torch.export.load(file).module()(x)
        return result
    from safetensors.torch import load_file

    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    model.load_state_dict(load_file(path), strict=True)
    outputs: Tensor = model(x)
    model.load_state_dict(before)
    return outputs


def assert_same(run: Run, exported: Any, kind: Format, x: Tensor) -> None:
    model = run.model()
    with torch.no_grad():
        for count in (1, 2, len(x)):
            wanted = model(x[:count])
            found = apply(exported.path, kind, model, x[:count])
            bound = TOLERANCE[kind] * wanted.abs().max().item()
            torch.testing.assert_close(found, wanted, rtol=0, atol=bound)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_file_computes_what_the_run_computes(name: str, kind: Format, tmp_path: Path) -> None:
    run = tiny(name, tmp_path / "run")
    exported = fitwell.export(run, format=kind)
    assert exported.path == str(run.folder / f"exported{FORMATS[kind].suffix}")
    assert exported.compared_on == "made-up examples, as the data of the run is not here"
    assert exported.batch_sizes == (1, 3, 8)
    x = torch.rand(7, *run.schema.input_shape, generator=torch.Generator().manual_seed(1))
    assert_same(run, exported, kind, x)


def table_inputs(run: Run, file: Path) -> Tensor:
    """Rows with numbers that are missing, and with categories that are or never were seen."""
    x = next(iter(Batches(run.read(file), 200))).inputs.clone()
    place = next(i for i, c in enumerate(run.schema.columns) if c.kind == "category")
    x[5, place] = 0
    x[6] = float("nan")
    return x


@pytest.mark.parametrize("kind", [*FORMATS])
def test_a_table_with_missing_values_and_categories(
    kind: Format, kinds: Run, house_file: Path, tmp_path: Path
) -> None:
    suffix = FORMATS[kind].suffix
    exported = fitwell.export(kinds.folder, format=kind, output=tmp_path / f"kinds{suffix}")
    assert exported.compared_on == "examples of the part 'valid'"
    assert exported.largest_difference <= exported.tolerance * exported.largest_output
    x = table_inputs(fitwell.open_run(kinds), house_file)
    assert x.isnan().any(0)[:2].any()
    assert_same(fitwell.open_run(kinds), exported, kind, x)


def test_a_number_comes_in_its_own_unit(prices: Run, house_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "prices.pt2"
    exported = fitwell.export(prices.folder, format="torch-export", output=output)
    assert exported.output == "(batch); price in its own unit"
    assert exported.largest_output > 100
    run = fitwell.open_run(prices)
    examples = run.read(house_file)
    found = apply(output, "torch-export", run.model(), examples.inputs)
    torch.testing.assert_close(found, run.predict(examples).values, rtol=1e-5, atol=0)


def test_the_command_line_writes_onnx_that_says_what_it_is(
    digits: Run, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    monkeypatch.chdir(tmp_path)
    code, result, err = call(
        capsys, "export", digits.folder, "--format", "onnx", "--output", "digits.onnx"
    )
    assert (code, err) == (0, "")
    assert result["path"] == "digits.onnx"
    assert result["size"] == Path("digits.onnx").stat().st_size
    assert result["batch_sizes"] == [1, 3, 8]
    assert result["largest_difference"] <= 1e-4 * result["largest_output"]
    assert result["compared_on"] == "examples of the part 'valid'"
    assert_same(fitwell.open_run(digits), Shown(**result), "onnx", torch.rand(7, 1, 8, 8))

    model = onnx.load("digits.onnx")
    onnx.checker.check_model(model)
    axes = model.graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in axes] == ["batch", 1, 8, 8]
    about = {item.key: item.value for item in model.metadata_props}
    assert json.loads(about["class_names"]) == [str(digit) for digit in range(10)]
    assert about["input"] == "(batch, 1, 8, 8); pixels divided by 255"
    assert about["model"] == "MLP(hidden=(16,), dropout=0.1)"
    # The usage runs where neither fitwell nor torch is loaded.
    check = (
        "import sys\nassert outputs.shape == (1, 10) and len(names) == 10\n"
        "assert not {'torch', 'fitwell'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", f"{result['usage']}\n{check}"], check=True)


class Shown:
    """The result as an object again."""

    def __init__(self, **fields: Any) -> None:
        self.path = fields["path"]


def test_the_program_of_torch_says_what_it_is_and_is_used_as_shown(
    digits: Run, tmp_path: Path
) -> None:
    output = tmp_path / "digits.pt2"
    exported = fitwell.export(digits.folder, format="torch-export", output=output, batch_size=5)
    names: dict[str, Any] = {}
    exec(exported.usage, names)
    assert names["names"] == [str(digit) for digit in range(10)]
    assert names["outputs"].shape == (5, 10)
    assert json.loads(names["about"]["about.json"])["input"].startswith("(5, 1, 8, 8);")
    assert exported.batch_sizes == (5,)
    with pytest.raises(Exception, match=r"[Gg]uard|expected"):
        names["model"](torch.zeros(4, 1, 8, 8))


def test_weights_say_what_they_are_and_are_used_as_shown(kinds: Run, tmp_path: Path) -> None:
    from safetensors import safe_open

    output = tmp_path / "kinds.safetensors"
    exported = fitwell.export(kinds.folder, output=output)
    names: dict[str, Any] = {"model": fitwell.open_run(kinds).model()}
    exec(exported.usage, names)
    assert names["names"] == ["large", "small"]
    with safe_open(output, "pt") as file:
        about = file.metadata()
        assert set(file.keys()) == set(names["model"].state_dict())
    assert about["target_name"] == "kind"
    assert about["fitwell"] == fitwell.__version__
    columns = json.loads(about["columns"])
    assert [column["name"] for column in columns] == [c.name for c in kinds.schema.columns]
    assert ["Bonn", "Kiel", "Ulm"] in [column["categories"] for column in columns]
    shown = str(exported)
    assert "difference 0, largest output" in shown
    assert exported.usage.strip() in shown


def test_no_file_names_a_folder_of_this_machine(tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "from torch import nn\n\n\ndef net(in_features, out_features):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, out_features))\n"
    )
    spec = f"{code}:net"
    run = quick("digits", model=spec, run=tmp_path / "run", max_steps=2, epochs=None)
    for kind in ("safetensors", "torch-export"):
        exported = fitwell.export(run.folder, format=kind, model=spec)
        content = Path(exported.path).read_bytes()
        assert b"mine.py:net" in content
        for place in (tmp_path, Path(fitwell.__file__).parent, Path(torch.__file__).parent):
            assert str(place).encode() not in content
    with pytest.raises(UsageError, match=r"Give it again with `model` \(--model\)"):
        fitwell.export(run.folder)


def test_a_file_that_differs_is_not_kept(tmp_path: Path) -> None:
    run = quick("digits", model=Noisy, run=tmp_path / "run", max_steps=2, epochs=None)
    earlier = run.folder / "exported.pt2"
    earlier.write_text("an earlier file")
    before = sorted(run.folder.iterdir())
    for kind in ("safetensors", "torch-export"):
        with pytest.raises(RunError, match=rf"the {kind} file gives other outputs .* not kept"):
            fitwell.export(run, format=kind)
    assert sorted(run.folder.iterdir()) == before
    assert earlier.read_text() == "an earlier file"


def test_a_model_that_diverged_is_not_exported(digits: Run, tmp_path: Path) -> None:
    run = quick("digits", run=tmp_path / "run", max_steps=2, epochs=None)
    broken = {name: tensor * float("nan") for name, tensor in run.load_model().items()}
    run.save_model(broken)
    with pytest.raises(RunError, match="outputs are not finite, so nothing can be compared"):
        fitwell.export(run.folder)
    assert not (run.folder / "exported.safetensors").exists()


def test_a_model_that_fixes_its_batch_says_how_to_free_it(tmp_path: Path) -> None:
    run = quick("digits", model=FixedBatch, run=tmp_path / "run", max_steps=2, epochs=None)
    with pytest.raises(UsageError, match=r"FixedBatch fixes the size .* x\.shape\[0\] instead of"):
        fitwell.export(run, format="torch-export")
    exported = fitwell.export(run, format="torch-export", batch_size=2)
    assert exported.input == "(2, 1, 8, 8); pixels divided by 255"


def test_a_model_that_cannot_be_traced_keeps_its_weights(tmp_path: Path) -> None:
    run = quick("digits", model=Branching, run=tmp_path / "run", max_steps=2, epochs=None)
    with pytest.raises(UsageError, match=r"traceable by torch\.export; Branching is not .* values"):
        fitwell.export(run, format="torch-export")
    assert fitwell.export(run).largest_difference == 0


def test_data_that_is_gone_is_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = houses(tmp_path / "houses.csv")
    run = quick("table", path, target="price", run=tmp_path / "run", max_steps=2, epochs=None)
    assert "valid" in fitwell.export(run.folder).compared_on
    path.unlink()
    assert "made-up" in fitwell.export(run.folder).compared_on
    number = quick(
        (torch.randn(40, 3), torch.randn(40)), run=tmp_path / "number", max_steps=2, epochs=None
    )
    assert "made-up" in fitwell.export(number.folder).compared_on


def test_nothing_is_downloaded_for_the_check(digits: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from fitwell.verbs._export import _verb

    def refuse(*_: object) -> None:
        raise AssertionError("read the data")

    monkeypatch.setattr(_verb, "where", lambda _: "to download")
    monkeypatch.setattr(_verb, "open_source", refuse)
    output = digits.folder / "unchecked.safetensors"
    assert "made-up" in fitwell.export(digits.folder, output=output).compared_on
    output.unlink()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"format": "onnxx"}, UnknownName, "no format named 'onnxx'; nearest: 'onnx'"),
        ({"batch_size": 4}, UsageError, "left out for safetensors, .* got 4 for safetensors"),
        ({"format": "onnx", "batch_size": 0}, UsageError, "at least 1, .* got 0 for onnx"),
        ({"output": "model.onnx"}, UsageError, r"must end in \.safetensors; got model\.onnx"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str, digits: Run
) -> None:
    with pytest.raises(error, match=message):
        fitwell.export(digits.folder, **arguments)


def test_the_weights_of_the_run_are_not_overwritten(digits: Run) -> None:
    with pytest.raises(UsageError, match=r"must not be .*, which the run itself needs"):
        fitwell.export(digits.folder, output=digits.folder / "model.safetensors")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_package_that_is_missing_is_named(
    package: str, digits: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"needs the package '{package}'.*fitwell\[onnx\]"):
        fitwell.export(digits.folder, format="onnx")
    assert not (digits.folder / "exported.onnx").exists()
