import argparse
import copy
import json
import random
from pathlib import Path

import numpy as np
import torch

from .data import build_loaders
from .engine import evaluate, train_one_epoch
from .losses import get_criterion
from .model import build_model


def get_args_parser():
    parser = argparse.ArgumentParser("training", add_help=True)
    parser.add_argument("--model", default="wrn-s")
    parser.add_argument("--criterion", default="ce", choices=["ce", "focal"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("--eval-only", type=Path, default=None)
    return parser


def main(args):
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    loaders = build_loaders(args.batch_size, args.seed)
    model = build_model(args.model, loaders.num_classes)
    model.to(device)
    criterion = get_criterion(args.criterion, loaders.train.dataset.labels, loaders.num_classes)
    criterion.to(device)

    if args.eval_only:
        checkpoint = torch.load(args.eval_only, map_location="cpu", weights_only=True)
        model.load_state_dict(checkpoint["model"])
        print(evaluate(model, criterion, loaders.test, device))
        return

    n_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"number of params: {n_parameters}")
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=args.lr, total_steps=args.epochs * len(loaders.train)
    )

    best, best_state = -1.0, None
    for epoch in range(args.epochs):
        train_loss = train_one_epoch(
            model, criterion, loaders.train, optimizer, device, scheduler, max_norm=1.0
        )
        stats = evaluate(model, criterion, loaders.val, device)
        print(json.dumps({"epoch": epoch, "train_loss": train_loss, **stats}))
        if stats["acc1"] > best:
            best, best_state = stats["acc1"], copy.deepcopy(model.state_dict())

    model.load_state_dict(best_state)
    print("test", evaluate(model, criterion, loaders.test, device))
    if args.output:
        torch.save({"model": best_state, "args": vars(args) | {"output": None}}, args.output)


if __name__ == "__main__":
    main(get_args_parser().parse_args())
