import argparse
import collections
import random

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

PAD, UNK = 0, 1


def make_corpus(n, rng):
    good = "great lovely superb fun warm clever brilliant".split()
    bad = "dull awful slow boring weak messy painful".split()
    neutral = "the film was with a plot and some actors in it today".split()
    corpus = []
    for _ in range(n):
        label = rng.randint(0, 1)
        words = rng.choices(neutral, k=rng.randint(4, 12))
        words += rng.choices(good if label else bad, k=2)
        rng.shuffle(words)
        corpus.append((" ".join(words), label))
    return corpus


class Vocab:
    def __init__(self, texts, min_freq=2):
        counts = collections.Counter(tok for t in texts for tok in t.split())
        self.itos = ["<pad>", "<unk>"] + [w for w, c in counts.most_common() if c >= min_freq]
        self.stoi = {w: i for i, w in enumerate(self.itos)}

    def __len__(self):
        return len(self.itos)

    def encode(self, text):
        return [self.stoi.get(tok, UNK) for tok in text.split()]


class LSTMClassifier(nn.Module):
    def __init__(self, vocab_size, emb=64, hidden=64, layers=1, dropout=0.3):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, emb, padding_idx=PAD)
        self.lstm = nn.LSTM(emb, hidden, layers, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2 * hidden, 1)

    def forward(self, text, lengths):
        embedded = self.dropout(self.embedding(text))
        packed = pack_padded_sequence(
            embedded, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        _, (hidden, _) = self.lstm(packed)
        hidden = torch.cat([hidden[-2], hidden[-1]], dim=1)
        return self.fc(self.dropout(hidden)).squeeze(-1)


def binary_accuracy(logits, y):
    preds = (torch.sigmoid(logits) > 0.5).float()
    return (preds == y).float().sum()


def train(model, iterator, optimizer, criterion, device):
    model.train()
    epoch_loss, epoch_acc, n = 0.0, 0.0, 0
    for text, lengths, labels in iterator:
        text, labels = text.to(device), labels.to(device)
        optimizer.zero_grad()
        predictions = model(text, lengths)
        loss = criterion(predictions, labels)
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() * len(labels)
        epoch_acc += binary_accuracy(predictions.detach(), labels).item()
        n += len(labels)
    return epoch_loss / n, epoch_acc / n


def evaluate(model, iterator, criterion, device):
    model.eval()
    epoch_loss, epoch_acc, n = 0.0, 0.0, 0
    with torch.no_grad():
        for text, lengths, labels in iterator:
            text, labels = text.to(device), labels.to(device)
            predictions = model(text, lengths)
            epoch_loss += criterion(predictions, labels).item() * len(labels)
            epoch_acc += binary_accuracy(predictions, labels).item()
            n += len(labels)
    return epoch_loss / n, epoch_acc / n


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()

    torch.manual_seed(1234)
    rng = random.Random(1234)
    corpus = make_corpus(args.n, rng)
    split = int(0.8 * len(corpus))
    train_data, valid_data = corpus[:split], corpus[split:]

    vocab = Vocab(text for text, _ in train_data)

    def collate(batch):
        ids = [torch.tensor(vocab.encode(text)) for text, _ in batch]
        lengths = torch.tensor([len(i) for i in ids])
        labels = torch.tensor([label for _, label in batch], dtype=torch.float)
        return pad_sequence(ids, batch_first=True, padding_value=PAD), lengths, labels

    train_iterator = DataLoader(train_data, batch_size=64, shuffle=True, collate_fn=collate)
    valid_iterator = DataLoader(valid_data, batch_size=64, collate_fn=collate)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = LSTMClassifier(len(vocab)).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    criterion = nn.BCEWithLogitsLoss().to(device)
    best_valid_loss = float("inf")

    for epoch in range(args.epochs):
        train_loss, train_acc = train(model, train_iterator, optimizer, criterion, device)
        valid_loss, valid_acc = evaluate(model, valid_iterator, criterion, device)
        if valid_loss < best_valid_loss:
            best_valid_loss = valid_loss
            torch.save(model.state_dict(), "/tmp/lstm-best.pt")
        print(f"Epoch: {epoch + 1:02}")
        print(f"\tTrain Loss: {train_loss:.3f} | Train Acc: {train_acc * 100:.2f}%")
        print(f"\t Val. Loss: {valid_loss:.3f} |  Val. Acc: {valid_acc * 100:.2f}%")


if __name__ == "__main__":
    main()
