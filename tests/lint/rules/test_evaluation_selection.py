"""Rules on test data that take part in a choice."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in

TOP = """
import copy
import torch
from torch import nn
from torch.optim import lr_scheduler
from mine import EarlyStopping, build, evaluate, fit, train
"""
FIT = TOP + "\ndef main(model, optimizer, train_loader, val_loader, test_loader):\n"

SELECTED = [
    FIT
    + """
    best_loss, best_state = float("inf"), None
    for epoch in range(20):
        train(model, train_loader, optimizer)
        loss = evaluate(model, test_loader)
        if loss < best_loss:
            best_loss = loss
            best_state = copy.deepcopy(model.state_dict())
""",
    FIT
    + """
    best_acc = 0
    for epoch in range(20):
        train(model, train_loader, optimizer)
        test_loss, test_acc = evaluate(model, test_loader)
        if test_acc > best_acc:
            print("saving")
            torch.save({"model": model.state_dict(), "acc": test_acc}, "best.pt")
            best_acc = test_acc
""",
    FIT
    + """
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer)
    for epoch in range(20):
        train(model, train_loader, optimizer)
        test_loss = evaluate(model, test_loader)
        scheduler.step(test_loss)
""",
    FIT
    + """
    early_stopping = EarlyStopping(patience=5)
    for epoch in range(20):
        train(model, train_loader, optimizer)
        test_loss = evaluate(model, test_loader)
        early_stopping(test_loss, model)
""",
    TOP
    + """
class Trainer:
    def __init__(self, model, testloader):
        self.model, self.testloader, self.best_acc = model, testloader, 0

    @torch.no_grad()
    def test(self):
        self.model.eval()
        correct = total = 0
        for x, y in self.testloader:
            correct += (self.model(x).argmax(1) == y).sum().item()
            total += len(y)
        acc = 100.0 * correct / total
        if acc > self.best_acc:
            torch.save(self.model.state_dict(), "best.pt")
            self.best_acc = acc
""",
]
SELECTED += [
    FIT
    + """
    stopper = EarlyStopping(patience=5)
    for epoch in range(20):
        train(model, train_loader, optimizer)
        if stopper.step(evaluate(model, test_loader)):
            break
""",
]
CHOSEN = [
    FIT
    + """
    best, best_lr = 0, None
    for lr in (0.1, 0.01):
        test_acc = fit(build(), lr, train_loader, test_loader)
        if test_acc > best:
            best, best_lr = test_acc, lr
    print(best_lr)
""",
    FIT
    + """
    results = {}
    for width in [16, 32, 64]:
        net = fit(build(width), train_loader)
        results[width] = evaluate(net, test_loader)
    best_width = max(results, key=results.get)
""",
    TOP
    + """
def objective(trial, train_loader, test_loader):
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    net = fit(build(), lr, train_loader)
    test_acc = evaluate(net, test_loader)
    return test_acc
""",
    FIT
    + """
    best_score, best_params = 0.0, {}
    for params in [{"lr": 0.1}, {"lr": 0.2}]:
        net = fit(build(), params, train_loader)
        score = evaluate(net, test_loader)
        if best_score < score:
            best_score = score
            best_params = dict(params)
""",
    FIT
    + """
    best_test_acc, best_config = 0.0, None
    for hidden in (8, 16):
        for dropout in (0.1, 0.5):
            net = fit(build(hidden, dropout), train_loader)
            test_acc = evaluate(net, test_loader)
            if test_acc > best_test_acc:
                best_test_acc = test_acc
                best_config = (hidden, dropout)
""",
]
RIGHT = [
    # only printed
    FIT
    + """
    for epoch in range(20):
        train(model, train_loader, optimizer)
        print(epoch, evaluate(model, test_loader))
""",
    # the best is noted, nothing is kept
    FIT
    + """
    best_acc = 0
    for epoch in range(20):
        train(model, train_loader, optimizer)
        test_acc = evaluate(model, test_loader)
        if test_acc > best_acc:
            best_acc = test_acc
    print(best_acc)
""",
    # by validation; the test result is noted beside
    FIT
    + """
    best_acc = 0
    for epoch in range(20):
        train(model, train_loader, optimizer)
        val_acc, test_acc = evaluate(model, val_loader), evaluate(model, test_loader)
        if val_acc > best_acc:
            best_acc, kept = val_acc, test_acc
            torch.save(model.state_dict(), "best.pt")
""",
    FIT
    + """
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer)
    for epoch in range(20):
        train(model, train_loader, optimizer)
        scheduler.step(evaluate(model, val_loader))
    print(evaluate(model, test_loader))
""",
    FIT
    + """
    best, best_lr = 0, None
    for lr in (0.1, 0.01):
        score = evaluate(fit(build(), lr, train_loader), val_loader)
        if score > best:
            best, best_lr = score, lr
    print(best_lr, evaluate(fit(build(), best_lr, train_loader), test_loader))
""",
    # results of several seeds, none of which is chosen
    FIT
    + """
    results = {}
    for seed in range(5):
        torch.manual_seed(seed)
        results[seed] = evaluate(fit(build(), train_loader), test_loader)
    print(sum(results.values()) / len(results))
""",
    FIT
    + """
    best = 0
    for name, loader in (("val", val_loader), ("test", test_loader)):
        acc = evaluate(model, loader)
        if acc > best:
            best = acc
            torch.save(model.state_dict(), name)
""",
]


@pytest.mark.parametrize("text", SELECTED)
def test_a_selection_by_test_data_is_found(text: str) -> None:
    assert rules_in(text) == ["test-set-in-selection"]


@pytest.mark.parametrize("text", CHOSEN)
def test_settings_chosen_by_test_data_are_found(text: str) -> None:
    assert rules_in(text) == ["hyperparameters-chosen-on-test"]


@pytest.mark.parametrize("text", RIGHT)
def test_a_choice_by_validation_data_is_silent(text: str) -> None:
    assert rules_in(text) == []
