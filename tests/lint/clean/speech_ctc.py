import argparse
import string

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

ALPHABET = "-" + string.ascii_lowercase[:8]  # "-" is the blank


class FakeSpeech(Dataset):
    """Every letter is a few frames of its own noisy spectrum."""

    def __init__(self, n, n_mels=20, noise=0.5, seed=0):
        proto = torch.Generator().manual_seed(123)
        self.prototypes = torch.randn(len(ALPHABET), n_mels, generator=proto)
        self.n, self.noise, self.seed = n, noise, seed

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(self.seed * 1_000_003 + i)
        length = int(torch.randint(3, 8, (1,), generator=g))
        text = torch.randint(1, len(ALPHABET), (length,), generator=g)
        repeats = torch.randint(4, 8, (length,), generator=g)
        spec = self.prototypes[text.repeat_interleave(repeats)]
        return spec + self.noise * torch.randn(spec.shape, generator=g), text


def pad_collate(batch):
    specs, texts = zip(*batch)
    spec_lens = torch.tensor([len(s) for s in specs])
    text_lens = torch.tensor([len(t) for t in texts])
    return (
        pad_sequence(specs, batch_first=True).transpose(1, 2),
        spec_lens,
        pad_sequence(texts, batch_first=True),
        text_lens,
    )


class AcousticModel(nn.Module):
    def __init__(self, n_mels=20, hidden=64, n_out=len(ALPHABET)):
        super().__init__()
        self.conv = nn.Conv1d(n_mels, hidden, 3, padding=1)
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(2 * hidden, n_out)

    def forward(self, x):
        x = F.gelu(self.conv(x)).transpose(1, 2)
        x, _ = self.gru(x)
        return self.fc(self.drop(x))


def greedy_decode(logits, lengths):
    best = logits.argmax(dim=-1).cpu()
    texts = []
    for row, n in zip(best, lengths.tolist()):
        collapsed = torch.unique_consecutive(row[:n])
        texts.append("".join(ALPHABET[k] for k in collapsed.tolist() if k != 0))
    return texts


def edit_distance(a, b):
    prev = list(range(len(b) + 1))
    for i, ca in enumerate(a, 1):
        cur = [i]
        for j, cb in enumerate(b, 1):
            cur.append(min(prev[j] + 1, cur[-1] + 1, prev[j - 1] + (ca != cb)))
        prev = cur
    return prev[-1]


def train(model, loader, ctc, optimizer, scheduler, device):
    model.train()
    total, n = 0.0, 0
    for specs, spec_lens, texts, text_lens in loader:
        specs, texts = specs.to(device), texts.to(device)
        optimizer.zero_grad()
        log_probs = model(specs).log_softmax(dim=-1).transpose(0, 1)  # (T, N, C)
        loss = ctc(log_probs, texts, spec_lens, text_lens)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        scheduler.step()
        total += loss.item() * specs.size(0)
        n += specs.size(0)
    return total / n


def character_error_rate(model, loader, device):
    model.eval()
    errors = chars = 0
    with torch.no_grad():
        for specs, spec_lens, texts, text_lens in loader:
            hyps = greedy_decode(model(specs.to(device)), spec_lens)
            for hyp, text, n in zip(hyps, texts.tolist(), text_lens.tolist()):
                ref = "".join(ALPHABET[k] for k in text[:n])
                errors += edit_distance(hyp, ref)
                chars += len(ref)
    return errors / chars


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=8)
    ap.add_argument("--n", type=int, default=1000)
    ap.add_argument("--batch-size", type=int, default=32)
    args = ap.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = DataLoader(
        FakeSpeech(args.n, seed=1), args.batch_size, shuffle=True, collate_fn=pad_collate
    )
    dev_loader = DataLoader(
        FakeSpeech(args.n // 5, seed=2), args.batch_size, collate_fn=pad_collate
    )
    model = AcousticModel().to(device)
    ctc = nn.CTCLoss(blank=0, zero_infinity=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 5e-3, steps_per_epoch=len(loader), epochs=args.epochs
    )
    for epoch in range(args.epochs):
        loss = train(model, loader, ctc, optimizer, scheduler, device)
        cer = character_error_rate(model, dev_loader, device)
        print(f"epoch {epoch}: ctc {loss:.3f} dev CER {cer:.3f}")


if __name__ == "__main__":
    main()
