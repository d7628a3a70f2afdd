"""What other programs are told is what was measured, once, also if training was killed between."""

from __future__ import annotations

import copy
import json
import math
import os
import struct
import subprocess
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fitwell.core.errors import MissingExtra, UsageError
from fitwell.data import Batches
from fitwell.optim import SGD
from fitwell.train import CsvLog, History, MLflow, TensorBoard, Trainer, WeightsAndBiases

from .problems import batches, examples, network, objective

EPOCHS, STEPS_AN_EPOCH, EVERY = 5, 4, 2
NUMBERS = ("lr", "train/loss", "valid/loss")


class Checkpoint:
    """Keeps the state after epoch 2, and kills training after epoch 3."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def on_epoch(self, trainer: Trainer) -> None:
        if trainer.epoch == 2:
            self.state = copy.deepcopy(trainer.state_dict())
        if trainer.epoch == 3:
            raise KeyboardInterrupt


def trainer(*observers: object) -> Trainer:
    model = network()
    optimizer = SGD(model.parameters(), lr=0.1)
    return Trainer(model, objective(), optimizer, observers=observers)


def fit(training: Trainer, train: Batches) -> History:
    valid = Batches(examples(), 50)
    return training.fit(train, valid, epochs=EPOCHS, log_every=EVERY)


def killed_and_resumed(make: Callable[[], object], between: Callable[[], None]) -> History:
    """Train to the end, in two goes: epochs 1 to 3, then 3 to 5 from the state after epoch 2."""
    kept = Checkpoint()
    with pytest.raises(KeyboardInterrupt):
        fit(trainer(make(), kept), batches())
    between()
    again, train = trainer(make()), batches()
    again.load_state_dict(kept.state, train)
    return fit(again, train)


def measured(history: History) -> dict[str, dict[int, float]]:
    """What must have been told about each epoch: name, step, value."""
    told: dict[str, dict[int, float]] = defaultdict(dict)
    for record in history.epochs:
        told["lr"][record["step"]] = record["lr"]
        for part in ("train", "valid"):
            for name, value in record[part].items():
                told[f"{part}/{name}"][record["step"]] = value
    return told


# A table


def table(path: Path) -> list[dict[str, str]]:
    import csv

    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_holds_every_epoch_once(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "metrics.csv"

    def torn() -> None:
        assert [row["epoch"] for row in table(path)] == ["1", "2", "3"]
        with path.open("a", encoding="utf-8") as file:
            file.write("4,16,0.1,0.")

    history = killed_and_resumed(lambda: CsvLog(path), torn)
    rows = table(path)
    assert list(rows[0]) == [
        "epoch", "step", "lr", "train_loss", "valid_loss", "seconds", "examples_per_second",
    ]  # fmt: skip
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    for name, values in measured(history).items():
        assert {int(row["step"]): float(row[name.replace("/", "_")]) for row in rows} == values


def test_pandas_reads_the_table(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    history = fit(trainer(CsvLog(tmp_path / "m.csv")), batches())
    frame = pandas.read_csv(tmp_path / "m.csv")
    assert frame["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert frame["valid_loss"].tolist() == [record["valid"]["loss"] for record in history.epochs]


def test_a_new_training_begins_the_table_anew(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    fit(trainer(CsvLog(path)), batches())
    first = path.read_text()
    fit(trainer(CsvLog(path)), batches())
    assert len(path.read_text().splitlines()) == len(first.splitlines()) == 1 + EPOCHS


def test_the_header_is_that_of_the_first_epoch(tmp_path: Path) -> None:
    log, fake = CsvLog(tmp_path / "m.csv"), types.SimpleNamespace(step=0, history=History())
    log.on_fit_start(fake)  # type: ignore[arg-type]
    for epoch, valid in enumerate(({"loss": 1.5}, {}, {"loss": math.nan, "f1": 1.0}), start=1):
        record = {"epoch": epoch, "step": epoch, "lr": 0.1, "train": {"loss": 0.25}, "valid": valid}
        fake.history.epochs.append({**record, "seconds": 2.0, "examples_per_second": 8.0})
        log.on_epoch(fake)  # type: ignore[arg-type]
    assert (tmp_path / "m.csv").read_text().splitlines() == [
        "epoch,step,lr,train_loss,valid_loss,seconds,examples_per_second",
        "1,1,0.1,0.25,1.5,2.0,8.0",
        "2,2,0.1,0.25,,2.0,8.0",
        "3,3,0.1,0.25,nan,2.0,8.0",
    ]


def test_a_foreign_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "houses.csv"
    path.write_text("price,area\n1,2\n")
    with pytest.raises(UsageError, match=r"`path` must be a new file.*begins with 'price,area'"):
        CsvLog(path)
    assert path.read_text() == "price,area\n1,2\n"


# TensorBoard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read events as TensorBoard itself does."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    names = events.Tags()["scalars"]
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}


def test_tensorboard_shows_every_step_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    history = killed_and_resumed(lambda: TensorBoard(tmp_path, every=EVERY), lambda: None)
    shown = scalars(tmp_path)
    assert shown.keys() == {*NUMBERS, "step/loss"}
    for name, values in measured(history).items():
        assert [step for step, _ in shown[name]] == list(values)
        float32 = [pytest.approx(value, rel=1e-6) for value in values.values()]
        assert [value for _, value in shown[name]] == float32
    steps = [step for step, _ in shown["step/loss"]]
    assert steps == list(range(EVERY, EPOCHS * STEPS_AN_EPOCH + 1, EVERY))
    last = sum(history.losses[-EVERY:]) / EVERY
    assert shown["step/loss"][-1][1] == pytest.approx(last, rel=1e-6)


# Missing packages and wrong values


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("torch.utils.tensorboard", lambda folder: TensorBoard(folder), "tensorboard"),
        ("wandb", lambda _: WeightsAndBiases("p"), "wandb"),
        ("mlflow.tracking", lambda _: MLflow("e"), "mlflow"),
    ],
)
def test_the_missing_package_is_named(
    module: str, make: Any, extra: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module.partition(".")[0], sys.modules.get("torch"))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'fitwell\[{extra}\]'"):
        make(tmp_path)


@pytest.mark.parametrize(
    ("owner", "make"),
    [
        ("TensorBoard", lambda: TensorBoard("folder", every=0)),
        ("WeightsAndBiases", lambda: WeightsAndBiases("p", every=0)),
        ("MLflow", lambda: MLflow("e", every=0)),
    ],
)
@pytest.mark.usefixtures("services")
def test_values_out_of_range_are_refused(owner: str, make: Any) -> None:
    with pytest.raises(UsageError, match=f"{owner}: `every` must be at least 1; got 0"):
        make()


# Services: small stand-ins for what is said to them, then the real packages


class Service:
    """Stands for both services: keeps what it is told, and can go down."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.down = False

    def begin(self, id: str | None, **facts: Any) -> str:
        if self.down:
            raise ConnectionError("no\nroute")
        id = id or f"run{len(self.runs)}"
        run = self.runs.setdefault(id, {"told": defaultdict(list), "begun": 0, **facts})
        run["begun"] += 1
        return id

    def tell(self, id: str, name: str, value: float, step: int) -> None:
        if self.down:
            raise ConnectionError("no\nroute")
        self.runs[id]["told"][name].append((step, value))


