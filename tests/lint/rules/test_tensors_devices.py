"""Devices and speed."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in
from tests.lint.rules.tensors_programs import HEAD, loop, module, script

STEP = "loss = criterion(model(x), y)"
MODEL = "model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))"


def cuda(*lines: str) -> str:
    """Give a function that runs some lines."""
    return HEAD + "def run(model, x):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        loop(STEP, move="x, y = x.cuda(), y.cuda()").replace(", device):", "):"),
        loop(STEP, move="x, y = x.to('cuda'), y.to('cuda')").replace(", device):", "):"),
        loop(STEP, move="x, y = x.cuda(non_blocking=True), y.cuda()").replace(", device):", "):"),
        HEAD + "device = torch.device('cuda:0')\n" + module("return self.fc(x)").replace(HEAD, ""),
        module("return self.fc(x) + torch.ones(8, device='cuda')"),
        cuda("return model(x.cuda()).argmax(1)"),
    ],
)
def test_a_gpu_by_name_is_found(text: str) -> None:
    assert rules_in(text) == ["cuda-hard-coded"]


@pytest.mark.parametrize(
    "text",
    [
        loop(STEP),
        HEAD + "device = 'cuda' if torch.cuda.is_available() else 'cpu'\n",
        cuda("if torch.cuda.is_available():", "    model = model.cuda()", "return model(x)"),
        cuda("assert torch.cuda.is_available()", "return model.cuda()(x.cuda())"),
        HEAD + "def run(model, x, use_cuda):\n    if use_cuda:\n        x = x.cuda()\n"
        "    return model(x)\n",
        HEAD + "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--gpu')\n"
        "def run(model):\n    return model.cuda()\n",
        HEAD + "torch.cuda.set_device(0)\ndef run(model):\n    return model.cuda()\n",
        cuda("with torch.autocast('cuda'):", "    return model(x)"),
    ],
)
def test_a_gpu_that_is_asked_for_is_silent(text: str) -> None:
    assert rules_in(text) == []


def test_the_question_may_stand_in_another_file() -> None:
    main = HEAD + "from net import run\nif torch.cuda.is_available():\n    run(None, None)\n"
    assert rules_in(main, net=cuda("return model(x.cuda())")) == []
    alone = HEAD + "from net import run\nrun(None, None)\n"
    assert rules_in(alone, net=cuda("return model(x.cuda())")) == ["cuda-hard-coded"]


@pytest.mark.parametrize(
    "text",
    [
        script(MODEL + ".to(device)", STEP),
        script(MODEL + "\nmodel = model.to(device)", STEP),
        script(MODEL + "\nmodel.to(device)", "y = y.to(device)\n    " + STEP),
        script(MODEL, "x, y = x.to(device), y.to(device)\n    " + STEP),
        script(MODEL, "loss = criterion(model(x.to(device)), y.to(device))"),
        module("return self.table(torch.arange(8))", "self.table = nn.Embedding(8, 8)")
        + "model = Net().to('cuda' if torch.cuda.is_available() else 'cpu')\n",
        module(
            "h = torch.zeros(1, x.size(1), 8)\nout, h = self.rnn(x, h)\nreturn out",
            "self.rnn = nn.GRU(8, 8)",
        )
        + "device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')\n"
        "model = Net().to(device)\n",
    ],
)
def test_two_devices_are_found(text: str) -> None:
    assert rules_in(text) == ["mixed-devices"]


@pytest.mark.parametrize(
    "text",
    [
        script(MODEL, STEP),
        script(MODEL + ".to(device)", "x, y = x.to(device), y.to(device)\n    " + STEP),
        script(MODEL + ".to(device)", "x, y = [one.to(device) for one in (x, y)]\n    " + STEP),
        script("model = nn.DataParallel(nn.Linear(9, 2)).to(device)", STEP),
        script(
            MODEL + ".to(device)",
            STEP,
            "torch.utils.data.TensorDataset(a.to(device), b.to(device))",
        ),
        script(
            MODEL + ".to(device)",
            STEP,
            loader="torch.utils.data.DataLoader(data, 8, True, collate_fn=move)",
        ),
        script(MODEL + ".to(device)", STEP).replace(
            "from torch import nn", "from torch import nn\nimport accelerate"
        ),
        module(
            "return self.table(torch.arange(8, device=x.device))", "self.table = nn.Embedding(8, 8)"
        )
        + "model = Net().to('cuda' if torch.cuda.is_available() else 'cpu')\n",
        module("h = torch.zeros(1, 8).to(x.device)\nreturn self.fc(x) + self.fc(h)")
        + "model = Net().to('cuda' if torch.cuda.is_available() else 'cpu')\n",
        script(MODEL + ".to('cpu')", STEP),
    ],
)
def test_one_device_is_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize(
    "body",
    [
        "out = [model(x[i]) for i in range(2)]\nfor i in range(len(x)):\n"
        "    out[i] = model(x[i])\nloss = criterion(out[0], y)",
        "out = []\nfor i in range(x.shape[0]):\n    out.append(model(x[i:i + 1]))\n"
        "loss = criterion(torch.cat(out), y)",
        "out = []\nfor one, label in zip(x, y):\n    out.append(model(one.unsqueeze(0)))\n"
        "loss = criterion(torch.cat(out), y)",
        "out = []\nfor one in x:\n    out.append(model(one))\n"
        "loss = criterion(torch.stack(out), y)",
        "out = []\nn = x.size(0)\nfor i in range(n):\n    out.append(model(x[i]))\n"
        "loss = criterion(torch.stack(out), y)",
        "out = model(x)\nloss = criterion(out, y)\npred = out.argmax(1)\n"
        "for i in range(len(y)):\n    if pred[i] == y[i]:\n        pass",
    ],
)
def test_loops_over_examples_are_found(body: str) -> None:
    assert rules_in(loop(body)) == ["python-loop-over-batch"]


@pytest.mark.parametrize(
    "text",
    [
        loop("loss = criterion(model(x), y)\nfor i in range(3):\n    print(x[i].shape)"),
        loop(
            "loss = criterion(model(x), y)\n"
            "for name, one in model.named_parameters():\n    print(name)"
        ),
        loop(
            "h = None\nfor t in range(x.size(0)):\n    h = model(x[t], h)\nloss = criterion(h, y)"
        ),
        loop("h = x[0]\nfor i in range(x.size(0)):\n    h = model(h)\nloss = criterion(h, y)"),
        loop("out = [model(v) for v in x.chunk(2)]\nloss = criterion(torch.cat(out), y)"),
        module("h = x[0]\nfor i in range(x.size(0)):\n    h = self.fc(h + x[i])\nreturn h"),
        module("for layer in self.layers:\n    x = layer(x)\nreturn x"),
    ],
)
def test_loops_over_other_things_are_silent(text: str) -> None:
    assert rules_in(text) == []


LOSS = "out = model(x)\nloss = criterion(out, y)\n"


@pytest.mark.parametrize(
    "body",
    [
        LOSS + "kept.append(out.detach().cpu())",
        LOSS + "kept.extend(out.tolist())",
        LOSS + "torch.cuda.empty_cache()",
        LOSS + "torch.cuda.synchronize()",
        LOSS + "print(loss.item(), out.max().item(), out.min().item(), out.std().item())",
    ],
)
def test_steps_that_wait_are_found(body: str) -> None:
    assert rules_in(loop(body, "kept = []")) == ["sync-every-step"]


@pytest.mark.parametrize(
    "body",
    [
        LOSS + "kept.append(loss.item())",
        LOSS + "kept.append((out.argmax(1) == y).sum().item())\nkept.append(loss.item())",
        LOSS + "if len(kept) % 100 == 0:\n    kept.append(out.detach().cpu())",
        LOSS + "kept.append(loss.detach())",
        LOSS + "kept.append(len(y))",
    ],
)
def test_steps_that_go_on_are_silent(body: str) -> None:
    assert rules_in(loop(body, "kept = []")) == []


def test_a_part_of_a_module_is_moved_with_it() -> None:
    net = module("return self.fc(x)", "self.back = nn.Linear(8, 8)\nself.fc = nn.Linear(8, 8)")
    made = script(
        "model = Net().to(device)", "loss = criterion(model.back(x.to(device)), y.to(device))"
    )
    assert rules_in(net + made.replace(HEAD, "")) == []
    wrapped = net.replace("n=4", "back").replace("self.back = nn.Linear(8, 8)", "self.back = back")
    made = script(
        "back = nn.Linear(8, 8)\nmodel = Net(back).to(device)",
        "loss = criterion(back(x.to(device)), y.to(device))",
    )
    assert rules_in(wrapped + made.replace(HEAD, "")) == []


LABELS = "x = x.to(device)"


def test_labels_and_noise_left_on_the_cpu_are_found() -> None:
    text = script(MODEL + ".to(device)", LABELS + "\n    " + STEP)
    assert rules_in(text) == ["mixed-devices"]
    moved = script(MODEL + ".to(device)", LABELS + "\n    y = y.to(device)\n    " + STEP)
    assert rules_in(moved) == []
    noise = HEAD + (
        "def sample(steps, device):\n"
        "    net = nn.Linear(8, 2).to(device)\n"
        "    for _ in range(steps):\n"
        "        z = torch.randn(4, 8{})\n"
        "        print(net(z))\n"
    )
    assert "mixed-devices" in rules_in(noise.format(""))
    assert "mixed-devices" not in rules_in(noise.format(", device=device"))
