"""Gradients on their way back, against autograd by hand and networks whose factor is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import fitwell
from fitwell.core.errors import UsageError
from fitwell.doctor import GradientFlow, gradient_flow, state_digest
from fitwell.doctor._probes._gradient_flow import _RANK, _Along
from fitwell.doctor._probes._traced import Path
from fitwell.doctor._probes._unrolled import unrolled
from fitwell.nn import ResNet20

STEPS, FEATURES, HIDDEN, CLASSES = 7, 4, 5, 2
FORMS = [
    (1, False, True, True),
    (2, True, False, False),
    (2, False, True, False),
    (1, True, True, True),
]
EXACT = {"atol": 1e-12, "rtol": 1e-10}  # float64
NEAR = 1e-5  # relative, float32


def recurrent(kind: str, **options: Any) -> nn.RNNBase:
    made: dict[str, Callable[..., nn.RNNBase]] = {
        "tanh": nn.RNN,
        "relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
        "lstm": nn.LSTM,
        "projected": lambda *a, **k: nn.LSTM(*a, proj_size=3, **k),
        "gru": nn.GRU,
    }
    torch.manual_seed(0)
    return made[kind](FEATURES, HIDDEN, **options).double()


def parts_of(found: Any) -> list[Tensor]:
    output, state = found
    output = getattr(output, "data", output)
    return [output, *(state if isinstance(state, tuple) else (state,))]


@pytest.mark.parametrize("form", ["batch", "one", "sorted", "unsorted"])
@pytest.mark.parametrize("kind", ["tanh", "relu", "lstm", "projected", "gru"])
def test_recurrent_layers_as_loops_equal_those_of_torch(kind: str, form: str) -> None:
    for layers, both, bias, first in FORMS:
        layer = recurrent(kind, num_layers=layers, bidirectional=both, bias=bias, batch_first=first)
        x: Any = torch.randn(3, STEPS, FEATURES).double()
        x = x if first else x.transpose(0, 1)
        state: Any = None
        if form == "one":
            x = x[0] if first else x[:, 0]
        elif form != "batch":
            lengths = torch.tensor([7, 5, 3] if form == "sorted" else [3, 7, 5])
            ordered = form == "sorted"
            x = pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=ordered)
        if form != "one" and bias:
            rows = layers * (2 if both else 1)
            state = torch.randn(rows, 3, layer.proj_size or HIDDEN).double()
            if layer.mode == "LSTM":
                state = (state, torch.randn(rows, 3, HIDDEN).double())
        loop = unrolled(layer, lambda *_: None)
        theirs, ours = parts_of(layer(x, state)), parts_of(loop(x, state))
        for one, other in zip(theirs, ours, strict=True):
            torch.testing.assert_close(one, other, **EXACT)
        gradients = [
            torch.autograd.grad(
                sum((part.square().sum() for part in found), torch.zeros(())),
                list(layer.parameters()),
            )
            for found in (theirs, ours)
        ]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, **EXACT)


class Reader(nn.Module):
    """Reads a sequence, and answers after its last step."""

    def __init__(self, layer: nn.RNNBase, width: int | None = None) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(width or layer.hidden_size, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(self.layer(x)[0][:, -1])
        return answer


def sequences(steps: int = STEPS, count: int = 32) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, steps, FEATURES, generator=generator)
    pairs = zip(x.split(count // 4), (torch.arange(count) % CLASSES).split(count // 4), strict=True)
    return list(pairs)


def by_hand(
    layer: nn.LSTM | nn.RNN, x: Tensor, loss: Callable[[list[Tensor]], Tensor]
) -> list[list[float]]:
    """Run a layer as a loop over torch's cells; give norms of the whole and the carried gradient.

    The carried one comes from the last step alone: the rest of the loss is cut off before it.
    """
    lstm = isinstance(layer, nn.LSTM)
    cell = (nn.LSTMCell if lstm else nn.RNNCell)(FEATURES, layer.hidden_size)
    cell.load_state_dict({name.removesuffix("_l0"): p for name, p in layer.named_parameters()})
    found = []
    for cut in (False, True):
        state: Any = None
        states, outputs = [], []
        for step in range(x.shape[1]):
            state = cell(x[:, step], state)
            parts = state if isinstance(state, tuple) else (state,)
            for part in parts:
                part.retain_grad()
            states.append(parts)
            last = step == x.shape[1] - 1
            outputs.append(parts[0].detach() if cut and not last else parts[0])
        loss(outputs).backward()
        found.append(
            [
                math.sqrt(sum(float(p.grad.square().sum()) for p in parts if p.grad is not None))
                for parts in states
            ]
        )
    return found


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
@pytest.mark.parametrize("everywhere", [False, True])
def test_norms_in_time_equal_autograd_on_a_loop(kind: type[nn.RNNBase], everywhere: bool) -> None:
    class Every(Reader):
        def forward(self, x: Tensor) -> Tensor:
            steps: Tensor = self.head(self.layer(x)[0])
            return steps if everywhere else steps[:, -1:]

    torch.manual_seed(0)
    model = Every(kind(FEATURES, HIDDEN, batch_first=True))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets[:, None, None]).square().mean()

    pairs = sequences()[:4]
    found = gradient_flow(model, loss, [(x, y.float()) for x, y in pairs])
    rows = []
    for x, y in pairs:

        def whole(outputs: list[Tensor], y: Tensor = y) -> Tensor:
            used = outputs if everywhere else outputs[-1:]
            answers = torch.stack([model.head(output) for output in used], dim=1)
            return loss(answers, y.float())

        rows.append(by_hand(model.layer, x, whole))  # type: ignore[arg-type]
    for number, seen in enumerate((found.norms["layer_l0"], found.carried["layer_l0"])):
        means = [
            math.exp(sum(math.log(row[number][t]) for row in rows) / len(rows))
            for t in range(STEPS)
        ]
        assert seen == pytest.approx(means, rel=NEAR)
    same = found.norms["layer_l0"] == pytest.approx(found.carried["layer_l0"], rel=NEAR)
    assert same is not everywhere


def test_norms_in_depth_equal_autograd() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 6), nn.Linear(6, 2)
    )
    pairs = [(torch.randn(8, 1, FEATURES), torch.arange(8) % 2) for _ in range(4)]
    found = gradient_flow(model, F.cross_entropy, pairs)
    rows = []
    for x, y in pairs:
        outputs = []
        for layer in model:
            x = F.relu(x) if isinstance(layer, nn.ReLU) else layer(x)
            x.retain_grad()
            outputs.append(x)
        F.cross_entropy(x, y).backward()
        rows.append([float(outputs[i].grad.norm()) for i in (0, 3, 4)])  # type: ignore[union-attr]
    assert found.layers == ("0", "3", "4")
    means = [math.exp(sum(map(math.log, column)) / 4) for column in zip(*rows, strict=True)]
    assert found.norms["depth"] == pytest.approx(means, rel=NEAR)
    assert found.path == "depth"
    assert found.value == pytest.approx(means[0] / means[-1], rel=NEAR)


@pytest.mark.parametrize("gain", [0.8, 1.0, 1.25])
def test_the_factor_of_a_deep_linear_network(gain: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(40)))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(gain * nn.init.orthogonal_(p))
    pairs = [(torch.randn(16, 8), torch.randn(16, 8)) for _ in range(5)]
    found = gradient_flow(model, F.mse_loss, pairs)
    assert found.factor == pytest.approx(gain, rel=NEAR)
    assert found.factor_interval == pytest.approx((gain, gain), rel=NEAR)
    assert found.value == pytest.approx(gain**39, rel=1e-4)
    assert found.found is (gain != 1)
    assert found.control == pytest.approx(1, rel=0.05)


def rectified(radius: float) -> Reader:
    """A recurrence on the positive side, where it is linear and its spectral radius is known."""
    torch.manual_seed(0)
    model = Reader(nn.RNN(FEATURES, 8, nonlinearity="relu", batch_first=True))
    with torch.no_grad():
        model.layer.weight_hh_l0.copy_(radius * torch.eye(8))
        model.layer.weight_ih_l0.fill_(0.1)
        model.layer.bias_ih_l0.fill_(0.1)
        model.layer.bias_hh_l0.zero_()
    return model


def positive(steps: int) -> list[tuple[Tensor, Tensor]]:
    return [(x.abs(), y) for x, y in sequences(steps)]


@pytest.mark.parametrize("radius", [0.7, 1.0, 1.5])
def test_rnn_19_a_spectral_radius_above_1_explodes(radius: float) -> None:
    found = gradient_flow(rectified(radius), F.cross_entropy, positive(40))
    change = found.norms["layer_l0"][0] / found.norms["layer_l0"][-1]  # type: ignore[operator]
    assert change == pytest.approx(radius**39, rel=1e-3)
    assert found.found is (radius != 1)
    if radius != 1:
        assert found.path == "layer_l0"
        assert found.factor == pytest.approx(radius, rel=NEAR)
        verb = "vanishes" if radius < 1 else "explodes"
        assert str(found).startswith(f"The gradient {verb} over 40 steps of layer_l0: its weights")


def test_rnn_19_gradients_that_are_not_finite() -> None:
    model = rectified(1e3)
    found = gradient_flow(model, lambda o, _: (1e-20 * o).sum(), positive(12))
    assert found.found is True
    assert found.first_nonfinite is None  # so large and still finite
    assert found.value > 1e30
    found = gradient_flow(model, lambda o, _: o.sum(), positive(16))
    assert found.path == "layer_l0"
    assert found.first_nonfinite is not None
    assert 1 <= int(found.first_nonfinite) <= 4
    assert "not finite at step" in found.conclusion


def sigmoid_net(depth: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(FEATURES, 16), nn.Sigmoid()]
    for _ in range(depth - 1):
        layers += [nn.Linear(16, 16), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(16, CLASSES))


def rows(count: int = 64) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(count, FEATURES, generator=generator), torch.arange(count) % CLASSES)]


def test_rnn_18_a_net_of_50_sigmoids_vanishes() -> None:
    found = gradient_flow(sigmoid_net(50), F.cross_entropy, rows())
    assert found.found is True
    assert found.value < 1e-20
    assert found.interval[1] < 1e-20
    assert found.factor < 0.25  # the slope of a sigmoid at most
    assert found.control < 1e-3  # so it does with other weights: the architecture is at fault
    assert "vanishes over 51 layers, also with orthogonal weights" in found.conclusion
    assert gradient_flow(sigmoid_net(2), F.cross_entropy, rows()).found is False


def test_rnn_18_a_long_recurrence_vanishes_and_gates_hold_it() -> None:
    torch.manual_seed(0)
    plain = Reader(nn.RNN(FEATURES, 16, batch_first=True))
    gated = Reader(nn.LSTM(FEATURES, 16, batch_first=True))
    long = sequences(60)
    found = gradient_flow(plain, F.cross_entropy, long)
    assert found.found is True
    assert found.path == "layer_l0"
    assert found.interval[1] < 1e-9
    closed = gradient_flow(gated, F.cross_entropy, long)
    assert "its weights are the fault" in closed.conclusion  # the forget gate stands half open
    with torch.no_grad():
        gated.layer.bias_ih_l0[16:32] = 5.0
    held = gradient_flow(gated, F.cross_entropy, long)
    assert held.found is False
    assert "60 steps of layer_l0" in held.conclusion


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(self.layers(self.embed(x)).mean(dim=1))
        return answer


def kaiming_net() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for width in (FEATURES, *[64] * 19):
        layers += [nn.Linear(width, 64), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, CLASSES))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    return model


def test_healthy_networks_are_silent() -> None:
    torch.manual_seed(0)
    labels = torch.arange(16) % CLASSES
    cases: list[tuple[nn.Module, list[tuple[Tensor, Tensor]]]] = [
        (kaiming_net(), rows()),
        (ResNet20(out_features=CLASSES), [(torch.randn(16, 3, 16, 16), labels)]),
        (Attending(), [(torch.randint(20, (16, 8)), labels)]),
    ]
    for model, pairs in cases:
        found = gradient_flow(model, F.cross_entropy, pairs)
        assert found.found is False, found.conclusion
        assert found.interval[0] <= found.value <= found.interval[1]


class Looped(nn.Module):
    """Calls a cell in a loop: torch's, or one of its own."""

    def __init__(self, cell: nn.Module, joined: bool = False) -> None:
        super().__init__()
        self.cell, self.joined = cell, joined
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        state: Any = None if not self.joined else x.new_zeros(len(x), 8)
        for step in x.unbind(dim=1):
            if self.joined:
                state = torch.tanh(self.cell(torch.cat([step, state], dim=1)))
            elif isinstance(self.cell, nn.RNNBase):
                state = self.cell(step[:, None], state)[1]
            else:
                state = self.cell(step, state)
        last = state[0] if isinstance(state, tuple) else state
        answer: Tensor = self.head(last.reshape(-1, 8))
        return answer


