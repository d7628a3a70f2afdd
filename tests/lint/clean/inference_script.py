#!/usr/bin/env python
"""Classify images with a trained checkpoint and write a CSV."""
import argparse
import csv
import sys
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.models import convnext_tiny
from torchvision.transforms import v2 as T


class ImageFiles(Dataset):
    def __init__(self, paths, size=224):
        self.paths = paths
        self.transform = T.Compose([
            T.ToImage(),
            T.Resize(size + 32, antialias=True),
            T.CenterCrop(size),
            T.ToDtype(torch.float32, scale=True),
            T.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ])

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        path = self.paths[index]
        with Image.open(path) as img:
            return self.transform(img.convert("RGB")), str(path)


def load_model(checkpoint, device):
    ckpt = torch.load(checkpoint, map_location="cpu", weights_only=True)
    classes = ckpt["classes"]
    model = convnext_tiny(weights=None, num_classes=len(classes))
    model.load_state_dict(ckpt["state_dict"])
    model.to(device)
    model.eval()
    return model, classes


@torch.inference_mode()
def predict(model, loader, classes, device, topk, tta):
    for images, paths in loader:
        images = images.to(device, non_blocking=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(images)
            if tta:
                logits = (logits + model(images.flip(-1))) / 2
        probs = torch.softmax(logits.float(), dim=1)
        conf, idx = probs.topk(min(topk, len(classes)), dim=1)
        for path, cs, ids in zip(paths, conf.tolist(), idx.tolist()):
            yield path, [(classes[i], c) for i, c in zip(ids, cs)]


def parse_args():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("checkpoint", type=Path)
    ap.add_argument("images", type=Path, nargs="+", help="files or folders")
    ap.add_argument("--batch-size", type=int, default=64)
    ap.add_argument("--workers", type=int, default=4)
    ap.add_argument("--topk", type=int, default=3)
    ap.add_argument("--tta", action="store_true", help="average with the mirrored image")
    ap.add_argument("--cpu", action="store_true")
    return ap.parse_args()


def main():
    args = parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() and not args.cpu else "cpu")
    files = []
    for item in args.images:
        if item.is_dir():
            files.extend(sorted(p for p in item.rglob("*") if p.suffix.lower() in {".jpg", ".png"}))
        else:
            files.append(item)
    if not files:
        sys.exit("no images found")

    model, classes = load_model(args.checkpoint, device)
    loader = DataLoader(
        ImageFiles(files),
        batch_size=args.batch_size,
        num_workers=args.workers,
        pin_memory=device.type == "cuda",
    )
    out = csv.writer(sys.stdout)
    out.writerow(["path", *(f"{what}{k}" for k in range(args.topk) for what in ("class", "p"))])
    for path, ranked in predict(model, loader, classes, device, args.topk, args.tta):
        out.writerow([path, *(v for name, c in ranked for v in (name, f"{c:.4f}"))])


if __name__ == "__main__":
    main()
