# fault: 16 [clip-before-unscale] gradients are clipped while they are still scaled by the GradScaler
import torch
import torch.nn as nn
from torch.amp import GradScaler, autocast
from torch.utils.data import DataLoader, TensorDataset


def train(model, loader, optimizer, scaler, criterion, device, use_amp):
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad(set_to_none=True)
        with autocast(device.type, dtype=torch.float16, enabled=use_amp):
            loss = criterion(model(x), y)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
    return loss.item()


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    use_amp = device.type == "cuda"
    x = torch.randn(1024, 20)
    loader = DataLoader(TensorDataset(x, x[:, :2].argmax(1)), batch_size=128, shuffle=True)
    model = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 2)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = GradScaler(device.type, enabled=use_amp)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(3):
        print(epoch, train(model, loader, optimizer, scaler, criterion, device, use_amp))


if __name__ == "__main__":
    main()
