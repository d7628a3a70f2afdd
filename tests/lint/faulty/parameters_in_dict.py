# fault: 10 [layers-in-plain-list] nn.Parameter objects in a plain dict are not registered
import torch
import torch.nn as nn


class Mixture(nn.Module):
    def __init__(self, k, d):
        super(Mixture, self).__init__()
        self.k = k
        self.params = {
            "logits": nn.Parameter(torch.zeros(k)),
            "scale": nn.Parameter(torch.zeros(k, d)),
        }
        self.loc = nn.Parameter(torch.randn(k, d))

    def forward(self, x):
        mix = torch.distributions.Categorical(logits=self.params["logits"])
        comp = torch.distributions.Independent(
            torch.distributions.Normal(self.loc, self.params["scale"].exp()), 1
        )
        return torch.distributions.MixtureSameFamily(mix, comp).log_prob(x)


def main(steps=100):
    torch.manual_seed(0)
    centers = torch.tensor([[-2.0, 0.0], [2.0, 1.0], [0.0, 3.0]])
    data = centers[torch.randint(3, (1000,))] + 0.3 * torch.randn(1000, 2)
    model = Mixture(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for step in range(steps):
        batch = data[torch.randint(len(data), (128,))]
        optimizer.zero_grad()
        loss = -model(batch).mean()
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            print(step, loss.item())


if __name__ == "__main__":
    main()
