import argparse
import copy
import math

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def cosine_betas(T, s=0.008):
    t = torch.linspace(0, T, T + 1, dtype=torch.float64) / T
    f = torch.cos((t + s) / (1 + s) * math.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clamp(max=0.999).float()


class TimeEmbedding(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.register_buffer(
            "freqs", torch.exp(-math.log(10000) * torch.arange(dim // 2) / (dim // 2))
        )
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t):
        args = t[:, None].float() * self.freqs[None]
        return self.mlp(torch.cat([args.sin(), args.cos()], dim=-1))


class Denoiser(nn.Module):
    def __init__(self, ch=32):
        super().__init__()
        self.time = TimeEmbedding(ch)
        self.inp = nn.Conv2d(1, ch, 3, padding=1)
        self.blocks = nn.ModuleList([
            nn.ModuleDict({
                "norm": nn.GroupNorm(8, ch),
                "conv1": nn.Conv2d(ch, ch, 3, padding=1),
                "proj": nn.Linear(ch, ch),
                "conv2": nn.Conv2d(ch, ch, 3, padding=1),
            })
            for _ in range(3)
        ])
        self.out = nn.Conv2d(ch, 1, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x, t):
        emb = self.time(t)
        h = self.inp(x)
        for b in self.blocks:
            r = b["conv1"](F.silu(b["norm"](h))) + b["proj"](emb)[:, :, None, None]
            h = h + b["conv2"](F.silu(r))
        return self.out(F.silu(h))


class GaussianDiffusion(nn.Module):
    def __init__(self, model, T):
        super().__init__()
        self.model, self.T = model, T
        betas = cosine_betas(T)
        alphas_bar = torch.cumprod(1 - betas, dim=0)
        self.register_buffer("betas", betas)
        self.register_buffer("alphas_bar", alphas_bar)

    def q_sample(self, x0, t, noise):
        a = self.alphas_bar[t].view(-1, 1, 1, 1)
        return a.sqrt() * x0 + (1 - a).sqrt() * noise

    def forward(self, x0):
        t = torch.randint(0, self.T, (x0.shape[0],), device=x0.device)
        noise = torch.randn_like(x0)
        return F.mse_loss(self.model(self.q_sample(x0, t, noise), t), noise)

    @torch.no_grad()
    def sample(self, n, shape=(1, 8, 8)):
        x = torch.randn(n, *shape, device=self.betas.device)
        for i in reversed(range(self.T)):
            t = torch.full((n,), i, device=x.device, dtype=torch.long)
            beta, a_bar = self.betas[i], self.alphas_bar[i]
            eps = self.model(x, t)
            x = (x - beta / (1 - a_bar).sqrt() * eps) / (1 - beta).sqrt()
            if i > 0:
                x = x + beta.sqrt() * torch.randn_like(x)
        return x.clamp(-1, 1)


@torch.no_grad()
def update_ema(ema, model, decay):
    for e, p in zip(ema.parameters(), model.parameters()):
        e.lerp_(p, 1 - decay)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--steps", type=int, default=1000)
    ap.add_argument("--batch", type=int, default=64)
    ap.add_argument("--T", type=int, default=100)
    ap.add_argument("--ema", type=float, default=0.995)
    args = ap.parse_args()

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    loader = DataLoader(TensorDataset(images), args.batch, shuffle=True, drop_last=True)

    diffusion = GaussianDiffusion(Denoiser(), args.T).to(device)
    ema = copy.deepcopy(diffusion).eval().requires_grad_(False)
    opt = torch.optim.Adam(diffusion.parameters(), lr=2e-3)

    def forever():
        while True:
            yield from loader

    diffusion.train()
    for step, (x,) in zip(range(args.steps), forever()):
        loss = diffusion(x.to(device))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        opt.step()
        update_ema(ema, diffusion, args.ema)
        if step % 100 == 0:
            print(f"step {step} loss {loss.item():.4f}")

    samples = ema.sample(16)
    print("samples", samples.shape, "mean", samples.mean().item(), "std", samples.std().item())
    torch.save(ema.model.state_dict(), "/tmp/ddpm.pt")


if __name__ == "__main__":
    main()
