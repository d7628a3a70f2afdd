"""Sizes and recurrent layers."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in
from tests.lint.rules.tensors_programs import HEAD, module


@pytest.mark.parametrize(
    "text",
    [
        module("n = x.shape(0)\nreturn self.fc(x).view(n, -1)"),
        module("n = x.size[0]\nreturn self.fc(x).view(n, -1)"),
        HEAD + "def count(batch):\n    return batch.shape(-1)\n",
        HEAD + "x = torch.zeros(3, 4)\nprint(x.size[1])\n",
        HEAD + "x = torch.zeros(3, 4)\nfor i in range(x.shape):\n    print(i)\n",
        HEAD + "a = np.zeros((3, 4))\nfor i in range(a.shape):\n    print(i)\n",
        HEAD + "x = torch.zeros(3)\nrows = [i for i in range(x.size())]\n",
    ],
)
def test_misused_sizes_are_found(text: str) -> None:
    assert rules_in(text) == ["shape-as-number"]


@pytest.mark.parametrize(
    "text",
    [
        module("n = x.shape[0]\nreturn self.fc(x).view(n, x.size(1))"),
        HEAD + "a = [1, 2]\nprint(np.shape(a))\n",
        HEAD + "from PIL import Image\nimage = Image.open('a.png')\nwidth = image.size[0]\n",
        HEAD + "class Box:\n    def shape(self, i):\n        return i\nbox = Box()\n"
        "print(box.shape(0))\n",
        HEAD + "x = torch.zeros(3, 4)\nprint(len(x.shape), len(x.size()), x.size()[0])\n",
        HEAD + "def walk(tree):\n    return [i for i in range(tree.size())]\n",
    ],
)
def test_sizes_that_are_asked_rightly_are_silent(text: str) -> None:
    assert rules_in(text) == []


EMBEDDED = "self.embedding = nn.Embedding(9, 8)\nself.rnn = nn.{}(8, 8{})"


@pytest.mark.parametrize(
    "text",
    [
        module("out, _ = self.rnn(x)\nreturn out[:, -1, :]", EMBEDDED.format("LSTM", "")),
        module(
            "out, (h, c) = self.rnn(self.embedding(x))\nreturn out[:, -1]",
            EMBEDDED.format("LSTM", ", num_layers=2"),
        ),
        module(
            "out, _ = self.rnn(x)\nreturn out[-1]", EMBEDDED.format("GRU", ", batch_first=True")
        ),
        module(
            "out = self.rnn(x)[0]\nreturn out[-1]", EMBEDDED.format("RNN", ", batch_first=True")
        ),
        module(
            "h = torch.zeros(1, x.size(0), 8, device=x.device)\n"
            "out, h = self.rnn(x, h)\nreturn h[-1]",
            EMBEDDED.format("GRU", ""),
        ),
        module(
            "batch_size, length = x.shape\nout, h = self.rnn(self.embedding(x))\n"
            "return h.view(batch_size, -1)",
            EMBEDDED.format("GRU", ""),
        ),
    ],
)
def test_recurrent_layers_on_the_wrong_dimension_are_found(text: str) -> None:
    assert rules_in(text) == ["rnn-batch-first-missing"]


@pytest.mark.parametrize(
    "text",
    [
        module(
            "out, _ = self.rnn(x)\nreturn out[:, -1]", EMBEDDED.format("LSTM", ", batch_first=True")
        ),
        module("out, _ = self.rnn(x)\nreturn out[-1]", EMBEDDED.format("LSTM", "")),
        module(
            "out, _ = self.rnn(x)\nout = out.transpose(0, 1)\nreturn out[:, -1]",
            EMBEDDED.format("GRU", ""),
        ),
        module("_, h = self.rnn(x)\nreturn h[-1]", EMBEDDED.format("GRU", ", batch_first=True")),
        module(
            "_, (h, c) = self.rnn(x)\nreturn h[-1]", EMBEDDED.format("LSTM", ", batch_first=True")
        ),
        module(
            "x = nn.utils.rnn.pack_padded_sequence(x, n, batch_first=True)\n"
            "out, h = self.rnn(x)\nreturn h[-1]",
            EMBEDDED.format("LSTM", ""),
            ", n",
        ),
        module(
            "length, batch = x.shape\nout, h = self.rnn(self.embedding(x))\n"
            "return h.view(batch, -1)",
            EMBEDDED.format("GRU", ""),
        ),
    ],
)
def test_recurrent_layers_on_the_right_dimension_are_silent(text: str) -> None:
    assert rules_in(text) == []
