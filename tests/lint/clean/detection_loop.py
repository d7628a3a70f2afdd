import argparse
import math
import sys

import torch
import torch.utils.data
from torchmetrics.detection import MeanAveragePrecision
from torchvision import tv_tensors
from torchvision.io import read_image
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights, fasterrcnn_resnet50_fpn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2 as T
from torchvision.transforms.v2 import functional as F


class PennFudanDataset(torch.utils.data.Dataset):
    def __init__(self, root, transforms):
        self.transforms = transforms
        self.imgs = sorted((root / "PNGImages").iterdir())
        self.masks = sorted((root / "PedMasks").iterdir())

    def __getitem__(self, idx):
        img = read_image(str(self.imgs[idx]))
        mask = read_image(str(self.masks[idx]))
        obj_ids = torch.unique(mask)[1:]
        masks = (mask == obj_ids[:, None, None]).to(dtype=torch.uint8)
        boxes = masks_to_boxes(masks)
        target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=F.get_size(img)),
            "labels": torch.ones((len(obj_ids),), dtype=torch.int64),
            "image_id": idx,
            "area": (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 2] - boxes[:, 0]),
            "iscrowd": torch.zeros((len(obj_ids),), dtype=torch.int64),
        }
        return self.transforms(tv_tensors.Image(img), target)

    def __len__(self):
        return len(self.imgs)


def get_transform(train):
    transforms = []
    if train:
        transforms.append(T.RandomHorizontalFlip(0.5))
    transforms.append(T.ToDtype(torch.float, scale=True))
    transforms.append(T.ToPureTensor())
    return T.Compose(transforms)


def get_model(num_classes):
    model = fasterrcnn_resnet50_fpn(weights=FasterRCNN_ResNet50_FPN_Weights.DEFAULT)
    in_features = model.roi_heads.box_predictor.cls_score.in_features
    model.roi_heads.box_predictor = FastRCNNPredictor(in_features, num_classes)
    return model


def to_device(targets, device):
    return [
        {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in t.items()}
        for t in targets
    ]


def collate_fn(batch):
    return tuple(zip(*batch))


def train_one_epoch(model, optimizer, data_loader, device, epoch, print_freq=10):
    model.train()
    warmup = None
    if epoch == 0:
        warmup = torch.optim.lr_scheduler.LinearLR(
            optimizer, start_factor=1e-3, total_iters=min(1000, len(data_loader) - 1)
        )

    for i, (images, targets) in enumerate(data_loader):
        images = [image.to(device) for image in images]
        loss_dict = model(images, to_device(targets, device))
        losses = sum(loss for loss in loss_dict.values())
        loss_value = losses.item()
        if not math.isfinite(loss_value):
            print(f"Loss is {loss_value}, stopping training")
            sys.exit(1)

        optimizer.zero_grad()
        losses.backward()
        optimizer.step()
        if warmup is not None:
            warmup.step()
        if i % print_freq == 0:
            parts = " ".join(f"{k} {v.item():.3f}" for k, v in loss_dict.items())
            print(f"epoch {epoch} [{i}/{len(data_loader)}] total {loss_value:.3f} {parts}")


@torch.inference_mode()
def evaluate(model, data_loader, device):
    model.eval()
    metric = MeanAveragePrecision(iou_type="bbox")
    for images, targets in data_loader:
        outputs = model([img.to(device) for img in images])
        outputs = [{k: v.cpu() for k, v in out.items()} for out in outputs]
        metric.update(outputs, list(targets))
    return metric.compute()["map"].item()


def main():
    from pathlib import Path

    ap = argparse.ArgumentParser()
    ap.add_argument("--root", type=Path, default=Path("data/PennFudanPed"))
    ap.add_argument("--epochs", type=int, default=2)
    args = ap.parse_args()

    torch.manual_seed(1)
    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")

    dataset = PennFudanDataset(args.root, get_transform(train=True))
    dataset_val = PennFudanDataset(args.root, get_transform(train=False))
    indices = torch.randperm(len(dataset)).tolist()
    dataset = torch.utils.data.Subset(dataset, indices[:-50])
    dataset_val = torch.utils.data.Subset(dataset_val, indices[-50:])

    data_loader = torch.utils.data.DataLoader(
        dataset, batch_size=2, shuffle=True, collate_fn=collate_fn, num_workers=2
    )
    data_loader_val = torch.utils.data.DataLoader(
        dataset_val, batch_size=1, shuffle=False, collate_fn=collate_fn
    )

    model = get_model(num_classes=2)
    model.to(device)
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(params, lr=0.005, momentum=0.9, weight_decay=0.0005)
    lr_scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.1)

    for epoch in range(args.epochs):
        train_one_epoch(model, optimizer, data_loader, device, epoch)
        lr_scheduler.step()
        print(f"mAP {evaluate(model, data_loader_val, device):.3f}")

    torch.save(model.state_dict(), "pedestrians.pth")


if __name__ == "__main__":
    main()