def test_cells_called_in_a_loop_are_steps_in_time() -> None:
    """The same weights as cell, as layer, and as layer that is called step by step."""
    torch.manual_seed(0)
    layer, cell = nn.LSTM(FEATURES, 8, batch_first=True), nn.LSTMCell(FEATURES, 8)
    cell.load_state_dict({name.removesuffix("_l0"): p for name, p in layer.named_parameters()})
    reader, pairs = Reader(layer), sequences(12)
    found: list[GradientFlow] = []
    for model in (Looped(cell), Looped(layer)):
        model.head.load_state_dict(reader.head.state_dict())
        found.append(gradient_flow(model, F.cross_entropy, pairs))
    whole = gradient_flow(reader, F.cross_entropy, pairs)
    assert found[0].norms["cell"] == pytest.approx(whole.norms["layer_l0"], rel=NEAR)
    assert found[1].norms["cell_l0"] == pytest.approx(whole.norms["layer_l0"], rel=NEAR)
    assert found[0].carried["cell"] == pytest.approx(whole.carried["layer_l0"], rel=NEAR)


def test_a_layer_of_ones_own_in_a_loop_is_seen() -> None:
    torch.manual_seed(0)
    model = Looped(nn.Linear(FEATURES + 8, 8), joined=True)
    found = gradient_flow(model, F.cross_entropy, sequences(40))
    assert found.path == "cell"
    assert len(found.norms["cell"]) == 40
    assert found.found is True


