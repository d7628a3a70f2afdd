import math
import sys
import time

import torch as th
import torch.nn.functional as F
from torch import nn


class TinyViT(nn.Module):
    def __init__(self, image=32, patch=8, dim=64, depth=2, heads=4, classes=10):
        super().__init__()
        n = (image // patch) ** 2
        self.patchify = nn.Conv2d(3, dim, patch, stride=patch)
        self.cls = nn.Parameter(th.zeros(1, 1, dim))
        self.pos = nn.Parameter(th.randn(1, n + 1, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(
            dim, heads, 4 * dim, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        b = x.shape[0]
        x = self.patchify(x).flatten(2).transpose(1, 2)
        x = th.cat([self.cls.expand(b, -1, -1), x], dim=1) + self.pos
        x = self.norm(self.encoder(x))
        return self.head(x[:, 0])


def lr_at(step, warmup, total, peak, floor=0.1):
    if step < warmup:
        return peak * (step + 1) / warmup
    t = (step - warmup) / max(1, total - warmup)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * t)))


def batches(n_steps, batch, device, seed):
    g = th.Generator(device=device).manual_seed(seed)
    for _ in range(n_steps):
        y = th.randint(10, (batch,), generator=g, device=device)
        x = th.randn(batch, 3, 32, 32, generator=g, device=device)
        yield x + y.view(-1, 1, 1, 1) / 5, y


def run_eval(model, device, steps, batch):
    model.eval()
    nll = th.zeros((), device=device)
    seen = 0
    with th.no_grad(), th.autocast(device.type, dtype=th.bfloat16):
        for x, y in batches(steps, batch, device, seed=999):
            nll += F.cross_entropy(model(x), y, reduction="sum").float()
            seen += len(y)
    model.train()
    return nll.item() / seen


def main(steps=200, batch=64, eval_every=50, peak_lr=1e-3):
    th.manual_seed(0)
    device = th.device("cuda" if th.cuda.is_available() else "cpu")
    model = TinyViT().to(device)
    decay = [p for p in model.parameters() if p.ndim >= 2]
    no_decay = [p for p in model.parameters() if p.ndim < 2]
    opt = th.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": no_decay, "weight_decay": 0.0}],
        lr=peak_lr,
        betas=(0.9, 0.98),
    )
    model.train()
    tic = time.time()
    for step, (x, y) in enumerate(batches(steps, batch, device, seed=0)):
        for group in opt.param_groups:
            group["lr"] = lr_at(step, steps // 10 + 1, steps, peak_lr)
        with th.autocast(device.type, dtype=th.bfloat16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        if (step + 1) % eval_every == 0:
            val = run_eval(model, device, 4, batch)
            print(
                f"step {step + 1:5d} loss {loss.item():.4f} val {val:.4f} "
                f"norm {norm.item():.2f} {time.time() - tic:.1f}s"
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
