"""Each mistake is made on purpose with the installed torch; its explanation names what matters."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fitwell
from fitwell.core.errors import DataError, FitwellError, RunError, TrainingError, UsageError
from fitwell.train import Explanation, explain, explain_errors
from fitwell.train._explain._scene import Scene

from .mistakes import CASES, IMAGES, LOGITS, ROWS, Net, explained, labels, total


@pytest.mark.parametrize("name", CASES)
def test_the_explanation_names_what_matters(name: str) -> None:
    mistake, kind, said = CASES[name]
    explanation = explained(mistake)
    assert explanation.kind == kind
    assert explanation.line.startswith("mistakes.py:")
    text = str(explanation)
    assert [part for part in said if part not in text] == [], text
    assert text.endswith(".")
    assert "\n" not in text


def test_pt_25_layers_are_named_by_their_path() -> None:
    net = Net()
    explanation = explained(lambda: net(torch.zeros(2, 3, 10, 10)), net)
    assert explanation.where == "head (Linear(in_features=64, out_features=3, bias=True))"
    assert [t.shape for t in explanation.tensors] == [(2, 144), (3, 64)]
    assert "not 144" in explanation.cause
    inner = explained(lambda: net(torch.zeros(2, 1, 8, 8)))  # the model is found in the frames
    assert inner.where.startswith("features.0 (Conv2d(3, 8")
    assert explanation.to_dict()["tensors"][0]["shape"] == (2, 144)


def test_wrappers_leave_no_mark_in_the_path() -> None:
    compiled = nn.ModuleDict({"_orig_mod": Net()})  # the names that torch.compile makes
    inner = compiled["_orig_mod"]
    explanation = explained(lambda: inner(torch.zeros(2, 1, 8, 8)), compiled)
    assert explanation.where.startswith("features.0 (Conv2d(3, 8")
    parallel = nn.DataParallel(Net())
    explanation = explained(lambda: parallel(torch.zeros(2, 1, 8, 8)), parallel)
    assert explanation.where.startswith("features.0 (Conv2d(3, 8")


def test_the_users_names_are_used() -> None:
    def step() -> None:
        scores, answers = LOGITS, labels(0.0, 1.0, 2.0, 0.0)
        nn.CrossEntropyLoss()(scores, answers)

    explanation = explained(step)
    assert explanation.fix == "Pass answers.long()."
    assert [t.called for t in explanation.tensors] == ["scores", "answers"]
    assert "target `answers` (4,) float32" in str(explanation)


def test_other_tensors_of_the_user_are_left_out() -> None:
    def step() -> None:
        unrelated = torch.zeros(99)
        torch.stack([torch.zeros(2), torch.zeros(3)])
        unrelated.sum()

    assert explained(step).tensors == ()


FIXES: dict[str, Callable[[], Tensor]] = {
    "transposed": lambda: nn.Linear(4, 3)(ROWS.T),
    "flatten": lambda: nn.Linear(192, 3)(IMAGES.flatten(1)),
    "second axis": lambda: nn.Linear(5, 3)(torch.zeros(2, 5, 7).transpose(1, -1)),
    "channels last": lambda: nn.Conv2d(3, 16, 3)(torch.zeros(4, 8, 8, 3).permute(0, 3, 1, 2)),
    "sequence last": lambda: nn.Conv1d(40, 16, 3)(torch.zeros(2, 100, 40).permute(0, 2, 1)),
    "one image, channels last": lambda: nn.Conv2d(3, 16, 3)(
        torch.zeros(8, 8, 3).permute(2, 0, 1).unsqueeze(0)
    ),
    "gray without channel": lambda: nn.Conv2d(1, 16, 3)(torch.zeros(4, 8, 8).unsqueeze(1)),
    "gray for color": lambda: nn.Conv2d(3, 16, 3)(torch.zeros(4, 1, 8, 8).expand(-1, 3, -1, -1)),
    "one matrix": lambda: nn.Conv2d(1, 16, 3)(torch.zeros(8, 8).unsqueeze(0).unsqueeze(0)),
    "product": lambda: torch.zeros(3, 4) @ torch.zeros(5, 4).T,
    "product, first": lambda: torch.zeros(3, 4).T @ torch.zeros(3, 5),
    "product, exchanged": lambda: torch.zeros(5, 3) @ torch.zeros(3, 4),
    "broadcast": lambda: torch.zeros(4, 3) + torch.zeros(4)[:, None],
    "float labels": lambda: F.cross_entropy(LOGITS, labels(0.0, 1.0, 2.0, 0.0).long()),
    "labels from 1": lambda: F.cross_entropy(LOGITS, labels(1, 2, 3, 1) - 1),
    "negative label": lambda: F.cross_entropy(LOGITS, labels(0, 1, 2, -1), ignore_index=-1),
    "one-hot": lambda: F.cross_entropy(LOGITS, F.one_hot(labels(0, 1, 2, 0), 3).argmax(dim=1)),
    "extra axis": lambda: F.cross_entropy(LOGITS, labels(0, 1, 2, 0).unsqueeze(1).squeeze(1)),
    "classes last": lambda: F.cross_entropy(
        torch.zeros(4, 7, 10).movedim(-1, 1), torch.zeros(4, 7, dtype=torch.int64)
    ),
    "broadcast loss": lambda: F.mse_loss(torch.zeros(4, 1).squeeze(-1), torch.zeros(4)),
    "logits as probabilities": lambda: nn.BCEWithLogitsLoss()(
        torch.tensor([1.5, 0.2]), torch.tensor([1.0, 0.0])
    ),
    "bytes": lambda: nn.Conv2d(3, 4, 3)(IMAGES.to(torch.uint8).float() / 255),
    "doubles": lambda: nn.Linear(10, 3)(ROWS.double().float()),
    "low precision weights": lambda: nn.Conv2d(3, 4, 3).bfloat16()(IMAGES.to(torch.bfloat16)),
    "float indices": lambda: nn.Embedding(5, 3)(torch.zeros(4).long()),
    "index too high": lambda: nn.Embedding(6, 3)(labels(1, 5)),
}


@pytest.mark.parametrize("name", FIXES)
def test_the_fix_works(name: str) -> None:
    assert torch.isfinite(FIXES[name]().float()).all()
    assert name in CASES


def test_pt_27_long_is_proposed_for_whole_numbers_only() -> None:
    # Any labels: the proposal follows the values, and what is proposed trains.
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        whole = torch.randint(0, 3, (4,), generator=generator)
        floats = whole.to(torch.float32)
        assert explained(lambda y=floats: F.cross_entropy(LOGITS, y)).fix == "Pass y.long()."
        loss = F.cross_entropy(LOGITS, floats.long())
        assert torch.equal(loss, F.cross_entropy(LOGITS, whole))
        numbers = floats + torch.rand(4, generator=generator).clamp(0.01, 0.99)
        fix = explained(lambda y=numbers: F.cross_entropy(LOGITS, y)).fix
        assert ".long()" not in fix
        assert "MSE" in fix
    unread = RuntimeError("expected scalar type Long but found Float")  # as torch 1 said it
    explanation = explain(unread)
    assert explanation is not None
    assert explanation.kind == "label-dtype"
    assert explanation.fix.startswith("If the labels are whole numbers")


def test_pt_24_tensors_on_different_devices() -> None:
    layer = nn.Linear(3, 2)
    elsewhere = torch.zeros(4, 3, device="meta")
    explanation = explained(lambda: layer(elsewhere))
    assert explanation.kind == "device"
    assert explanation.cause == "its tensors must be on one device, not cpu and meta"
    assert explanation.fix.endswith('elsewhere = elsewhere.to("cpu").')
    assert "(4, 3) float32 on meta" in str(explanation)
    lazy = nn.Linear(3, 2, device="meta")
    assert "to_empty" in explained(lambda: lazy(torch.zeros(4, 3))).fix
    added = explained(lambda: total(torch.zeros(3), elsewhere))
    assert added.fix == 'Move right to where the rest is: right = right.to("cpu").'
    here = torch.zeros(3)
    joined = explained(lambda: here + elsewhere)
    assert joined.fix == "Move one of them: elsewhere = elsewhere.to(here.device)."
    recurrent = explained(lambda: nn.LSTM(3, 2)(torch.zeros(4, 2, 3, device="meta")))
    assert recurrent.cause.endswith("not meta and cpu")
    targets = torch.zeros(4, dtype=torch.int64, device="meta")
    assert "targets.to" in explained(lambda: F.cross_entropy(LOGITS, targets)).fix


class Careless(nn.Module):
    """Keeps a layer where the model does not find it, and makes a tensor elsewhere."""

    def __init__(self, *, hidden: bool) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.rest = [nn.Linear(3, 2, device="meta" if hidden else "cpu")]

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.zeros(3, device="meta")
        return self.rest[0](self.first(x)) + self.first.weight[0] * noise


def test_pt_24_what_was_left_behind_is_named() -> None:
    hidden = Careless(hidden=True)
    explanation = explained(lambda: hidden(torch.zeros(4, 3)), hidden)
    assert "not registered" in explanation.fix
    assert "nn.ModuleList" in explanation.fix
    made = Careless(hidden=False)
    explanation = explained(lambda: made(torch.zeros(4, 3)), made)
    assert explanation.where == "Careless"
    assert "device=x.device" in explanation.fix
    halves = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2, device="meta"))
    explanation = explained(lambda: halves(torch.zeros(4, 3)), halves)
    assert "several devices" in explanation.fix


CUDA = {
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and"
    " cpu! (when checking argument for argument mat1 in method wrapper_CUDA_addmm)": "device",
    "Expected all tensors to be on the same device, but got mat1 is on cpu, different from other"
    " tensors on cuda:0 (when checking argument in method wrapper_CUDA_addmm)": "device",
    "Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same": (
        "device"
    ),
    "Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the same or"
    " input should be a MKLDNN tensor and weight is a dense tensor": "device",
    "Input and parameter tensors are not at the same device, found input tensor at cpu and"
    " parameter tensor at cuda:0": "device",
    "indices should be either on cpu or on the same device as the indexed tensor (cpu)": "device",
    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor": (
        "device"
    ),
    "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False.": (
        "device"
    ),
    "CUDA error: device-side assert triggered": "index-range",
    "mat1 and mat2 must have the same dtype, but got Half and Float": "dtype",
    "Expected all tensors to be on the same device. addmm: expected 'mat1' to be a CPU tensor": (
        "device"
    ),
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU": "device",
    "CUDA error: invalid device ordinal": "device",
    "\"nll_loss_forward_reduce_cuda_kernel_2d_index\" not implemented for 'Int'": "label-dtype",
}


OTHERS = {
    "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast": "dtype",
    "Expected to have finished reduction in the prior iteration before starting a new one.": (
        "gradient-missing"
    ),
    "Input X contains NaN.": "not-finite",
    "received 0 items of ancdata": "worker",
    "DataLoader timed out after 5 seconds": "worker",
    "An attempt has been made to start a new process before the\n current process has finished its"
    " bootstrapping phase.": "worker",
}
"""Messages that take a GPU, several processes or another library to get."""


@pytest.mark.parametrize("message", [*CUDA, *OTHERS])
def test_pt_24_messages_that_take_other_machines(message: str) -> None:
    explanation = explain(RuntimeError(message))
    assert explanation is not None
    assert explanation.kind == {**CUDA, **OTHERS}[message]
    assert explanation.fix.endswith(".")


@pytest.mark.parametrize(
    "piece",
    [
        b"Expected all tensors to be on the same device, but found at least two devices, ",
        b"Expected all tensors to be on the same device, but got ",
        b", different from other tensors on ",
        b" tensors are not at the same device, found input tensor at ",
        b"indices should be either on ",
        b"mat1 and mat2 must have the same dtype, but got ",
    ],
)
def test_pt_24_the_installed_torch_has_these_messages(piece: bytes) -> None:
    import mmap

    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    if not library.is_file():
        pytest.skip("this build of torch keeps its messages elsewhere")
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        assert text.find(piece) >= 0
    assert any(piece.decode().strip() in message for message in CUDA)


def test_a_device_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    explanation = explained(lambda: torch.zeros(2, device="cuda"))
    assert explanation.kind == "device"
    assert "fitwell env" in explanation.fix


def test_backward_errors_have_no_layer_and_are_explained() -> None:
    weight = torch.ones(3, requires_grad=True)

    def twice() -> None:
        loss = (weight**2).sum()
        loss.backward()
        loss.backward()

    def in_place() -> None:
        hidden = weight.sigmoid()
        result = hidden * 1
        hidden.mul_(2)
        (result.sum() + hidden.sum()).backward()

    def leaf() -> None:
        weight.add_(1)

    assert explained(twice).kind == "graph-freed"
    assert "detach" in explained(twice).fix
    nothing = explained(lambda: torch.zeros(3).sum().backward())
    assert nothing.kind == "gradient-missing"
    assert "torch.no_grad()" in nothing.fix
    written = explained(in_place)
    assert written.kind == "in-place"
    assert "shape (3,)" in written.cause
    assert "Sigmoid" in written.cause
    assert explained(leaf).kind == "in-place"
    assert {explained(case).where for case in (twice, in_place, leaf)} == {""}
    unused = explained(lambda: torch.autograd.grad(weight.sum(), torch.ones(2, requires_grad=True)))
    assert unused.kind == "gradient-missing"
    assert explained(weight.numpy).fix == "Use tensor.detach().cpu().numpy()."


def test_a_step_between_forward_and_backward_is_named() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def steps() -> None:
        loss = model(torch.ones(2, 3)).sum()
        loss.backward(retain_graph=True)
        optimizer.step()
        loss.backward()

    explanation = explained(steps, model)
    assert explanation.kind == "in-place"
    assert "1.weight" in explanation.cause
    assert "after the last backward()" in explanation.fix


def test_a_frozen_model_is_named() -> None:
    model = nn.Linear(3, 1).requires_grad_(False)
    explanation = explained(lambda: model(torch.ones(2, 3)).sum().backward(), model)
    assert explanation.cause == "the model has no parameter that is trained"


def test_pt_23_a_wrong_call_is_explained_from_its_source() -> None:
    explanation = explained(lambda: nn.Conv2d(3, 16, kernal_size=3))  # type: ignore[call-arg]
    assert explanation.kind == "call"
    assert explanation.cause == "Conv2d has no argument named 'kernal_size'; nearest: kernel_size"
    tensor = torch.zeros(2, 2)
    named = explained(lambda: torch.max(tensor, 0, False, tensor))
    assert "by name, out=..." in named.fix


def test_errors_are_raised_as_fitwells_own(tmp_path: Path) -> None:
    net = Net()
    with (
        pytest.raises(UsageError, match=r"^fit: head .*must have 64 features, not 144") as raised,
        explain_errors(net, owner="fit"),
    ):
        net(torch.zeros(2, 3, 10, 10))
    assert isinstance(raised.value.__cause__, RuntimeError)
    for mistake, kind in (
        (lambda: net.load_state_dict({}), RunError),
        (lambda: (tmp_path / "none").read_text(), DataError),
        (lambda: torch.empty(1 << 46), TrainingError),
    ):
        with pytest.raises(kind, match=r"^train: "), fitwell.explain_errors():
            mistake()


def test_what_is_right_passes_unchanged() -> None:
    net = Net()
    inputs = torch.rand(2, 3, 8, 8)
    hooks = len(net._forward_hooks)
    with explain_errors(net):
        outputs = net(inputs)
        F.cross_entropy(outputs, torch.tensor([0, 2])).backward()
        assert len(net._forward_hooks) == hooks
    assert torch.equal(outputs, net(inputs))


@pytest.mark.parametrize(
    "error",
    [
        KeyError("a"),
        RuntimeError("something of the user's own"),
        ValueError("too many values to unpack (expected 2)"),
        TypeError("unsupported operand"),
        UsageError("fit: `lr` must be positive; got -1."),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_known_passes_unchanged(error: BaseException) -> None:
    assert explain(error) is None
    with pytest.raises(type(error)) as raised, explain_errors():
        raise error
    assert raised.value is error
    assert isinstance(error, FitwellError) or raised.value.__cause__ is None


def test_a_fault_of_an_explanation_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(scene: Scene) -> Explanation:
        raise ZeroDivisionError

    monkeypatch.setattr(sys.modules["fitwell.train._explain._explain"], "_explained", broken)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), explain_errors():
        nn.Linear(8, 3)(ROWS)


def test_code_without_source_is_explained_without_names() -> None:
    code = compile("def f(a, b):\n    return a @ b\n", "<nowhere>", "exec")
    space: dict[str, Any] = {}
    exec(code, space)
    explanation = explained(lambda: space["f"](torch.zeros(3, 4), torch.zeros(5, 4)))
    assert explanation.kind == "matmul-shape"
    assert explanation.line == "<nowhere>:2"
    assert [t.shape for t in explanation.tensors] == [(3, 4), (5, 4)]
