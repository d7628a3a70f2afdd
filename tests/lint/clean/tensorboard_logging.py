import argparse
import time

import torch
import torch.nn as nn
from sklearn.datasets import make_circles
from torch.utils.data import DataLoader, TensorDataset, random_split
from torch.utils.tensorboard import SummaryWriter


class Net(nn.Module):
    def __init__(self, width=32, depth=3):
        super().__init__()
        self.inp = nn.Linear(2, width)
        self.mid = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.out = nn.Linear(width, 1)

    def forward(self, x, return_hidden=False):
        hidden = [torch.relu(self.inp(x))]
        for layer in self.mid:
            hidden.append(torch.relu(layer(hidden[-1])))
        logits = self.out(hidden[-1]).squeeze(-1)
        return (logits, hidden) if return_hidden else logits


def log_weights(writer, model, step):
    for name, param in model.named_parameters():
        writer.add_histogram(f"weights/{name}", param.detach().cpu(), step)
        if param.grad is not None:
            writer.add_histogram(f"grads/{name}", param.grad.cpu(), step)


def grad_norm(model):
    norms = [p.grad.detach().norm() for p in model.parameters() if p.grad is not None]
    return torch.stack(norms).norm().item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--logdir", default="/tmp/tb-circles")
    ap.add_argument("--epochs", type=int, default=20)
    ap.add_argument("--n", type=int, default=2000)
    args = ap.parse_args()

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    X, y = make_circles(args.n, noise=0.1, factor=0.5, random_state=0)
    ds = TensorDataset(
        torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    )
    train_ds, val_ds = random_split(ds, [0.8, 0.2])
    train_loader = DataLoader(train_ds, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=256)

    model = Net().to(device)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    run_name = time.strftime("%Y%m%d-%H%M%S")
    with SummaryWriter(f"{args.logdir}/{run_name}") as writer:
        writer.add_graph(model, torch.zeros(1, 2, device=device))
        global_step = 0
        for epoch in range(args.epochs):
            model.train()
            epoch_loss, n = torch.zeros((), device=device), 0
            for xb, yb in train_loader:
                xb, yb = xb.to(device), yb.to(device)
                optimizer.zero_grad()
                loss = criterion(model(xb), yb)
                loss.backward()
                optimizer.step()
                epoch_loss += loss.detach() * len(xb)
                n += len(xb)
                if global_step % 20 == 0:
                    writer.add_scalar("train/batch_loss", loss.item(), global_step)
                    writer.add_scalar("train/grad_norm", grad_norm(model), global_step)
                global_step += 1
            writer.add_scalar("train/loss", epoch_loss.item() / n, epoch)
            log_weights(writer, model, epoch)

            model.eval()
            val_loss = correct = total = 0.0
            with torch.no_grad():
                for xb, yb in val_loader:
                    xb, yb = xb.to(device), yb.to(device)
                    logits, hidden = model(xb, return_hidden=True)
                    val_loss += criterion(logits, yb).item() * len(xb)
                    correct += ((torch.sigmoid(logits) > 0.5) == yb.bool()).sum().item()
                    total += len(xb)
            dead = [(h == 0).all(dim=0).float().mean().item() for h in hidden]
            writer.add_scalars("val/dead_units", {f"h{i}": d for i, d in enumerate(dead)}, epoch)
            writer.add_scalar("val/loss", val_loss / total, epoch)
            writer.add_scalar("val/accuracy", correct / total, epoch)
            writer.add_scalar("lr", optimizer.param_groups[0]["lr"], epoch)
        writer.add_hparams({"lr": 3e-3, "epochs": args.epochs}, {"hparam/acc": correct / total})
    print(f"val accuracy {correct / total:.3f}, logs in {args.logdir}/{run_name}")


if __name__ == "__main__":
    main()
