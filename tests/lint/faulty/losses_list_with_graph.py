# fault: 37 [loss-accumulated-with-graph] the list of losses holds tensors with their graphs over the whole training
import torch
from torch import nn, optim


class CharModel(nn.Module):
    def __init__(self, vocab, hidden=32):
        super().__init__()
        self.emb = nn.Embedding(vocab, hidden)
        self.rnn = nn.LSTM(hidden, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, x):
        h, _ = self.rnn(self.emb(x))
        return self.out(h)


def main(steps=60):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    text = "the quick brown fox jumps over the lazy dog " * 50
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text], device=device)
    model = CharModel(len(chars)).to(device)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    history = []
    model.train()
    for step in range(steps):
        start = torch.randint(len(ids) - 33, (16,)).tolist()
        x = torch.stack([ids[s : s + 32] for s in start])
        y = torch.stack([ids[s + 1 : s + 33] for s in start])
        logits = model(x)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss)
    print("mean of the last ten", torch.stack(history[-10:]).mean().item())


if __name__ == "__main__":
    main()
