import math

import torch
from torch import autograd, nn, optim


class G(nn.Sequential):
    def __init__(self, z_dim=2, hidden=128):
        super().__init__(
            nn.Linear(z_dim, hidden), nn.ReLU(),
            nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 2),
        )
        self.z_dim = z_dim


class Critic(nn.Module):
    def __init__(self, hidden=128):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2, hidden), nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden), nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        )

    def forward(self, x):
        return self.net(x).squeeze(1)


def eight_gaussians(batch_size, device):
    angle = torch.randint(8, (batch_size,), device=device) * (2 * math.pi / 8)
    centers = torch.stack([angle.cos(), angle.sin()], dim=1) * 2
    return centers + 0.05 * torch.randn(batch_size, 2, device=device)


def gradient_penalty(critic, real, fake):
    alpha = torch.rand(real.size(0), 1, device=real.device)
    mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    score = critic(mixed)
    (grad,) = autograd.grad(
        outputs=score,
        inputs=mixed,
        grad_outputs=torch.ones_like(score),
        create_graph=True,
        retain_graph=True,
    )
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


def main(iterations=2000, batch_size=256, n_critic=5, gp_weight=10.0):
    torch.manual_seed(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    gen, critic = G().to(device), Critic().to(device)
    opt_g = optim.Adam(gen.parameters(), lr=1e-4, betas=(0.0, 0.9))
    opt_c = optim.Adam(critic.parameters(), lr=1e-4, betas=(0.0, 0.9))

    for it in range(iterations):
        critic.requires_grad_(True)
        for _ in range(n_critic):
            real = eight_gaussians(batch_size, device)
            with torch.no_grad():
                fake = gen(torch.randn(batch_size, gen.z_dim, device=device))
            wdist = critic(real).mean() - critic(fake).mean()
            loss_c = -wdist + gp_weight * gradient_penalty(critic, real, fake)
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()

        critic.requires_grad_(False)
        loss_g = -critic(gen(torch.randn(batch_size, gen.z_dim, device=device))).mean()
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()

        if it % 100 == 0:
            print(f"{it:6d}  W={wdist.item():.4f}  G={loss_g.item():.4f}")

    with torch.no_grad():
        points = gen(torch.randn(1000, gen.z_dim, device=device)).cpu().numpy()
    print("mean radius", (points**2).sum(axis=1).mean() ** 0.5)
    torch.save({"gen": gen.state_dict(), "critic": critic.state_dict()}, "/tmp/wgan.pt")


if __name__ == "__main__":
    import sys

    main(*(int(a) for a in sys.argv[1:]))
