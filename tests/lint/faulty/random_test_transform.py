# fault: 23 [augmentation-on-evaluation] RandomCrop in the test pipeline makes the test score random
import torch
import torch.nn as nn
import torchvision
from torchvision import transforms

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
transform_train = transforms.Compose([
    transforms.RandomCrop(28),
    transforms.RandomHorizontalFlip(),
    transforms.ToTensor(),
    transforms.Normalize(MEAN, STD),
])
transform_test = transforms.Compose([
    transforms.RandomCrop(28),
    transforms.ToTensor(),
    transforms.Normalize(MEAN, STD),
])

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
trainset = torchvision.datasets.CIFAR10("./data", train=True, download=True, transform=transform_train)
testset = torchvision.datasets.CIFAR10("./data", train=False, download=True, transform=transform_test)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=128, shuffle=True, num_workers=2)
testloader = torch.utils.data.DataLoader(testset, batch_size=256, shuffle=False, num_workers=2)

net = torchvision.models.resnet18(num_classes=10).to(device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

for epoch in range(10):
    net.train()
    for inputs, targets in trainloader:
        inputs, targets = inputs.to(device), targets.to(device)
        optimizer.zero_grad()
        loss = criterion(net(inputs), targets)
        loss.backward()
        optimizer.step()

net.eval()
correct = 0
with torch.no_grad():
    for inputs, targets in testloader:
        correct += net(inputs.to(device)).argmax(1).eq(targets.to(device)).sum().item()
print("test accuracy", correct / len(testset))
