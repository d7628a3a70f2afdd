# fault: 12 [sigmoid-before-bce-with-logits] nn.Sigmoid at the end of the discriminator and binary_cross_entropy_with_logits on its output
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Z = 4

gen = nn.Sequential(nn.Linear(Z, 32), nn.ReLU(), nn.Linear(32, 2)).to(device)
disc = nn.Sequential(
    nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Sigmoid()
).to(device)

opt_g = torch.optim.Adam(gen.parameters(), lr=2e-4, betas=(0.5, 0.999))
opt_d = torch.optim.Adam(disc.parameters(), lr=2e-4, betas=(0.5, 0.999))


def real_batch(n):
    t = torch.rand(n, device=device) * 6.28
    return torch.stack([t.cos(), t.sin()], dim=1)


def d_loss(real, fake):
    ones = torch.ones(len(real), 1, device=device)
    zeros = torch.zeros(len(fake), 1, device=device)
    return (F.binary_cross_entropy_with_logits(disc(real), ones)
            + F.binary_cross_entropy_with_logits(disc(fake), zeros))


for step in range(200):
    real = real_batch(64)
    fake = gen(torch.randn(64, Z, device=device))

    loss_d = d_loss(real, fake.detach())
    opt_d.zero_grad()
    loss_d.backward()
    opt_d.step()

    loss_g = F.binary_cross_entropy_with_logits(disc(fake), torch.ones(64, 1, device=device))
    opt_g.zero_grad()
    loss_g.backward()
    opt_g.step()
    if step % 50 == 0:
        print(step, loss_d.item(), loss_g.item())
