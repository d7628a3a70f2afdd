"""Short programs for the tests of the rules about tensors."""

from __future__ import annotations

HEAD = "import numpy as np\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n"


def module(body: str, layers: str = "self.fc = nn.Linear(8, 8)", extra: str = "") -> str:
    """Give a program with a module whose `forward(self, x)` has this body."""
    lines = [
        HEAD,
        "class Net(nn.Module):",
        "    def __init__(self, n=4):",
        "        super().__init__()",
    ]
    lines += [f"        {line}" for line in layers.split("\n")]
    lines += ["", f"    def forward(self, x{extra}):"]
    lines += [f"        {line}" for line in body.split("\n")]
    return "\n".join(lines) + "\n"


def loop(body: str, before: str = "", move: str = "x, y = x.to(device), y.to(device)") -> str:
    """Give a training loop with this body."""
    lines = [HEAD, "def train(model, loader, criterion, optimizer, device):", "    model.train()"]
    lines += [f"    {line}" for line in before.split("\n") if line]
    lines += ["    for x, y in loader:", f"        {move}"]
    lines += [f"        {line}" for line in body.split("\n")]
    lines += [
        "        optimizer.zero_grad()",
        "        loss.backward()",
        "        optimizer.step()",
    ]
    return "\n".join(lines) + "\n"


def script(model: str, batch: str, data: str = "", loader: str = "") -> str:
    """Give a script that makes a model, moves it as told, and trains on MNIST."""
    data = data or "datasets.MNIST('data', transform=transforms.ToTensor())"
    loader = loader or "torch.utils.data.DataLoader(data, 64, shuffle=True)"
    return HEAD + "\n".join(
        [
            "from torchvision import datasets, transforms",
            "device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
            f"data = {data}",
            f"loader = {loader}",
            model,
            "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)",
            "criterion = nn.CrossEntropyLoss()",
            "model.train()",
            "for i, (x, y) in enumerate(loader):",
            f"    {batch}",
            "    optimizer.zero_grad()",
            "    loss.backward()",
            "    optimizer.step()",
            "",
        ]
    )
