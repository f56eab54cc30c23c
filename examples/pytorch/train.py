"""One epoch of the paper's network in PyTorch. Its weights are devices with 32 conductance states."""

import torch
from torch import nn

from qcloop.data import encode_inputs, load_dataset
from qcloop.torch import QCSGD, Crossbar, QCLinear, Sigmoid, cross_entropy

data = load_dataset()
x, test_x = (torch.tensor(encode_inputs(images, 1)) for images in (data.train_images, data.test_images))
y, test_y = (torch.tensor(labels) for labels in (data.train_labels, data.test_labels))

torch.manual_seed(1)
crossbar = Crossbar("A", seed=1)
net = nn.Sequential(
    QCLinear(784, 16, crossbar, inputs="binary"), Sigmoid(),
    QCLinear(16, 16, crossbar), Sigmoid(),
    QCLinear(16, 10, crossbar),
)  # fmt: skip
optimizer = QCSGD(net.parameters(), lr=0.5)
for batch in torch.randperm(len(x)).split(32):
    optimizer.zero_grad()
    cross_entropy(net(x[batch]), y[batch]).backward()
    optimizer.step()
with torch.no_grad():
    print(f"test accuracy {100 * (net(test_x).argmax(1) == test_y).float().mean():.2f} %")
print(f"{crossbar.cost().writes:,} writes, {crossbar.counters().reset_pulses:,} RESET pulses")
