"""Loops as people write them, without a fault: the rules on training steps say nothing."""

from __future__ import annotations

import pytest

from fitwell.lint import check_texts
from fitwell.lint.rules import themes

from .steps_programs import TOP

PROGRAMS = {
    "phases": """
for epoch in range(num_epochs):
    for phase in ["train", "val"]:
        model.train(phase == "train")
        running_loss = 0.0
        for inputs, labels in dataloaders[phase]:
            optimizer.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                loss = criterion(model(inputs), labels)
                if phase == "train":
                    loss.backward()
                    optimizer.step()
            running_loss += loss.item() * inputs.size(0)
        if phase == "train":
            scheduler.step()
""",
    "micro steps": """
scaler = torch.amp.GradScaler(enabled=dtype == "float16")
while True:
    lr = get_lr(iter_num)
    for group in optimizer.param_groups:
        group["lr"] = lr
    for micro_step in range(gradient_accumulation_steps):
        with ctx:
            logits, loss = model(X, Y)
            loss = loss / gradient_accumulation_steps
        X, Y = get_batch("train")
        scaler.scale(loss).backward()
    if grad_clip != 0.0:
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    if iter_num > max_iters:
        break
""",
    "sharpness-aware": """
for x, y in train_loader:
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.first_step(zero_grad=True)
    criterion(model(x), y).backward()
    optimizer.second_step(zero_grad=True)
""",
    "averaged weights": """
scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=300)
swa_scheduler = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05)
for epoch in range(300):
    for x, y in train_loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    if epoch > 160:
        swa_model.update_parameters(model)
        swa_scheduler.step()
    else:
        scheduler.step()
""",
    "a penalty on gradients": """
for i, real in enumerate(train_loader):
    opt_d.zero_grad()
    fake = net_g(z).detach()
    mixed = (0.5 * real + 0.5 * fake).requires_grad_()
    grads = torch.autograd.grad(net_d(mixed).sum(), mixed, create_graph=True)[0]
    loss_d = net_d(fake).mean() - net_d(real).mean() + 10 * ((grads.norm(2, 1) - 1) ** 2).mean()
    loss_d.backward()
    opt_d.step()
    if i % n_critic == 0:
        opt_g.zero_grad()
        loss_g = -net_d(net_g(z)).mean()
        loss_g.backward()
        opt_g.step()
""",
    "two losses of one discriminator": """
for real in train_loader:
    net_d.zero_grad()
    loss_real = criterion(net_d(real), ones)
    loss_real.backward()
    fake = net_g(z)
    loss_fake = criterion(net_d(fake.detach()), zeros)
    loss_fake.backward()
    loss_d = loss_real + loss_fake
    optimizerD.step()
    net_g.zero_grad()
    loss_g = criterion(net_d(fake), ones)
    loss_g.backward()
    optimizerG.step()
    D_losses.append(loss_d.item())
""",
    "meta learning": """
for task in tasks:
    meta_optimizer.zero_grad()
    fast = dict(model.named_parameters())
    for _ in range(inner_steps):
        loss = criterion(torch.func.functional_call(model, fast, task.x), task.y)
        grads = torch.autograd.grad(loss, fast.values(), create_graph=True)
        fast = {k: p - 0.1 * g for (k, p), g in zip(fast.items(), grads)}
    outer = criterion(torch.func.functional_call(model, fast, task.qx), task.qy)
    outer.backward()
    meta_optimizer.step()
""",
    "a policy with clipping": """
for _ in range(updates):
    for epoch in range(4):
        for index in torch.randperm(len(states)).split(64):
            ratio = (policy.log_prob(states[index], actions[index]) - old[index]).exp()
            clipped = ratio.clamp(0.8, 1.2) * advantages[index]
            loss = -torch.min(ratio * advantages[index], clipped).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
            optimizer.step()
""",
    "accelerate, whole": """
model, optimizer, train_loader, scheduler = accelerator.prepare(
    model, optimizer, train_loader, scheduler
)
for epoch in range(num_epochs):
    total_loss = 0
    for step, batch in enumerate(train_loader):
        with accelerator.accumulate(model):
            loss = model(**batch).loss
            total_loss += loss.detach().float()
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
""",
    "a scaler of timm": """
for i, (x, y) in enumerate(train_loader):
    with amp_autocast():
        loss = criterion(model(x), y)
    if loss_scaler is not None:
        loss_scaler(loss, optimizer, clip_grad=1.0, parameters=model.parameters())
    else:
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    scheduler.step_update(num_updates=i)
""",
    "style transfer": """
run = [0]
while run[0] <= 300:
    def closure():
        with torch.no_grad():
            image.clamp_(0, 1)
        optimizer.zero_grad()
        model(image)
        style_score = 0
        content_score = 0
        for sl in style_losses:
            style_score += sl.loss
        for cl in content_losses:
            content_score += cl.loss
        loss = 1e6 * style_score + content_score
        loss.backward()
        run[0] += 1
        return style_score + content_score
    optimizer.step(closure)
""",
    "a recurrent net by hand": """
for line, category in pairs:
    hidden = rnn.init_hidden()
    rnn.zero_grad()
    loss = 0
    for i in range(line.size(0)):
        output, hidden = rnn(line[i], hidden)
        loss += criterion(output, category[i])
    loss.backward()
    for p in rnn.parameters():
        p.data.add_(p.grad.data, alpha=-0.005)
""",
    "distillation": """
for x, y in train_loader:
    with torch.no_grad():
        target = teacher(x)
    logits = student(x)
    soft = F.kl_div(F.log_softmax(logits / T, 1), F.softmax(target / T, 1), reduction="batchmean")
    loss = 0.5 * criterion(logits, y) + 0.5 * T * T * soft
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
""",
    "a learning rate finder": """
scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=(10 / 1e-6) ** (1 / num_iter))
best = float("inf")
for i, (x, y) in enumerate(train_loader):
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    if loss.item() > 4 * best:
        break
    best = min(best, loss.item())
    loss.backward()
    optimizer.step()
    scheduler.step()
""",
    "a q network": """
for step in range(total_steps):
    action = act(state)
    if step > warmup and step % train_every == 0:
        batch = buffer.sample(64)
        loss = F.smooth_l1_loss(q(batch.s).gather(1, batch.a), batch.target)
        optimizer.zero_grad()
        loss.backward()
        for p in q.parameters():
            p.grad.data.clamp_(-1, 1)
        optimizer.step()
    if step % sync == 0:
        target.load_state_dict(q.state_dict())
""",
    "by iterations": """
scheduler = lr_scheduler.MultiStepLR(optimizer, milestones=[30000, 45000])
data = iter(train_loader)
for step in range(60000):
    try:
        x, y = next(data)
    except StopIteration:
        data = iter(train_loader)
        x, y = next(data)
    loss = criterion(model(x), y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    scheduler.step()
""",
    "alternating parts": """
for epoch in range(epochs):
    opt = opt_a if epoch % 2 == 0 else opt_b
    for x, y in train_loader:
        opt.zero_grad()
        criterion(model(x), y).backward()
        opt.step()
""",
    "each optimizer once": """
for model, optimizer in ((one, sgd), (other, adam)):
    criterion(model(x), y).backward()
    optimizer.step()
for member in members:
    criterion(member.model(x), y).backward()
    member.optimizer.step()
""",
    "gradients in one buffer": """
class Flat:
    def zero(self):
        self.grads.zero_()

def run(flat, train_loader, optimizer):
    model.train()
    for x, y in train_loader:
        flat.zero()
        criterion(model(x), y).backward()
        optimizer.step()
""",
    "every sample by itself": """
for x, y in train_loader:
    optimizer.zero_grad()
    for one, target in zip(x, y):
        loss = criterion(model(one[None]), target[None]) / len(x)
        loss.backward()
    optimizer.step()
""",
}


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_a_style_without_a_fault_is_silent(text: str) -> None:
    rules = themes()["steps"][1]
    assert check_texts({"train.py": TOP + text}, rules) == []