class Shared(nn.Module):
    """Uses one encoder for two inputs, one activation many times, and a layer twice in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(FEATURES, 8)
        self.mix = nn.Linear(8, 8)
        self.act = nn.ReLU()
        self.frozen = nn.Linear(FEATURES, 8).requires_grad_(False)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.encode(x)) + self.act(self.encode(-x)) + self.frozen(x)
        answer: Tensor = self.head(self.act(self.mix(self.act(self.mix(x)))))
        return answer


def test_shared_layers_are_told_apart_where_they_follow_from_each_other() -> None:
    torch.manual_seed(0)
    found = gradient_flow(Shared(), F.cross_entropy, rows())
    assert found.layers == ("encode", "frozen", "mix", "mix (2)", "head")
    assert list(found.norms) == ["depth"]
    assert found.norms["depth"][1] is None  # nothing flows into what is frozen


def test_sequences_of_other_lengths_are_laid_end_to_end() -> None:
    torch.manual_seed(0)
    model = Reader(nn.GRU(FEATURES, HIDDEN, batch_first=True))
    pairs = [(torch.randn(8, steps, FEATURES), torch.arange(8) % 2) for steps in (9, 6, 9, 9)]
    found = gradient_flow(model, F.cross_entropy, pairs)
    assert len(found.norms["layer_l0"]) == 9
    alone = gradient_flow(model, F.cross_entropy, [pairs[0], pairs[2], pairs[3], pairs[3]])
    assert found.norms["layer_l0"][-1] != alone.norms["layer_l0"][-1]
    assert None not in found.norms["layer_l0"]


def test_a_loss_at_every_step_hides_what_comes_from_far() -> None:
    """Every step gets a gradient of its own: no alarm, though little is carried back."""
    torch.manual_seed(0)

    class Tagger(Reader):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(x)[0]).transpose(1, 2)  # type: ignore[no-any-return]

    model = Tagger(nn.RNN(FEATURES, 16, batch_first=True))
    pairs = [(x, (x[..., 0] > 0).long()) for x, _ in sequences(60)]
    found = gradient_flow(model, F.cross_entropy, pairs)
    carried = found.carried["layer_l0"]
    assert found.found is False
    assert carried[0] < 1e-9 * carried[-1]  # type: ignore[operator]
    last = gradient_flow(model, lambda o, y: F.cross_entropy(o[..., -1], y[:, -1]), pairs)
    assert last.found is True


def test_dead_and_single_layers() -> None:
    dead = sigmoid_net(2)
    dead[1] = nn.ReLU()
    with torch.no_grad():
        dead[0].bias.fill_(-100.0)
    found = gradient_flow(dead, F.cross_entropy, rows())
    assert found.found is True
    assert found.norms["depth"][0] == 0.0
    assert found.value == 0.0
    one = gradient_flow(nn.Linear(FEATURES, CLASSES), F.cross_entropy, rows())
    assert one.found is None
    assert str(one).startswith("Insufficient evidence")
    assert one.figure().axes[0].get_xlabel() == ""


def test_a_single_batch_that_cannot_be_cut_is_no_evidence() -> None:
    torch.manual_seed(0)
    model = Reader(nn.GRU(FEATURES, HIDDEN, batch_first=True))
    found = gradient_flow(model, F.cross_entropy, [(x[:2], y[:2]) for x, y in sequences()[:1]])
    assert found.found is None
    assert str(found).startswith("Insufficient evidence how the gradient changes over 7 steps")


def test_nothing_is_changed_and_everything_repeats() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, CLASSES)
    )
    model.eval()
    pairs = rows()
    before = state_digest(model, pairs)
    found = [gradient_flow(model, F.cross_entropy, pairs) for _ in range(2)]
    assert state_digest(model, pairs) == before
    assert found[0] == found[1]


def test_plain_data_and_picture() -> None:
    found = gradient_flow(rectified(1.5), F.cross_entropy, positive(10))
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["path"] == found.path
    axes = found.figure().axes[0]
    assert axes.get_yscale() == "log"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]  # type: ignore[union-attr]
    assert labels == ["depth, 2 layers", "layer_l0, 10 steps", "orthogonal weights"]


def test_wrong_limits_and_no_batches_are_told() -> None:
    with pytest.raises(UsageError, match=r"`limit` must be above 1; got 0.5"):
        gradient_flow(sigmoid_net(2), F.cross_entropy, rows(), limit=0.5)
    with pytest.raises(UsageError, match="`batches` must give at least one pair"):
        gradient_flow(sigmoid_net(2), F.cross_entropy, [])
    assert fitwell.doctor.gradient_flow is gradient_flow


def _chain(form: str) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(FEATURES, FEATURES) for _ in range(4)]
    wrap: dict[str, Callable[[nn.Module], nn.Module]] = {
        "plain": lambda layer: layer,
        "weight norm": nn.utils.parametrizations.weight_norm,
        "spectral norm": nn.utils.parametrizations.spectral_norm,
        "old spectral norm": nn.utils.spectral_norm,
    }
    return nn.Sequential(*(wrap[form](layer) for layer in layers), nn.Linear(FEATURES, CLASSES))


@pytest.mark.parametrize("form", ["weight norm", "spectral norm", "old spectral norm"])
def test_layers_whose_weights_are_computed_are_traced_as_plain_ones(form: str) -> None:
    model, twin = _chain(form), _chain("plain")
    pairs = [(x[:, 0], y) for x, y in sequences()]
    before = state_digest(model)
    found = gradient_flow(model, F.cross_entropy, pairs)
    assert state_digest(model) == before
    assert found.layers == ("0", "1", "2", "3", "4")
    model.eval()(pairs[0][0])
    with torch.no_grad():
        for layer, other in zip(model, twin, strict=True):
            other.weight.copy_(layer.weight)
            other.bias.copy_(layer.bias)
    expected = gradient_flow(twin, F.cross_entropy, pairs)
    assert found.norms["depth"] == pytest.approx(expected.norms["depth"], rel=0.05)
    assert found.remade["depth"] == pytest.approx(expected.remade["depth"], rel=NEAR)


def test_a_container_that_ends_in_place_has_gradients_of_its_own() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True)), nn.Linear(4, CLASSES)
    )
    twin = nn.Sequential(nn.Sequential(model[0][0], nn.ReLU()), model[1])
    pairs = [(x[:, 0], y) for x, y in sequences()]
    found, expected = (gradient_flow(m, F.cross_entropy, pairs) for m in (model, twin))
    assert found.norms == expected.norms


def test_the_control_of_tied_layers_and_of_half_precision() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(4)), nn.Linear(8, 2))
    model[2].weight = model[0].weight
    pairs = [(torch.randn(16, 8), torch.arange(16) % 2) for _ in range(4)]
    found = gradient_flow(model, F.cross_entropy, pairs)
    assert 0.1 < found.control < 10
    half = [(x.bfloat16(), y) for x, y in pairs]
    coarse = gradient_flow(model.bfloat16(), lambda out, y: F.cross_entropy(out.float(), y), half)
    assert coarse.control == pytest.approx(found.control, rel=0.2)


def test_a_path_without_evidence_keeps_the_others_from_being_called_well() -> None:
    def along(name: str, value: float, low: float, high: float) -> _Along:
        path = Path(name, ("1", "2"), (value, 1.0), (value, 1.0))
        return _Along(
            path=path,
            value=value,
            interval=(low, high),
            factor=1,
            factor_interval=(1, 1),
            nonfinite=None,
        )

    well, unsure = along("depth", 90.0, 80.0, 95.0), along("loop", 3.0, 0.01, 900.0)
    assert (well.bad(100), unsure.bad(100)) == (False, None)
    assert along("loop", 3.0, 200.0, 900.0).bad(100) is True
    worst = max((well, unsure), key=lambda one: (_RANK[one.bad(100)], one.size))
    assert worst is unsure
