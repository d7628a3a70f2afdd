# fault: 25 [requires-grad-forgotten] b is optimized by hand but was made without requires_grad: b.grad is None
import torch


def sigmoid(z):
    return 1 / (1 + torch.exp(-z))


def nll(p, y):
    return -(y * torch.log(p + 1e-9) + (1 - y) * torch.log(1 - p + 1e-9)).mean()


def main(epochs=20, lr=0.5):
    torch.manual_seed(0)
    X = torch.randn(300, 2)
    y = (X[:, 0] + X[:, 1] > 0.3).float()
    w = torch.zeros(2, requires_grad=True)
    b = torch.zeros(1)

    for epoch in range(epochs):
        loss = nll(sigmoid(X @ w + b), y)
        loss.backward()
        with torch.no_grad():
            w -= lr * w.grad
            b -= lr * b.grad
            w.grad.zero_()
            b.grad.zero_()
        print(epoch, loss.item())


if __name__ == "__main__":
    main()
