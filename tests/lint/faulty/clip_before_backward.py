# fault: 30 [misplaced-clipping] clip_grad_norm_ before backward clips nothing: the gradients were just cleared
import torch
from torch import nn, optim
from torch.nn.utils import clip_grad_norm_


class RNN(nn.Module):
    def __init__(self, d=16):
        super().__init__()
        self.rnn = nn.RNN(1, d, batch_first=True)
        self.out = nn.Linear(d, 1)

    def forward(self, x):
        h, _ = self.rnn(x)
        return self.out(h)


def main(steps=50):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = RNN().to(device)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loss_fn = nn.MSELoss()
    model.train()
    for step in range(steps):
        phase = torch.rand(8, 1, 1, device=device) * 6.28
        wave = torch.sin(torch.linspace(0, 12, 61, device=device).view(1, -1, 1) + phase)
        loss = loss_fn(model(wave[:, :-1]), wave[:, 1:])
        optimizer.zero_grad()
        clip_grad_norm_(model.parameters(), max_norm=0.5)
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(step, loss.item())


if __name__ == "__main__":
    main()
