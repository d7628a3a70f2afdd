import argparse
import os

import numpy as np
import torch
from datasets import load_dataset
from sklearn.metrics import accuracy_score, f1_score
from torch.optim import AdamW
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    get_scheduler,
    set_seed,
)

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def prepare_data(tokenizer, max_length):
    raw = load_dataset("imdb")
    split = raw["train"].train_test_split(test_size=0.1, seed=0)

    def tokenize(batch):
        return tokenizer(batch["text"], truncation=True, max_length=max_length)

    def encode(ds):
        ds = ds.map(tokenize, batched=True, remove_columns=["text"])
        return ds.rename_column("label", "labels").with_format("torch")

    return encode(split["train"]), encode(split["test"]), encode(raw["test"])


def no_decay_groups(model, weight_decay):
    no_decay = ["bias", "LayerNorm.weight"]
    return [
        {
            "params": [p for n, p in model.named_parameters() if not any(k in n for k in no_decay)],
            "weight_decay": weight_decay,
        },
        {
            "params": [p for n, p in model.named_parameters() if any(k in n for k in no_decay)],
            "weight_decay": 0.0,
        },
    ]


def evaluate(model, dataloader, device):
    model.eval()
    all_preds, all_labels = [], []
    for batch in tqdm(dataloader, desc="eval", leave=False):
        batch = {k: v.to(device) for k, v in batch.items()}
        with torch.no_grad():
            logits = model(**batch).logits
        all_preds.append(logits.argmax(dim=-1).cpu().numpy())
        all_labels.append(batch["labels"].cpu().numpy())
    preds, labels = np.concatenate(all_preds), np.concatenate(all_labels)
    return {"accuracy": accuracy_score(labels, preds), "f1": f1_score(labels, preds)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_name_or_path", default="distilbert-base-uncased")
    parser.add_argument("--output_dir", default="./imdb-distilbert")
    parser.add_argument("--max_length", type=int, default=256)
    parser.add_argument("--per_device_batch_size", type=int, default=16)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--weight_decay", type=float, default=0.01)
    parser.add_argument("--num_train_epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()

    set_seed(args.seed)
    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")

    tokenizer = AutoTokenizer.from_pretrained(args.model_name_or_path)
    train_ds, val_ds, test_ds = prepare_data(tokenizer, args.max_length)
    collator = DataCollatorWithPadding(tokenizer)
    train_dataloader = DataLoader(
        train_ds, shuffle=True, batch_size=args.per_device_batch_size, collate_fn=collator
    )
    val_dataloader = DataLoader(val_ds, batch_size=64, collate_fn=collator)
    test_dataloader = DataLoader(test_ds, batch_size=64, collate_fn=collator)

    model = AutoModelForSequenceClassification.from_pretrained(
        args.model_name_or_path, num_labels=2
    )
    model.to(device)

    optimizer = AdamW(no_decay_groups(model, args.weight_decay), lr=args.learning_rate)
    num_training_steps = args.num_train_epochs * len(train_dataloader)
    lr_scheduler = get_scheduler(
        name="linear",
        optimizer=optimizer,
        num_warmup_steps=int(0.06 * num_training_steps),
        num_training_steps=num_training_steps,
    )

    progress_bar = tqdm(range(num_training_steps))
    best_f1 = -1.0
    for epoch in range(args.num_train_epochs):
        model.train()
        for batch in train_dataloader:
            batch = {k: v.to(device) for k, v in batch.items()}
            outputs = model(**batch)
            loss = outputs.loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()
            progress_bar.update(1)
            progress_bar.set_postfix(loss=f"{loss.item():.4f}")

        metrics = evaluate(model, val_dataloader, device)
        print(f"epoch {epoch}: {metrics}")
        if metrics["f1"] > best_f1:
            best_f1 = metrics["f1"]
            model.save_pretrained(args.output_dir)
            tokenizer.save_pretrained(args.output_dir)

    best = AutoModelForSequenceClassification.from_pretrained(args.output_dir).to(device)
    print("test:", evaluate(best, test_dataloader, device))


if __name__ == "__main__":
    main()
