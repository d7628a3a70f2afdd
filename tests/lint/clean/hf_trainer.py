import numpy as np
from datasets import load_dataset
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

MODEL = "roberta-base"
LABELS = ["World", "Sports", "Business", "Sci/Tech"]


def compute_metrics(eval_pred):
    logits, labels = eval_pred
    predictions = np.argmax(logits, axis=-1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predictions, average="macro", zero_division=0
    )
    return {
        "accuracy": accuracy_score(labels, predictions),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def model_init():
    return AutoModelForSequenceClassification.from_pretrained(
        MODEL,
        num_labels=len(LABELS),
        id2label=dict(enumerate(LABELS)),
        label2id={name: i for i, name in enumerate(LABELS)},
    )


def main():
    set_seed(17)

    ds = load_dataset("ag_news")
    parts = ds["train"].train_test_split(test_size=0.05, seed=17, stratify_by_column="label")
    tokenizer = AutoTokenizer.from_pretrained(MODEL)

    def preprocess(examples):
        return tokenizer(examples["text"], truncation=True, max_length=128)

    train_ds = parts["train"].map(preprocess, batched=True)
    eval_ds = parts["test"].map(preprocess, batched=True)
    test_ds = ds["test"].map(preprocess, batched=True)

    args = TrainingArguments(
        output_dir="ag-news-roberta",
        per_device_train_batch_size=32,
        per_device_eval_batch_size=64,
        gradient_accumulation_steps=2,
        learning_rate=2e-5,
        weight_decay=0.01,
        num_train_epochs=3,
        warmup_ratio=0.1,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="f1",
        save_total_limit=2,
        fp16=True,
        seed=17,
        report_to="none",
    )
    trainer = Trainer(
        model_init=model_init,
        args=args,
        train_dataset=train_ds,
        eval_dataset=eval_ds,
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=compute_metrics,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=1)],
    )
    trainer.train()

    results = trainer.evaluate(test_ds, metric_key_prefix="test")
    trainer.log_metrics("test", results)
    trainer.save_model()


if __name__ == "__main__":
    main()
