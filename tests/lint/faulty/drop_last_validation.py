# fault: 14 [drop-last-on-evaluation] drop_last=True on the validation loader leaves out up to 127 examples
import torch
import torch.nn as nn
import torch.utils.data as tud


def get_loaders(batch_size):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2300, 6, generator=g)
    y = x.pow(2).sum(dim=1).gt(6).long()
    train, valid = tud.TensorDataset(x[:2000], y[:2000]), tud.TensorDataset(x[2000:], y[2000:])
    return (
        tud.DataLoader(train, batch_size=batch_size, shuffle=True, drop_last=True),
        tud.DataLoader(valid, batch_size=batch_size, shuffle=False, drop_last=True),
    )


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_loader, valid_loader = get_loaders(128)
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 2)).to(device)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    ce = nn.CrossEntropyLoss()
    for epoch in range(5):
        model.train()
        for x, y in train_loader:
            x, y = x.to(device), y.to(device)
            opt.zero_grad()
            ce(model(x), y).backward()
            opt.step()
        model.eval()
        correct = total = 0
        with torch.no_grad():
            for x, y in valid_loader:
                correct += (model(x.to(device)).argmax(1) == y.to(device)).sum().item()
                total += len(y)
        print(epoch, correct / total)


if __name__ == "__main__":
    main()