class WandbRun:
    def __init__(self, service: Service, id: str) -> None:
        self.service, self.id = service, id

    def log(self, values: dict[str, float], *, step: int) -> None:
        for name, value in values.items():
            self.service.tell(self.id, name, value, step)

    def finish(self, *, exit_code: int) -> None:
        self.service.runs[self.id]["ended"] = exit_code


class Client:
    def __init__(self, service: Service, tracking_uri: str | None) -> None:
        self.service, self.uri = service, tracking_uri

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return name

    def create_run(self, experiment: str, run_name: str | None) -> Any:
        id = self.service.begin(None, experiment=experiment, name=run_name, parameters={})
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=id))

    def get_run(self, id: str) -> Any:
        metrics = {name: told[-1][1] for name, told in self.service.runs[id]["told"].items()}
        return types.SimpleNamespace(data=types.SimpleNamespace(metrics=metrics))

    def get_metric_history(self, id: str, name: str) -> list[Any]:
        told = self.service.runs[id]["told"][name]
        return [types.SimpleNamespace(step=step, value=value) for step, value in told]

    def update_run(self, id: str, status: str) -> None:
        self.service.begin(id)

    def log_param(self, id: str, name: str, value: str) -> None:
        self.service.runs[id]["parameters"][name] = value

    def log_metric(self, id: str, name: str, value: float, *, step: int) -> None:
        self.service.tell(id, name, value, step)

    def set_terminated(self, id: str, status: str) -> None:
        self.service.runs[id]["ended"] = status


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Service:
    """Put stand-ins in the place of wandb and mlflow."""
    service = Service()
    wandb, tracking = types.ModuleType("wandb"), types.ModuleType("mlflow.tracking")

    def init(*, id: str | None, resume: str, **facts: Any) -> WandbRun:
        assert resume == "allow"
        return WandbRun(service, service.begin(id, **facts))

    wandb.init, wandb.Error = init, ConnectionError  # type: ignore[attr-defined]
    tracking.MlflowClient = lambda tracking_uri: Client(service, tracking_uri)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", types.ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", tracking)
    return service


