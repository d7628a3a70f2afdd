import argparse
from itertools import count

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Categorical


class Corridor:
    """Walk right to the goal; reward -1 per step, +10 at the end."""

    def __init__(self, length=7, limit=40, seed=0):
        self.length, self.limit = length, limit
        self.rng = np.random.default_rng(seed)

    def _obs(self):
        onehot = np.zeros(self.length, dtype=np.float32)
        onehot[self.pos] = 1.0
        return onehot

    def reset(self):
        self.pos, self.t = int(self.rng.integers(0, self.length // 2)), 0
        return self._obs()

    def step(self, action):
        self.t += 1
        self.pos = min(max(self.pos + (1 if action == 1 else -1), 0), self.length - 1)
        done = self.pos == self.length - 1
        return self._obs(), 10.0 if done else -1.0, done or self.t >= self.limit


class Policy(nn.Module):
    def __init__(self, n_obs, n_actions=2):
        super(Policy, self).__init__()
        self.affine1 = nn.Linear(n_obs, 32)
        self.dropout = nn.Dropout(p=0.1)
        self.affine2 = nn.Linear(32, n_actions)

        self.saved_log_probs = []
        self.rewards = []

    def forward(self, x):
        x = F.relu(self.dropout(self.affine1(x)))
        return F.softmax(self.affine2(x), dim=1)


def select_action(policy, state, device):
    state = torch.from_numpy(state).float().unsqueeze(0).to(device)
    probs = policy(state)
    m = Categorical(probs)
    action = m.sample()
    policy.saved_log_probs.append(m.log_prob(action))
    return action.item()


def finish_episode(policy, optimizer, gamma, eps):
    R = 0
    policy_loss = []
    returns = []
    for r in policy.rewards[::-1]:
        R = r + gamma * R
        returns.insert(0, R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std(unbiased=False) + eps)
    for log_prob, R in zip(policy.saved_log_probs, returns):
        policy_loss.append(-log_prob * R.item())
    optimizer.zero_grad()
    policy_loss = torch.cat(policy_loss).sum()
    policy_loss.backward()
    optimizer.step()
    del policy.rewards[:]
    del policy.saved_log_probs[:]


def greedy_return(policy, env, device):
    policy.eval()
    state, total, done = env.reset(), 0.0, False
    with torch.no_grad():
        while not done:
            x = torch.from_numpy(state).unsqueeze(0).to(device)
            state, reward, done = env.step(policy(x).argmax(dim=1).item())
            total += reward
    policy.train()
    return total


def main():
    parser = argparse.ArgumentParser(description="REINFORCE example")
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--seed", type=int, default=543)
    parser.add_argument("--log-interval", type=int, default=20)
    parser.add_argument("--episodes", type=int, default=200)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    env, eval_env = Corridor(seed=args.seed), Corridor(seed=args.seed + 1)
    policy = Policy(env.length).to(device)
    optimizer = optim.Adam(policy.parameters(), lr=1e-2)
    eps = np.finfo(np.float32).eps.item()
    running_reward = 0

    policy.train()
    for i_episode in count(1):
        state, ep_reward = env.reset(), 0
        done = False
        while not done:
            action = select_action(policy, state, device)
            state, reward, done = env.step(action)
            policy.rewards.append(reward)
            ep_reward += reward

        running_reward = 0.05 * ep_reward + (1 - 0.05) * running_reward
        finish_episode(policy, optimizer, args.gamma, eps)
        if i_episode % args.log_interval == 0:
            print("Episode {}\tLast reward: {:.2f}\tAverage reward: {:.2f}\tGreedy: {:.1f}".format(
                i_episode, ep_reward, running_reward, greedy_return(policy, eval_env, device)))
        if i_episode >= args.episodes:
            break


if __name__ == "__main__":
    main()
