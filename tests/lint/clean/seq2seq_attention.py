import argparse
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim

PAD, SOS, EOS = 0, 1, 2
VOCAB = 13


class EncoderRNN(nn.Module):
    def __init__(self, vocab, hidden, dropout_p=0.1):
        super(EncoderRNN, self).__init__()
        self.embedding = nn.Embedding(vocab, hidden, padding_idx=PAD)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout_p)

    def forward(self, src):
        output, hidden = self.gru(self.dropout(self.embedding(src)))
        return output, hidden


class BahdanauAttention(nn.Module):
    def __init__(self, hidden):
        super(BahdanauAttention, self).__init__()
        self.Wa = nn.Linear(hidden, hidden)
        self.Ua = nn.Linear(hidden, hidden)
        self.Va = nn.Linear(hidden, 1)

    def forward(self, query, keys, mask):
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(keys))).squeeze(2).unsqueeze(1)
        scores = scores.masked_fill(~mask.unsqueeze(1), float("-inf"))
        weights = F.softmax(scores, dim=-1)
        return torch.bmm(weights, keys), weights


class AttnDecoderRNN(nn.Module):
    def __init__(self, hidden, vocab, dropout_p=0.1):
        super(AttnDecoderRNN, self).__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.attention = BahdanauAttention(hidden)
        self.gru = nn.GRU(2 * hidden, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocab)
        self.dropout = nn.Dropout(dropout_p)

    def forward(self, enc_out, enc_hidden, mask, steps, target=None, forcing=0.5):
        batch = enc_out.size(0)
        token = torch.full((batch, 1), SOS, dtype=torch.long, device=enc_out.device)
        hidden = enc_hidden
        outputs = []
        for t in range(steps):
            logits, hidden, _ = self.forward_step(token, hidden, enc_out, mask)
            outputs.append(logits)
            if target is not None and random.random() < forcing:
                token = target[:, t].unsqueeze(1)
            else:
                token = logits.argmax(dim=-1).detach()
        return torch.cat(outputs, dim=1)

    def forward_step(self, token, hidden, enc_out, mask):
        embedded = self.dropout(self.embedding(token))
        context, weights = self.attention(hidden.permute(1, 0, 2), enc_out, mask)
        output, hidden = self.gru(torch.cat((embedded, context), dim=2), hidden)
        return self.out(output), hidden, weights


def reversal_pairs(n, max_len, rng):
    """Digits in, the same digits reversed out."""
    src = torch.full((n, max_len + 1), PAD)
    tgt = torch.full((n, max_len + 1), PAD)
    for i in range(n):
        seq = [rng.randint(3, VOCAB - 1) for _ in range(rng.randint(2, max_len))]
        src[i, : len(seq) + 1] = torch.tensor(seq + [EOS])
        tgt[i, : len(seq) + 1] = torch.tensor(seq[::-1] + [EOS])
    return src, tgt


def train_epoch(batches, encoder, decoder, enc_opt, dec_opt, criterion):
    encoder.train()
    decoder.train()
    tokens, total_loss = 0, 0.0
    for src, tgt in batches:
        enc_opt.zero_grad()
        dec_opt.zero_grad()
        enc_out, enc_hidden = encoder(src)
        logits = decoder(enc_out, enc_hidden, src != PAD, tgt.size(1), target=tgt)
        loss = criterion(logits.view(-1, logits.size(-1)), tgt.view(-1))
        loss.backward()
        nn.utils.clip_grad_norm_([*encoder.parameters(), *decoder.parameters()], 1.0)
        enc_opt.step()
        dec_opt.step()
        n = (tgt != PAD).sum().item()
        total_loss += loss.item() * n
        tokens += n
    return total_loss / tokens


def evaluate(batches, encoder, decoder):
    encoder.eval()
    decoder.eval()
    exact = n = 0
    with torch.no_grad():
        for src, tgt in batches:
            enc_out, enc_hidden = encoder(src)
            decoded = decoder(enc_out, enc_hidden, src != PAD, tgt.size(1)).argmax(dim=-1)
            wrong = (decoded != tgt) & (tgt != PAD)
            exact += (~wrong.any(dim=1)).sum().item()
            n += src.size(0)
    return exact / n


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=10)
    p.add_argument("--n", type=int, default=2000)
    p.add_argument("--hidden", type=int, default=64)
    args = p.parse_args()

    torch.manual_seed(5)
    random.seed(5)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rng = random.Random(5)
    src, tgt = (t.to(device) for t in reversal_pairs(args.n, 6, rng))
    src_val, tgt_val = (t.to(device) for t in reversal_pairs(args.n // 5, 6, rng))

    encoder = EncoderRNN(VOCAB, args.hidden).to(device)
    decoder = AttnDecoderRNN(args.hidden, VOCAB).to(device)
    enc_opt = optim.Adam(encoder.parameters(), lr=2e-3)
    dec_opt = optim.Adam(decoder.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD)

    for epoch in range(1, args.epochs + 1):
        perm = torch.randperm(len(src), device=device)
        batches = [(src[idx], tgt[idx]) for idx in perm.split(64)]
        loss = train_epoch(batches, encoder, decoder, enc_opt, dec_opt, criterion)
        acc = evaluate([(src_val, tgt_val)], encoder, decoder)
        print("%d/%d loss %.4f exact match %.3f" % (epoch, args.epochs, loss, acc))


if __name__ == "__main__":
    main()
