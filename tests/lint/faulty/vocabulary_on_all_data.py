# fault: 26 [fitted-before-split] the vectorizer's vocabulary and idf weights come from all texts, the test ones included
import random

import torch
import torch.nn as nn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split


def make_texts(n):
    rng = random.Random(0)
    good, bad = ["great", "fine", "lovely"], ["bad", "poor", "awful"]
    texts, labels = [], []
    for i in range(n):
        label = i % 2
        words = rng.choices(["film", "plot", "actor", "scene"], k=5)
        texts.append(" ".join(words + rng.choices(good if label else bad, k=2)))
        labels.append(label)
    return texts, labels


def main(epochs=5):
    torch.manual_seed(0)
    texts, labels = make_texts(400)
    vectorizer = TfidfVectorizer()
    features = vectorizer.fit_transform(texts).toarray()
    x_train, x_test, y_train, y_test = train_test_split(
        features, labels, test_size=0.25, random_state=0
    )
    x_train, x_test = (torch.tensor(a, dtype=torch.float32) for a in (x_train, x_test))
    y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)

    net = nn.Linear(x_train.shape[1], 2)
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    ce = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        net.train()
        for idx in torch.randperm(len(x_train)).split(32):
            opt.zero_grad()
            ce(net(x_train[idx]), y_train[idx]).backward()
            opt.step()
    net.eval()
    with torch.no_grad():
        print("test accuracy", (net(x_test).argmax(dim=1) == y_test).float().mean().item())


if __name__ == "__main__":
    main()
