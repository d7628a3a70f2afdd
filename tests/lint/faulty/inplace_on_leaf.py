# fault: 26 [in-place-on-leaf] w -= lr * w.grad outside no_grad: RuntimeError, in-place on a leaf that requires grad
import torch

torch.manual_seed(0)
X = torch.randn(200, 3)
true_w = torch.tensor([[1.0], [-2.0], [0.5]])
y = X @ true_w + 0.01 * torch.randn(200, 1)

w = torch.zeros(3, 1, requires_grad=True)
b = torch.zeros(1, requires_grad=True)
lr = 0.1


def model(X):
    return X @ w + b


def mse(pred, target):
    return ((pred - target) ** 2).mean()


for epoch in range(50):
    for idx in torch.randperm(len(X)).split(20):
        loss = mse(model(X[idx]), y[idx])
        loss.backward()
        w -= lr * w.grad
        with torch.no_grad():
            b -= lr * b.grad
        w.grad = None
        b.grad = None
    if epoch % 10 == 0:
        print(epoch, loss.item())
print(w.detach().ravel().tolist(), b.item())
