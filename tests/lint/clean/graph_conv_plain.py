from __future__ import division

import argparse
import time

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.nn.parameter import Parameter


class GraphConvolution(nn.Module):
    """Simple GCN layer."""

    def __init__(self, in_features, out_features, bias=True):
        super(GraphConvolution, self).__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(torch.empty(in_features, out_features))
        if bias:
            self.bias = Parameter(torch.empty(out_features))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        stdv = 1.0 / self.weight.size(1) ** 0.5
        self.weight.data.uniform_(-stdv, stdv)
        if self.bias is not None:
            self.bias.data.uniform_(-stdv, stdv)

    def forward(self, input, adj):
        support = torch.mm(input, self.weight)
        output = torch.spmm(adj, support)
        return output if self.bias is None else output + self.bias


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout):
        super(GCN, self).__init__()
        self.gc1 = GraphConvolution(nfeat, nhid)
        self.gc2 = GraphConvolution(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, adj):
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        x = self.gc2(x, adj)
        return F.log_softmax(x, dim=1)


def block_graph(n, k, seed):
    """A stochastic block model with weak features."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    same = labels[:, None] == labels[None, :]
    upper = np.triu(rng.random((n, n)) < np.where(same, 0.05, 0.005), 1)
    adj = sp.coo_matrix(upper + upper.T, dtype=np.float32) + sp.eye(n, dtype=np.float32)
    inv = sp.diags(1.0 / np.asarray(adj.sum(1)).ravel())
    adj = (inv @ adj).tocoo()
    features = rng.normal(size=(n, 16)) + 0.5 * np.eye(k, 16)[labels]
    indices = torch.from_numpy(np.vstack((adj.row, adj.col)).astype(np.int64))
    values = torch.from_numpy(adj.data.astype(np.float32))
    adj = torch.sparse_coo_tensor(indices, values, (n, n)).coalesce()
    order = torch.from_numpy(rng.permutation(n))
    return adj, torch.tensor(features, dtype=torch.float32), torch.tensor(labels), order


def accuracy(output, labels):
    preds = output.max(1)[1].type_as(labels)
    return preds.eq(labels).double().mean().item()


def train(epoch, model, optimizer, features, adj, labels, idx_train, idx_val):
    t = time.time()
    model.train()
    optimizer.zero_grad()
    output = model(features, adj)
    loss_train = F.nll_loss(output[idx_train], labels[idx_train])
    loss_train.backward()
    optimizer.step()

    model.eval()
    with torch.no_grad():
        output = model(features, adj)
        loss_val = F.nll_loss(output[idx_val], labels[idx_val])
    if epoch % 20 == 0:
        print("Epoch: {:04d}".format(epoch + 1),
              "loss_train: {:.4f}".format(loss_train.item()),
              "loss_val: {:.4f}".format(loss_val.item()),
              "acc_val: {:.4f}".format(accuracy(output[idx_val], labels[idx_val])),
              "time: {:.4f}s".format(time.time() - t))


def test(model, features, adj, labels, idx_test):
    model.eval()
    with torch.no_grad():
        output = model(features, adj)
    print("Test set results: accuracy= {:.4f}".format(
        accuracy(output[idx_test], labels[idx_test])))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=42, help="Random seed.")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--dropout", type=float, default=0.5)
    args = parser.parse_args()

    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    adj, features, labels, order = block_graph(args.nodes, 4, args.seed)
    n = args.nodes
    idx_train, idx_val, idx_test = order[: n // 5], order[n // 5 : n // 2], order[n // 2 :]
    model = GCN(features.shape[1], 16, 4, args.dropout).to(device)
    optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    adj, features, labels = adj.to(device), features.to(device), labels.to(device)
    idx_train, idx_val, idx_test = idx_train.to(device), idx_val.to(device), idx_test.to(device)

    for epoch in range(args.epochs):
        train(epoch, model, optimizer, features, adj, labels, idx_train, idx_val)
    test(model, features, adj, labels, idx_test)


if __name__ == "__main__":
    main()