def test_mlflow_is_told_every_step_once(services: Service) -> None:
    config = {"model": {"spec": "MLP()"}, "seed": 0, "loss": None, "long": "x" * 600}
    ended: list[str] = []
    history = killed_and_resumed(
        lambda: MLflow("digits", name="first", config=config, every=EVERY),
        lambda: ended.append(services.runs["run0"]["ended"]),
    )
    (run,) = services.runs.values()
    assert ended == ["FAILED"]
    assert (run["experiment"], run["name"], run["ended"]) == ("digits", "first", "FINISHED")
    assert run["begun"] == 2
    assert run["parameters"] == {"model.spec": "MLP()", "seed": "0", "long": "x" * 500}
    for name, values in measured(history).items():
        assert run["told"][name] == list(values.items())
    steps = [step for step, _ in run["told"]["step/loss"]]
    assert steps == list(range(EVERY, EPOCHS * STEPS_AN_EPOCH + 1, EVERY))


def test_wandb_goes_on_with_its_run(services: Service, tmp_path: Path) -> None:
    folder, ended = tmp_path / "run", []
    history = killed_and_resumed(
        lambda: WeightsAndBiases("p", name="n", config={"a": 1}, folder=folder, every=EVERY),
        lambda: ended.append(services.runs["run0"]["ended"]),
    )
    (run,) = services.runs.values()
    assert (run["project"], run["name"], run["config"]) == ("p", "n", {"a": 1})
    assert (run["dir"], folder.is_dir()) == (str(folder), True)
    assert (ended, run["ended"], run["begun"]) == ([1], 0, 2)
    for name, values in measured(history).items():
        assert dict(run["told"][name]) == values
    assert dict(run["told"]["epoch"]) == {4 * epoch: epoch for epoch in range(1, EPOCHS + 1)}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MLflow("e", uri="http://nowhere"), r"got http://nowhere \(no route\)\."),
        (lambda: WeightsAndBiases("p"), r"cannot open a run \(no route\)\. Run 'wandb login'"),
    ],
)
def test_a_service_that_is_not_there_is_said_before_training(
    services: Service, make: Any, words: str
) -> None:
    services.down = True
    training = trainer(make())
    with pytest.raises(UsageError, match=words):
        fit(training, batches())
    assert training.step == 0


def test_a_server_that_goes_down_does_not_end_training(services: Service) -> None:
    class Down:
        def on_epoch(self, trainer: Trainer) -> None:
            services.down = trainer.epoch >= 2

    training = trainer(MLflow("e", every=EVERY), Down())
    with pytest.warns(RuntimeWarning, match=r"nothing more is sent \(no route\)") as told:
        fit(training, batches())
    assert len(told) == 1
    assert training.epoch == EPOCHS
    assert max(step for step, _ in services.runs["run0"]["told"]["lr"]) == 2 * STEPS_AN_EPOCH


def in_real(tmp_path: Path, make: str) -> dict[str, Any]:
    """Run a killed and resumed training in a process of its own, whose home is empty."""
    code = (
        "import json, sys\n"
        "from tests.train.test_loggers import killed_and_resumed, measured\n"
        "from fitwell.train import MLflow, WeightsAndBiases\n"
        f"make = lambda: {make}\n"
        "print(json.dumps(measured(killed_and_resumed(make, lambda: None))))\n"
    )
    variables = {
        k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "MLFLOW", "XDG"))
    }
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={
            **variables,
            "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")]),
            "HOME": str(tmp_path / "home"),
            "WANDB_MODE": "offline",
            "WANDB_SILENT": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ALLOW_FILE_STORE": "true",
            "http_proxy": "http://127.0.0.1:9",  # nothing listens there
            "https_proxy": "http://127.0.0.1:9",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(find_spec("mlflow") is None, reason="needs mlflow-skinny")
def test_mlflow_itself_takes_it(tmp_path: Path) -> None:
    uri = (tmp_path / "mlruns").as_uri()
    expected = in_real(tmp_path, f"MLflow('e', name='n', uri={uri!r}, every=2, config={{'a': 1}})")
    (run,) = (tmp_path / "mlruns").glob("*/*/meta.yaml")
    assert (run.parent / "params" / "a").read_text() == "1"
    assert "status: 3" in run.read_text()  # finished
    for name, values in expected.items():
        lines = (run.parent / "metrics" / name).read_text().splitlines()
        told = [(step, float(value)) for _, value, step in map(str.split, lines)]
        assert told == list(values.items())


@pytest.mark.skipif(find_spec("wandb") is None, reason="needs wandb")
def test_wandb_itself_takes_it_offline(tmp_path: Path) -> None:
    expected = in_real(tmp_path, "WeightsAndBiases('p', name='n', every=2, folder='kept')")
    files = sorted((tmp_path / "kept" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len({file.name for file in files}) == 1  # the same id
    told: dict[str, dict[str, float]] = defaultdict(dict)
    for file in files:
        for record in wandb_records(file):
            items = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record}
            for name in expected.keys() & items.keys():
                told[name].setdefault(str(items["_step"]), items[name])
    assert told == expected


def wandb_records(file: Path) -> Iterator[Any]:
    """Give the items of each history record: blocks of 32 kB with checksum, length and kind."""
    from wandb.proto import wandb_internal_pb2

    data, place, part = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        part += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            part = b""
            if record.WhichOneof("record_type") == "history":
                yield record.history.item
