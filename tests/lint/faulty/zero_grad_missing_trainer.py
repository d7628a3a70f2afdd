# fault: 19 [missing-zero-grad] the step method never clears the gradients, they pile up over batches
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Trainer:
    def __init__(self, model, optimizer, loss_fn, device):
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn
        self.device = device

    def training_step(self, batch):
        x, y = batch
        x, y = x.to(self.device), y.to(self.device)
        return self.loss_fn(self.model(x), y)

    def run_batch(self, batch):
        loss = self.training_step(batch)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def fit(self, loader, epochs):
        self.model.train()
        for epoch in range(epochs):
            total = 0.0
            for batch in loader:
                total += self.run_batch(batch) * len(batch[0])
            print(f"epoch {epoch} loss {total / len(loader.dataset):.4f}")


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(500, 6)
    y = x @ torch.randn(6, 1)
    model = nn.Linear(6, 1).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    loader = DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True)
    Trainer(model, optimizer, nn.MSELoss(), device).fit(loader, 3)


if __name__ == "__main__":
    main()
