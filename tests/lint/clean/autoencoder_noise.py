"""Denoising autoencoder: noise goes into the input, the clean image is the target."""
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split
from tqdm import tqdm


class Digits(Dataset):
    def __init__(self):
        self.images = torch.tensor(load_digits().images, dtype=torch.float32) / 16.0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index].unsqueeze(0)


class DenoisingAE(nn.Module):
    def __init__(self, channels=16):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels * 2, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(channels * 2, channels, 2, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, 1, 2, stride=2),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


def add_noise(img, sigma):
    return (img + sigma * torch.randn_like(img)).clamp(0.0, 1.0)


def psnr(mse):
    return -10.0 * torch.log10(mse)


def run_epoch(model, loader, criterion, device, sigma, optimizer=None):
    training = optimizer is not None
    model.train(training)
    total, count = 0.0, 0
    with torch.set_grad_enabled(training):
        for clean in tqdm(loader, leave=False, disable=None):
            clean = clean.to(device)
            noisy = add_noise(clean, sigma)
            restored = model(noisy)
            loss = criterion(restored, clean)
            if training:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total += loss.item() * clean.size(0)
            count += clean.size(0)
    return total / count


def main(epochs=5, batch_size=32, sigma=0.3):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataset = Digits()
    n_val = len(dataset) // 10
    train_ds, val_ds = random_split(dataset, [len(dataset) - n_val, n_val])
    train_loader = DataLoader(train_ds, batch_size=batch_size, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=batch_size, shuffle=False)

    model = DenoisingAE().to(device)
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    for epoch in range(epochs):
        train_mse = run_epoch(model, train_loader, criterion, device, sigma, optimizer)
        val_mse = run_epoch(model, val_loader, criterion, device, sigma)
        print(
            f"epoch {epoch + 1}/{epochs} train mse {train_mse:.4f} "
            f"val mse {val_mse:.4f} val psnr {psnr(torch.tensor(val_mse)).item():.2f} dB"
        )


if __name__ == "__main__":
    main()
