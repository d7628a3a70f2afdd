import math

import torch


class AverageMeter:
    def __init__(self):
        self.sum = 0.0
        self.count = 0

    def update(self, value, n=1):
        self.sum += value * n
        self.count += n

    @property
    def avg(self):
        return self.sum / max(1, self.count)


def train_one_epoch(model, criterion, loader, optimizer, device, scheduler=None, max_norm=None):
    model.train()
    meter = AverageMeter()
    for samples, targets in loader:
        samples = samples.to(device, non_blocking=True)
        targets = targets.to(device, non_blocking=True)

        outputs = model(samples)
        loss = criterion(outputs, targets)
        loss_value = loss.item()
        if not math.isfinite(loss_value):
            raise FloatingPointError(f"loss is {loss_value}")

        optimizer.zero_grad()
        loss.backward()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        meter.update(loss_value, samples.size(0))
    return meter.avg


@torch.no_grad()
def evaluate(model, criterion, loader, device):
    model.eval()
    losses, top1 = AverageMeter(), AverageMeter()
    for samples, targets in loader:
        samples, targets = samples.to(device), targets.to(device)
        outputs = model(samples)
        losses.update(criterion(outputs, targets).item(), samples.size(0))
        correct = outputs.argmax(dim=1).eq(targets).float().mean().item()
        top1.update(correct, samples.size(0))
    return {"loss": losses.avg, "acc1": top1.avg}
