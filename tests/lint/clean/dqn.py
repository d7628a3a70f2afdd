import argparse
import math
import random
from collections import deque, namedtuple
from itertools import count

import gymnasium as gym
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))


class ReplayMemory:
    def __init__(self, capacity):
        self.memory = deque([], maxlen=capacity)

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self, batch_size):
        return random.sample(self.memory, batch_size)

    def __len__(self):
        return len(self.memory)


class DQN(nn.Module):
    def __init__(self, n_observations, n_actions):
        super().__init__()
        self.layer1 = nn.Linear(n_observations, 128)
        self.layer2 = nn.Linear(128, 128)
        self.layer3 = nn.Linear(128, n_actions)

    def forward(self, x):
        x = F.relu(self.layer1(x))
        x = F.relu(self.layer2(x))
        return self.layer3(x)


class Agent:
    def __init__(self, env, args, device):
        self.env, self.args, self.device = env, args, device
        n_actions = env.action_space.n
        state, _ = env.reset(seed=args.seed)
        env.action_space.seed(args.seed)
        self.policy_net = DQN(len(state), n_actions).to(device)
        self.target_net = DQN(len(state), n_actions).to(device)
        self.target_net.load_state_dict(self.policy_net.state_dict())
        self.optimizer = optim.AdamW(self.policy_net.parameters(), lr=args.lr, amsgrad=True)
        self.memory = ReplayMemory(10000)
        self.steps_done = 0

    def select_action(self, state):
        eps = 0.05 + 0.85 * math.exp(-self.steps_done / 1000)
        self.steps_done += 1
        if random.random() > eps:
            with torch.no_grad():
                return self.policy_net(state).max(1).indices.view(1, 1)
        return torch.tensor(
            [[self.env.action_space.sample()]], device=self.device, dtype=torch.long
        )

    def optimize_model(self):
        batch_size = self.args.batch_size
        if len(self.memory) < batch_size:
            return
        batch = Transition(*zip(*self.memory.sample(batch_size)))
        non_final_mask = torch.tensor(
            [s is not None for s in batch.next_state], device=self.device, dtype=torch.bool
        )
        state_batch = torch.cat(batch.state)
        action_batch = torch.cat(batch.action)
        reward_batch = torch.cat(batch.reward)

        state_action_values = self.policy_net(state_batch).gather(1, action_batch)

        next_state_values = torch.zeros(batch_size, device=self.device)
        if non_final_mask.any():
            non_final_next = torch.cat([s for s in batch.next_state if s is not None])
            with torch.no_grad():
                next_state_values[non_final_mask] = self.target_net(non_final_next).max(1).values
        expected = next_state_values * self.args.gamma + reward_batch

        loss = F.smooth_l1_loss(state_action_values, expected.unsqueeze(1))
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_value_(self.policy_net.parameters(), 100)
        self.optimizer.step()

    def soft_update(self):
        tau = self.args.tau
        with torch.no_grad():
            for t, p in zip(self.target_net.parameters(), self.policy_net.parameters()):
                t.mul_(1 - tau).add_(p, alpha=tau)

    def run(self, episodes):
        durations = []
        for i_episode in range(episodes):
            obs, _ = self.env.reset()
            state = torch.tensor(obs, dtype=torch.float32, device=self.device).unsqueeze(0)
            for t in count():
                action = self.select_action(state)
                obs, reward, terminated, truncated, _ = self.env.step(action.item())
                reward = torch.tensor([reward], dtype=torch.float32, device=self.device)
                next_state = None
                if not terminated:
                    next_state = torch.tensor(
                        obs, dtype=torch.float32, device=self.device
                    ).unsqueeze(0)
                self.memory.push(state, action, next_state, reward)
                state = next_state
                self.optimize_model()
                self.soft_update()
                if terminated or truncated:
                    durations.append(t + 1)
                    break
            if i_episode % 10 == 0:
                recent = durations[-10:]
                print(f"episode {i_episode} mean duration {sum(recent) / len(recent):.1f}")
        return durations


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--tau", type=float, default=0.005)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    env = gym.make("CartPole-v1")
    agent = Agent(env, args, device)
    agent.run(args.episodes)
    torch.save(agent.policy_net.state_dict(), "dqn_cartpole.pt")
