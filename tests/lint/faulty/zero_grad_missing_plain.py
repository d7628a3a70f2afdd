# fault: 29 [missing-zero-grad] no zero_grad anywhere in the loop
import numpy as np
import torch
import torch.nn as nn

torch.manual_seed(0)
x_values = np.arange(11, dtype=np.float32).reshape(-1, 1) / 10
y_values = 2 * x_values + 1


class LinearRegression(nn.Module):
    def __init__(self, in_dim, out_dim):
        super(LinearRegression, self).__init__()
        self.linear = nn.Linear(in_dim, out_dim)

    def forward(self, x):
        return self.linear(x)


model = LinearRegression(1, 1)
criterion = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.from_numpy(x_values)
labels = torch.from_numpy(y_values)

for epoch in range(100):
    outputs = model(inputs)
    loss = criterion(outputs, labels)
    loss.backward()
    optimizer.step()
    if epoch % 10 == 0:
        print("epoch {}, loss {:.4f}".format(epoch, loss.item()))

model.eval()
with torch.no_grad():
    print(model(inputs).numpy().ravel())
