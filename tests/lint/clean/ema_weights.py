import copy

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset


class ModelEMA:
    """Exponential moving average of everything in the state_dict."""

    def __init__(self, model, decay=0.99, device=None):
        self.module = copy.deepcopy(model)
        self.module.eval()
        for p in self.module.parameters():
            p.requires_grad_(False)
        self.decay = decay
        if device is not None:
            self.module.to(device=device)

    @torch.no_grad()
    def update(self, model):
        for ema_v, model_v in zip(self.module.state_dict().values(), model.state_dict().values()):
            if ema_v.dtype.is_floating_point:
                ema_v.mul_(self.decay).add_(model_v, alpha=1.0 - self.decay)
            else:
                ema_v.copy_(model_v)


def make_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


@torch.inference_mode()
def top1(model, loader, device):
    model.eval()
    good = 0
    for x, y in loader:
        good += model(x.to(device)).argmax(1).cpu().eq(y).sum().item()
    return good / len(loader.dataset)


def main(epochs=6, swa_start=3, batch_size=64):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    digits = load_digits()
    X = torch.from_numpy(digits.images).float().unsqueeze(1).div(16)
    y = torch.from_numpy(digits.target).long()
    X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.25, random_state=1)
    train_loader = DataLoader(
        TensorDataset(X_tr, y_tr), batch_size, shuffle=True, drop_last=True
    )
    test_loader = DataLoader(TensorDataset(X_te, y_te), 256)

    model = make_cnn().to(device)
    ema = ModelEMA(model)
    swa_model = AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.CrossEntropyLoss()

    for epoch in range(epochs):
        model.train()
        for x, target in train_loader:
            x, target = x.to(device), target.to(device)
            optimizer.zero_grad()
            criterion(model(x), target).backward()
            optimizer.step()
            ema.update(model)
        if epoch >= swa_start:
            swa_model.update_parameters(model)
        print(
            f"{epoch}: raw {top1(model, test_loader, device):.3f} "
            f"ema {top1(ema.module, test_loader, device):.3f}"
        )

    update_bn(train_loader, swa_model, device=device)
    print(f"swa {top1(swa_model, test_loader, device):.3f}")
    torch.save({"raw": model.state_dict(), "ema": ema.module.state_dict()}, "/tmp/ema.pt")


if __name__ == "__main__":
    main()
