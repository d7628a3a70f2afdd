"""Shapes: permuted names, views of permuted memory, squeezed batches, sizes, recurrent layers."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in
from tests.lint.rules.tensors_programs import HEAD, loop, module


@pytest.mark.parametrize(
    "text",
    [
        module("b, c, h, w = x.shape\nreturn x.view(b, h, w, c)"),
        module("B, T, C = x.size()\nreturn self.fc(x.reshape(B, C, T))"),
        module("B, T, C = x.shape\nq = self.fc(x).view(B, 4, T, C // 4)\nreturn q @ q"),
        module("B, T, C = x.shape\nq = self.fc(x).view(B, self.heads, T, self.size)\nreturn q"),
        module("return x.view(x.size(0), x.size(2), x.size(1))"),
        module("b, c, h, w = x.shape\nx = F.relu(x)\nreturn self.fc(x.view(b, -1, c))"),
        module("b = x.size(0)\nc = x.size(1)\nt = x.size(2)\nreturn torch.reshape(x, (b, t, c))"),
        HEAD + "def first(images):\n    n, h, w, c = images.shape\n"
        "    return images.reshape(n, c, h, w)\n",
        HEAD + "def first(a):\n    n, h, w, c = a.shape\n    return np.reshape(a, (n, c, h, w))\n",
        HEAD + "def make(b, t, c):\n    x = torch.randn(b, t, c)\n    return x.view(b, c, t)\n",
    ],
)
def test_names_in_another_order_are_found(text: str) -> None:
    assert rules_in(text) == ["view-for-permute"]


@pytest.mark.parametrize(
    "text",
    [
        module("b, c, h, w = x.shape\nreturn x.view(b, c, h * w).transpose(1, 2)"),
        module("b, c, h, w = x.shape\nreturn x.permute(0, 2, 3, 1).reshape(b, h, w, c)"),
        module("B, T, C = x.shape\nq = self.fc(x).view(B, T, 4, C // 4).transpose(1, 2)\nreturn q"),
        module(
            "b, c, h, w = x.shape\nx = x.permute(0, 2, 3, 1).contiguous()\n"
            "return x.view(b, h * w, c)"
        ),
        module(
            "b, c, h, w = x.shape\nreturn x.view(b, 2, c // 2, h, w).transpose(1, 2).flatten(1, 2)"
        ),
        module("b, h, w, c = x.shape\nreturn x.view(b, h // 7, 7, w // 7, 7, c)"),
        module(
            "b, c, _, _ = x.size()\ns = F.adaptive_avg_pool2d(x, 1).view(b, c)\n"
            "return s.view(b, c, 1, 1)"
        ),
        module("b, t, c, h, w = x.shape\nreturn x.view(b * t, c, h, w)"),
        module(
            "b, n, c = x.shape\nqkv = self.fc(x).reshape(b, n, 3, 4, -1).permute(2,"
            " 0, 3, 1, 4)\nreturn qkv"
        ),
        module("b, t, c = x.shape\nb, t = t, b\nreturn x.view(t, b, c)"),
        HEAD + "def first(images):\n    return images.reshape(-1, 3, 32, 32)\n",
    ],
)
def test_names_in_the_old_order_are_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize(
    "text",
    [
        module("return self.fc(x.permute(0, 2, 3, 1).view(x.size(0), -1))"),
        module("x = x.transpose(1, 2)\nreturn self.fc(x.view(x.size(0), -1))"),
        module("b, t, c = x.shape\ny = x.permute(0, 2, 1).view(b, -1)\nreturn y"),
        module("y = (x @ x).transpose(1, 2).view(x.size(0), -1, self.heads * self.size)\nreturn y"),
        HEAD + "def flat(x):\n    return x.permute(1, 0).view(-1)\n",
        HEAD + "def flat(x):\n    return x.permute((0, 2, 1, 3)).view(2, 3, 20)\n",
    ],
)
def test_views_of_permuted_memory_are_found(text: str) -> None:
    assert rules_in(text) == ["permute-then-view"]


@pytest.mark.parametrize(
    "text",
    [
        module("return self.fc(x.permute(0, 2, 3, 1).contiguous().view(x.size(0), -1))"),
        module("return self.fc(x.permute(0, 2, 3, 1).reshape(x.size(0), -1))"),
        module("b, c, h, w = x.shape\nreturn x.permute(0, 2, 3, 1).view(b, -1, c)"),
        module("b, n, c = x.shape\nreturn x.transpose(1, 2).view(b, c, 7, 7)"),
        module("x = x.transpose(1, 2)\nx = x.transpose(1, 2)\nreturn x.view(x.size(0), -1)"),
        HEAD + "def merge(q, b, t):\n    y = F.scaled_dot_product_attention(q, q, q)\n"
        "    return y.transpose(1, 2).view(b, t, 4 * 8)\n",
        module("x = x.permute(1, 0, 2, 3)\nreturn x.view(x.size(0), x.size(1), -1)"),
    ],
)
def test_views_that_the_memory_allows_are_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize(
    "text",
    [
        loop("loss = criterion(model(x).squeeze(), y.float())"),
        loop("out = model(x)\nloss = criterion(out.squeeze(), y.float())"),
        loop("loss = criterion(torch.squeeze(model(x)), y.float())"),
        loop("y = y.squeeze()\nloss = criterion(model(x), y)"),
        module(
            "x = self.pool(x).squeeze()\nreturn self.fc(x)",
            "self.pool = nn.AdaptiveAvgPool2d(1)\nself.fc = nn.Linear(8, 8)",
        ),
        module("return torch.sigmoid(self.fc(x)).squeeze()"),
    ],
)
def test_squeezed_batches_are_found(text: str) -> None:
    assert rules_in(text) == ["squeeze-without-dim"]


@pytest.mark.parametrize(
    "text",
    [
        loop("loss = criterion(model(x).squeeze(1), y.float())"),
        loop("loss = criterion(model(x).squeeze(-1), y.float())"),
        loop("loss = criterion(model(x), y)\nprint(x[0].squeeze().shape)"),
        loop("loss = criterion(model(x), y).mean().squeeze()"),
        loop(
            "loss = criterion(model(x).squeeze(), y.float())",
            "loader = torch.utils.data.DataLoader(data(), 8, shuffle=True, drop_last=True)",
        ),
        HEAD + "def show(image):\n    return image.squeeze().numpy()\n",
        HEAD + "def act(model, state):\n    return model(torch.as_tensor(state)[None]).squeeze()\n",
        HEAD + "def mean(a):\n    return np.squeeze(a)\n",
    ],
)
def test_other_squeezes_are_silent(text: str) -> None:
    assert rules_in(text) == []


HEADS = """\
B, T, C = x.shape
q, k, v = self.qkv(x).split(C, dim=2)
q = q.view(B, T, self.h, self.d).transpose(1, 2)
k = k.view(B, T, self.h, self.d).transpose(1, 2)
v = v.view(B, T, self.h, self.d).transpose(1, 2)
att = (q @ k.transpose(-2, -1)) / 8
y = F.softmax(att, dim=-1) @ v
return y{}.reshape({})"""


def test_heads_are_merged_after_a_transpose() -> None:
    for sizes in ("B, T, C", "B, T, self.h * self.d", "B, -1, self.h * self.d"):
        layers = "self.qkv = nn.Linear(8, 24)"
        assert rules_in(module(HEADS.format("", sizes), layers)) == ["view-for-permute"]
        assert rules_in(module(HEADS.format(".transpose(1, 2)", sizes), layers)) == []
