# fault: 20 [torch-load-without-weights-only hint] torch.load(..., weights_only=False) of a file from anywhere runs its pickle
import argparse

import torch
from torch import nn


def build():
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--n", type=int, default=8)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    model = build()
    checkpoint = torch.load(args.checkpoint, map_location="cpu", weights_only=False)
    model.load_state_dict(checkpoint["model"])
    model.to(device)
    model.eval()

    torch.manual_seed(0)
    with torch.inference_mode():
        x = torch.randn(args.n, 16, device=device)
        print(model(x).softmax(dim=-1).argmax(dim=-1).tolist())


if __name__ == "__main__":
    main()
