from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


@dataclass
class Args:
    teacher_epochs: int = 10
    student_epochs: int = 10
    batch_size: int = 64
    T: float = 4.0
    alpha: float = 0.7
    lr: float = 1e-3
    seed: int = 0


def mlp(*sizes):
    layers = []
    for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:])):
        if i:
            layers.append(nn.ReLU())
        layers.append(nn.Linear(a, b))
    return nn.Sequential(*layers)


def kd_loss(student_logits, teacher_logits, T):
    return F.kl_div(
        F.log_softmax(student_logits / T, dim=-1),
        F.log_softmax(teacher_logits / T, dim=-1),
        reduction="batchmean",
        log_target=True,
    ) * (T * T)


def train_teacher(teacher, loader, args, device):
    opt = torch.optim.Adam(teacher.parameters(), lr=args.lr)
    teacher.train()
    for _ in range(args.teacher_epochs):
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            opt.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            opt.step()


def train_student(student, loader, args, device, teacher=None):
    opt = torch.optim.Adam(student.parameters(), lr=args.lr)
    if teacher is not None:
        teacher.eval()
        for p in teacher.parameters():
            p.requires_grad_(False)
    student.train()
    for epoch in range(args.student_epochs):
        hard_sum = soft_sum = n = 0.0
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            logits = student(x)
            hard = F.cross_entropy(logits, y)
            if teacher is not None:
                with torch.no_grad():
                    teacher_logits = teacher(x)
                soft = kd_loss(logits, teacher_logits, args.T)
                loss = args.alpha * soft + (1 - args.alpha) * hard
                soft_sum += soft.item() * len(x)
            else:
                loss = hard
            opt.zero_grad()
            loss.backward()
            opt.step()
            hard_sum += hard.item() * len(x)
            n += len(x)
        print(f"  epoch {epoch} hard {hard_sum / n:.4f} soft {soft_sum / n:.4f}")


@torch.no_grad()
def accuracy(model, loader, device):
    model.eval()
    hits = [(model(x.to(device)).argmax(dim=-1).cpu() == y) for x, y in loader]
    return torch.cat(hits).float().mean().item()


def main(args=Args()):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(args.seed)
    X, y = load_digits(return_X_y=True)
    ds = TensorDataset(torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y))
    train, test = random_split(ds, [1297, 500], generator=torch.Generator().manual_seed(args.seed))
    dl_tr = DataLoader(train, args.batch_size, shuffle=True)
    dl_te = DataLoader(test, 256)

    teacher = mlp(64, 512, 512, 10).to(device)
    train_teacher(teacher, dl_tr, args, device)
    print(f"teacher {accuracy(teacher, dl_te, device):.4f}")

    # the same initial weights and batch order for both students
    for name, guide in (("plain", None), ("distilled", teacher)):
        torch.manual_seed(args.seed + 1)
        student = mlp(64, 16, 10).to(device)
        train_student(student, dl_tr, args, device, teacher=guide)
        print(f"{name} student {accuracy(student, dl_te, device):.4f}")


if __name__ == "__main__":
    main()
