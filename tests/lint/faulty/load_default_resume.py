# fault: 21 [torch-load-without-weights-only] torch.load without weights_only when resuming
import os

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

CKPT = "/tmp/resume_demo.pt"


class Trainer:
    def __init__(self, device):
        self.device = device
        self.model = nn.Linear(4, 1).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.start = 0
        if os.path.exists(CKPT):
            self.resume()

    def resume(self):
        state = torch.load(CKPT, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.start = state["epoch"] + 1

    def fit(self, loader, epochs):
        self.model.train()
        for epoch in range(self.start, epochs):
            for x, y in loader:
                x, y = x.to(self.device), y.to(self.device)
                self.optimizer.zero_grad()
                nn.functional.mse_loss(self.model(x), y).backward()
                self.optimizer.step()
            torch.save(
                {
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "epoch": epoch,
                },
                CKPT,
            )


if __name__ == "__main__":
    torch.manual_seed(0)
    x = torch.randn(100, 4)
    data = DataLoader(TensorDataset(x, x[:, :1]), batch_size=10, shuffle=True)
    Trainer("cuda" if torch.cuda.is_available() else "cpu").fit(data, 2)
