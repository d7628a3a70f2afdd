"""The rule on a training mode that is never restored."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in
from tests.lint.rules.test_evaluation_modes import NET, TRAIN

NEVER_RESTORED = [
    # train() once, before the epochs
    NET
    + """
def main(train_loader, val_loader):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = 0
            for x, y in val_loader:
                right += (model(x).argmax(1) == y).sum().item()
        print(epoch, right / len(val_loader.dataset))
""",
    # in functions
    NET
    + """
def train_epoch(model, loader, optimizer):
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

def evaluate(model, loader):
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right / len(loader.dataset)

def main(train_loader, val_loader):
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(10):
        train_epoch(net, train_loader, optimizer)
        print(evaluate(net, val_loader))
""",
    # a trainer class, train() in the constructor
    NET
    + """
class Trainer:
    def __init__(self, train_loader, val_loader):
        self.model = Net().train()
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.train_loader, self.val_loader = train_loader, val_loader

    def train_epoch(self):
        for x, y in self.train_loader:
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        right = 0
        for x, y in self.val_loader:
            right += (self.model(x).argmax(dim=1) == y).sum().item()
        return right / len(self.val_loader.dataset)

    def fit(self, epochs):
        for epoch in range(epochs):
            self.train_epoch()
            print(self.validate())
""",
    # in the middle of the epoch
    NET
    + """
def evaluate(model, loader):
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right / len(loader.dataset)

def main(train_loader, val_loader):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(10):
        model.train()
        for step, (x, y) in enumerate(train_loader):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            if step % 100 == 0:
                print(evaluate(model, val_loader))
""",
    # train(False)
    NET
    + """
def fit(model, train_loader, x_val, y_val, optimizer):
    model.train()
    for epoch in range(20):
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.train(False)
        with torch.no_grad():
            print(F.cross_entropy(model(x_val), y_val).item())
""",
]

RESTORED = [
    # a new model in each round
    NET
    + """
def evaluate(model, loader):
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right / len(loader.dataset)

def main(folds):
    for train_loader, val_loader in folds:
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(evaluate(model, val_loader))
""",
    # what it was before is set again
    NET
    + """
def evaluate(model, loader):
    was_training = model.training
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    model.train(was_training)
    return right / len(loader.dataset)

def main(model, train_loader, val_loader, optimizer):
    model.train()
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(evaluate(model, val_loader))
""",
    # another model: its teacher is in evaluation mode in each epoch
    NET
    + """
def main(train_loader):
    teacher, student = Net(), Net()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    student.train()
    for epoch in range(10):
        teacher.eval()
        for x, _ in train_loader:
            with torch.no_grad():
                wanted = teacher(x).softmax(dim=1)
            optimizer.zero_grad()
            F.cross_entropy(student(x), wanted).backward()
            optimizer.step()
""",
    # training ends after it
    NET
    + """
def main(train_loader, x_test):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        if epoch == 9:
            model.eval()
            with torch.no_grad():
                print(model(x_test).argmax(1))
""",
    # the batch norm of a backbone is kept as it was, by intention
    NET
    + """
def main(model, train_loader, optimizer):
    for epoch in range(10):
        model.train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
""",
    # train() stands in the function that trains
    NET
    + TRAIN
    + """
def evaluate(model, loader):
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right / len(loader.dataset)

def main(train_loader, val_loader):
    model = Net().to("cpu")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(10):
        train_one_epoch(model, train_loader, nn.CrossEntropyLoss(), optimizer, "cpu")
        print(evaluate(model, val_loader))
""",
]


@pytest.mark.parametrize("text", NEVER_RESTORED)
def test_a_missing_train_is_found(text: str) -> None:
    assert rules_in(text) == ["train-never-restored"]


@pytest.mark.parametrize("text", RESTORED)
def test_a_mode_that_is_restored_is_silent(text: str) -> None:
    assert rules_in(text) == []
