# fault: 46 [nll-without-log-softmax] raw scores go into NLLLoss, which needs log probabilities
import torch
import torch.nn as nn
import torch.optim as optim


class BoWClassifier(nn.Module):
    def __init__(self, num_labels, vocab_size):
        super(BoWClassifier, self).__init__()
        self.linear = nn.Linear(vocab_size, num_labels)

    def forward(self, bow_vec):
        return self.linear(bow_vec)


def make_bow_vector(sentence, word_to_ix):
    vec = torch.zeros(len(word_to_ix))
    for word in sentence:
        vec[word_to_ix[word]] += 1
    return vec.view(1, -1)


data = [
    ("me gusta comer en la cafeteria".split(), "SPANISH"),
    ("Give it to me".split(), "ENGLISH"),
    ("No creo que sea una buena idea".split(), "SPANISH"),
    ("No it is not a good idea to get lost at sea".split(), "ENGLISH"),
]
word_to_ix = {}
for sent, _ in data:
    for word in sent:
        word_to_ix.setdefault(word, len(word_to_ix))
label_to_ix = {"SPANISH": 0, "ENGLISH": 1}

torch.manual_seed(1)
model = BoWClassifier(2, len(word_to_ix))
loss_function = nn.NLLLoss()
optimizer = optim.SGD(model.parameters(), lr=0.1)

for epoch in range(100):
    for instance, label in data:
        model.zero_grad()
        bow_vec = make_bow_vector(instance, word_to_ix)
        target = torch.tensor([label_to_ix[label]], dtype=torch.long)
        scores = model(bow_vec)
        loss = loss_function(scores, target)
        loss.backward()
        optimizer.step()
print(loss.item())
