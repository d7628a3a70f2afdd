# fault: 17 [functional-dropout-without-training] scaled_dot_product_attention applies dropout_p also in evaluation
import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, dim, heads, dropout=0.2):
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.heads, self.dropout = heads, dropout

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout)
        return self.out(y.transpose(1, 2).reshape(b, t, d))


class Model(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.att = Attention(dim, 4)
        self.head = nn.Linear(dim, 2)

    def forward(self, x):
        return self.head((x + self.att(x)).mean(dim=1))


def main(steps=30):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(512, 6, 32, device=device)
    y = (x[:, 0, 0] > 0).long()
    model = Model().to(device)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(steps):
        idx = torch.randint(400, (64,), device=device)
        opt.zero_grad()
        F.cross_entropy(model(x[idx]), y[idx]).backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        a, b = model(x[400:]), model(x[400:])
        print("accuracy", (a.argmax(1) == y[400:]).float().mean().item())
    print("two passes differ by", (a - b).abs().max().item())


if __name__ == "__main__":
    main()
