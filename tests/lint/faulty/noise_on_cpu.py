# fault: 23 [mixed-devices] torch.randn without device inside the loop meets a generator on the GPU
import torch
from torch import nn, optim

Z = 8


def real_samples(n, device):
    return torch.randn(n, 2, device=device) * 0.5 + 1.0


def main(steps=100, batch=64):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    G = nn.Sequential(nn.Linear(Z, 32), nn.ReLU(), nn.Linear(32, 2)).to(device)
    D = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)).to(device)
    g_opt = optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    d_opt = optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    real_labels = torch.ones(batch, 1, device=device)
    fake_labels = torch.zeros(batch, 1, device=device)
    for step in range(steps):
        z = torch.randn(batch, Z)
        fake = G(z)

        d_opt.zero_grad()
        d_loss = bce(D(real_samples(batch, device)), real_labels) + bce(D(fake.detach()), fake_labels)
        d_loss.backward()
        d_opt.step()

        g_opt.zero_grad()
        g_loss = bce(D(fake), real_labels)
        g_loss.backward()
        g_opt.step()
        if step % 25 == 0:
            print(step, d_loss.item(), g_loss.item())


if __name__ == "__main__":
    main()
