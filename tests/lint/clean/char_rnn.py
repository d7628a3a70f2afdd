import argparse
import sys

import torch
import torch.nn.functional as F
from torch import nn

DEFAULT_TEXT = (
    "it was the best of times, it was the worst of times, it was the age of wisdom, "
    "it was the age of foolishness, it was the epoch of belief, it was the epoch of "
    "incredulity, it was the season of light, it was the season of darkness. "
) * 20


class CharRNN(nn.Module):
    def __init__(self, vocab, hidden, layers=2):
        super().__init__()
        self.hidden, self.layers = hidden, layers
        self.emb = nn.Embedding(vocab, hidden)
        self.rnn = nn.GRU(hidden, hidden, layers)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, x, h):
        y, h = self.rnn(self.emb(x), h)
        return self.out(y), h

    def init_hidden(self, batch):
        return next(self.parameters()).new_zeros(self.layers, batch, self.hidden)


def batchify(ids, batch):
    """One long column per sequence: (time, batch)."""
    n = len(ids) // batch
    return ids[: n * batch].view(batch, n).t().contiguous()


def get_batch(source, i, bptt):
    length = min(bptt, len(source) - 1 - i)
    return source[i : i + length], source[i + 1 : i + 1 + length]


def repackage(h):
    return h.detach()


@torch.no_grad()
def generate(model, stoi, itos, prompt, length, temperature, device):
    model.eval()
    h = model.init_hidden(1)
    x = torch.tensor([[stoi[c]] for c in prompt], device=device)
    out = prompt
    for _ in range(length):
        logits, h = model(x, h)
        probs = F.softmax(logits[-1, 0] / temperature, dim=-1)
        idx = torch.multinomial(probs, 1)
        out += itos[idx.item()]
        x = idx.view(1, 1)
    return out


def evaluate(model, source, bptt, batch):
    model.eval()
    total, h = 0.0, model.init_hidden(batch)
    with torch.no_grad():
        for i in range(0, len(source) - 1, bptt):
            x, y = get_batch(source, i, bptt)
            logits, h = model(x, h)
            total += len(x) * F.cross_entropy(logits.flatten(0, 1), y.flatten()).item()
    return total / (len(source) - 1)


def main(argv=None):
    ap = argparse.ArgumentParser()
    ap.add_argument("--file")
    ap.add_argument("--epochs", type=int, default=4)
    ap.add_argument("--hidden", type=int, default=64)
    ap.add_argument("--bptt", type=int, default=35)
    ap.add_argument("--batch", type=int, default=8)
    ap.add_argument("--clip", type=float, default=0.25)
    a = ap.parse_args(argv)

    torch.manual_seed(1111)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    text = open(a.file, encoding="utf-8").read() if a.file else DEFAULT_TEXT
    itos = sorted(set(text))
    stoi = {c: i for i, c in enumerate(itos)}
    ids = torch.tensor([stoi[c] for c in text], device=device)
    cut = int(0.9 * len(ids))
    train_src = batchify(ids[:cut], a.batch)
    val_src = batchify(ids[cut:], a.batch)

    model = CharRNN(len(itos), a.hidden).to(device)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)

    for epoch in range(a.epochs):
        model.train()
        hidden = model.init_hidden(a.batch)
        total_loss = torch.zeros((), device=device)
        for i in range(0, len(train_src) - 1, a.bptt):
            x, y = get_batch(train_src, i, a.bptt)
            # start each chunk from the old values without their history
            hidden = repackage(hidden)
            model.zero_grad()
            logits, hidden = model(x, hidden)
            loss = F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), a.clip)
            opt.step()
            total_loss += loss.detach() * len(x)
        train = (total_loss / (len(train_src) - 1)).item()
        val = evaluate(model, val_src, a.bptt, a.batch)
        print(f"epoch {epoch}: train {train:.3f} val {val:.3f}", file=sys.stderr)

    print(generate(model, stoi, itos, "it was ", 80, 0.7, device))


if __name__ == "__main__":
    main()
