# fault: 13 [parameters-not-in-optimizer] the optimizer gets the encoder's parameters only, the decoder stays as initialised
import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
X = torch.tensor(load_digits().data / 16, dtype=torch.float32)
loader = DataLoader(TensorDataset(X), batch_size=64, shuffle=True)

encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)).to(device)
decoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64)).to(device)
optimizer = optim.Adam(encoder.parameters(), lr=1e-3)
criterion = nn.MSELoss()

for epoch in range(3):
    encoder.train()
    decoder.train()
    epoch_loss = 0.0
    for (x,) in loader:
        x = x.to(device)
        recon = decoder(encoder(x))
        loss = criterion(recon, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() * len(x)
    print(epoch, epoch_loss / len(X))

torch.save({"enc": encoder.state_dict(), "dec": decoder.state_dict()}, "/tmp/ae.pt")
