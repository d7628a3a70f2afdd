"""torchrun --nproc_per_node=8 ddp_torchrun.py --epochs 90"""
import argparse
import os
import time

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def setup():
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend)
    local_rank = int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
        return torch.device("cuda", local_rank)
    return torch.device("cpu")


def make_data(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 32, generator=g)
    w = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, (x @ w).argmax(dim=1))


def build_model():
    return nn.Sequential(
        nn.Linear(32, 128), nn.BatchNorm1d(128), nn.ReLU(inplace=True), nn.Linear(128, 4)
    )


def reduce_sum(*values, device):
    t = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(t, op=dist.ReduceOp.SUM)
    return t.tolist()


def train_one_epoch(model, loader, sampler, criterion, optimizer, device, epoch):
    sampler.set_epoch(epoch)
    model.train()
    loss_sum, n = 0.0, 0
    for x, y in loader:
        x = x.to(device, non_blocking=True)
        y = y.to(device, non_blocking=True)
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * x.size(0)
        n += x.size(0)
    loss_sum, n = reduce_sum(loss_sum, n, device=device)
    return loss_sum / n


@torch.no_grad()
def validate(model, loader, device):
    model.eval()
    correct = total = 0
    for x, y in loader:
        pred = model(x.to(device)).argmax(1)
        correct += int((pred == y.to(device)).sum())
        total += y.numel()
    correct, total = reduce_sum(correct, total, device=device)
    return correct / total


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=10)
    ap.add_argument("--batch-size", type=int, default=64)
    ap.add_argument("--samples", type=int, default=8192)
    ap.add_argument("--lr", type=float, default=0.1)
    ap.add_argument("--out", default="/tmp/ddp_checkpoint.pt")
    args = ap.parse_args()

    device = setup()
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(1234)

    train_set, val_set = make_data(args.samples, seed=1), make_data(args.samples // 4, seed=2)
    train_sampler = DistributedSampler(train_set, shuffle=True, drop_last=True)
    val_sampler = DistributedSampler(val_set, shuffle=False)
    train_loader = DataLoader(
        train_set, args.batch_size, sampler=train_sampler, pin_memory=device.type == "cuda"
    )
    val_loader = DataLoader(val_set, args.batch_size * 2, sampler=val_sampler)

    model = nn.SyncBatchNorm.convert_sync_batchnorm(build_model()) \
        if device.type == "cuda" else build_model()
    model = model.to(device)
    model = DDP(model, device_ids=[device.index] if device.type == "cuda" else None)

    criterion = nn.CrossEntropyLoss().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr * world, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)

    for epoch in range(args.epochs):
        t0 = time.perf_counter()
        loss = train_one_epoch(
            model, train_loader, train_sampler, criterion, optimizer, device, epoch
        )
        acc = validate(model, val_loader, device)
        scheduler.step()
        if rank == 0:
            print(f"epoch {epoch} loss {loss:.4f} acc {acc:.3f} {time.perf_counter() - t0:.1f}s")
            torch.save(
                {"model": model.module.state_dict(), "optimizer": optimizer.state_dict()},
                args.out,
            )
        dist.barrier()

    dist.destroy_process_group()


if __name__ == "__main__":
    main()
