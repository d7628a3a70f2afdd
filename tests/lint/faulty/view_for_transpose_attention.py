# fault: 27 [view-for-permute] heads are merged with view(B, T, C) from (B, nh, T, hs) without the transpose
import math

import torch
import torch.nn as nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.qkv = nn.Linear(n_embd, 3 * n_embd)
        self.proj = nn.Linear(n_embd, n_embd)
        self.n_head = n_head

    def forward(self, x):
        B, T, C = x.shape
        nh, hs = self.n_head, C // self.n_head
        q, k, v = self.qkv(x).split(C, dim=2)
        q = q.view(B, T, nh, hs).transpose(1, 2)
        k = k.view(B, T, nh, hs).transpose(1, 2)
        v = v.view(B, T, nh, hs).transpose(1, 2)
        att = (q @ k.transpose(-2, -1)) / math.sqrt(hs)
        mask = torch.ones(T, T, dtype=torch.bool, device=x.device).tril()
        att = F.softmax(att.masked_fill(~mask, float("-inf")), dim=-1)
        y = att @ v  # (B, nh, T, hs)
        y = y.contiguous().view(B, T, C)
        return self.proj(y)


def main(steps=20):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    embed, head = nn.Embedding(10, 32).to(device), nn.Linear(32, 10).to(device)
    att = SelfAttention(32, 4).to(device)
    params = [p for m in (embed, att, head) for p in m.parameters()]
    opt = torch.optim.AdamW(params, lr=3e-3)
    for step in range(steps):
        idx = torch.randint(10, (16, 12), device=device)
        logits = head(att(embed(idx[:, :-1])))
        loss = F.cross_entropy(logits.reshape(-1, 10), idx[:, 1:].reshape(-1))
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(loss.item())


if __name__ == "__main__":
    main()
