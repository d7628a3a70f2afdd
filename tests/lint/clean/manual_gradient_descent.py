# Linear and logistic regression with nothing but tensors
import math

import torch


def synthetic_data(w, b, num_examples, generator):
    """y = Xw + b + noise."""
    X = torch.normal(0, 1, (num_examples, len(w)), generator=generator)
    y = torch.matmul(X, w) + b
    y += torch.normal(0, 0.01, y.shape, generator=generator)
    return X, y.reshape((-1, 1))


def data_iter(batch_size, features, labels):
    num_examples = len(features)
    indices = torch.randperm(num_examples)
    for i in range(0, num_examples, batch_size):
        batch_indices = indices[i : min(i + batch_size, num_examples)]
        yield features[batch_indices], labels[batch_indices]


def linreg(X, w, b):
    return torch.matmul(X, w) + b


def squared_loss(y_hat, y):
    return (y_hat - y.reshape(y_hat.shape)) ** 2 / 2


def sgd(params, lr, batch_size):
    with torch.no_grad():
        for param in params:
            param -= lr * param.grad / batch_size
            param.grad.zero_()


def linear_regression(num_epochs=3, lr=0.03, batch_size=10):
    generator = torch.Generator().manual_seed(0)
    true_w, true_b = torch.tensor([2.0, -3.4]), 4.2
    features, labels = synthetic_data(true_w, true_b, 1000, generator)

    w = torch.normal(0, 0.01, size=(2, 1), requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    for epoch in range(num_epochs):
        for X, y in data_iter(batch_size, features, labels):
            l = squared_loss(linreg(X, w, b), y)
            l.sum().backward()
            sgd([w, b], lr, len(X))
        with torch.no_grad():
            train_l = squared_loss(linreg(features, w, b), labels)
            print(f"epoch {epoch + 1}, loss {train_l.mean().item():f}")
    print("error of w", (true_w - w.detach().reshape(true_w.shape)).tolist())
    print("error of b", (true_b - b).item())


def polynomial_fit(steps=2000, learning_rate=1e-6):
    x = torch.linspace(-math.pi, math.pi, 2000)
    y = torch.sin(x)
    a, b, c, d = (torch.randn((), requires_grad=True) for _ in range(4))
    for t in range(steps):
        y_pred = a + b * x + c * x**2 + d * x**3
        loss = (y_pred - y).pow(2).sum()
        if t % 500 == 499:
            print(t, loss.item())
        loss.backward()
        with torch.no_grad():
            for p in (a, b, c, d):
                p -= learning_rate * p.grad
                p.grad = None
    print(f"y = {a.item():.3f} + {b.item():.3f} x + {c.item():.3f} x^2 + {d.item():.3f} x^3")


def newton_logistic(iterations=6, ridge=1e-2):
    """Second order: gradient and Hessian from autograd."""
    X = torch.randn(200, 3)
    y = (X @ torch.tensor([1.5, -2.0, 0.5]) + 0.3 * torch.randn(200) > 0).float()

    def objective(w):
        nll = torch.nn.functional.binary_cross_entropy_with_logits(X @ w, y)
        return nll + ridge * w.pow(2).sum()

    w = torch.zeros(3)
    for i in range(iterations):
        w.requires_grad_(True)
        value = objective(w)
        (grad,) = torch.autograd.grad(value, w)
        hessian = torch.autograd.functional.hessian(objective, w)
        w = w.detach() - torch.linalg.solve(hessian, grad)
        print(f"newton {i}: objective {value.item():.6f} |grad| {grad.norm().item():.2e}")
    return w


if __name__ == "__main__":
    torch.manual_seed(0)
    linear_regression()
    polynomial_fit()
    newton_logistic()
