"""Optimizers compared on the paper's network: accuracy, and how often they program a device."""

import argparse
from statistics import mean

import torch
from torch import nn

from qcloop.data import encode_inputs, load_dataset
from qcloop.torch import QCSGD, Crossbar, FusedStep, QCAdam, QCLinear, Sigmoid

OPTIMIZERS = [
    (QCSGD, {"lr": 0.2}),
    (QCSGD, {"lr": 0.5}),
    (QCSGD, {"lr": 0.05, "momentum": 0.9}),
    (QCSGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.001}),
    (QCAdam, {"lr": 0.003}),
    (QCAdam, {"lr": 0.005}),
]

parser = argparse.ArgumentParser(description=__doc__)
for name, default in (("images", 6000), ("epochs", 3), ("seeds", 3), ("batch", 32)):
    parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
given = parser.parse_args()

torch.set_default_dtype(torch.float64)
data = load_dataset()
x, test_x = (torch.tensor(encode_inputs(images, 1)) for images in (data.train_images, data.test_images))
y, test_y = (torch.tensor(labels) for labels in (data.train_labels, data.test_labels))
x, y = x[: given.images], y[: given.images]


def train(kind, options, seed):
    """Return test accuracy in per cent, writes of a device, and writes of the device with the most."""
    crossbar = Crossbar("A", seed=seed)
    net = nn.Sequential(
        QCLinear(784, 16, crossbar, inputs="binary"), Sigmoid(),
        QCLinear(16, 16, crossbar), Sigmoid(),
        QCLinear(16, 10, crossbar),
    )  # fmt: skip
    step, generator = FusedStep(net, kind(net.parameters(), **options)), torch.Generator().manual_seed(seed)
    for _ in range(given.epochs):
        for batch in torch.randperm(len(x), generator=generator).split(given.batch):
            step(x.index_select(0, batch), y.index_select(0, batch))
    with torch.no_grad():
        accuracy = 100 * (net(test_x).argmax(1) == test_y).double().mean().item()
    cost = crossbar.cost()
    return accuracy, cost.writes / sum(w.size for w in crossbar.ledger.writes), cost.most_writes


print("| optimizer | test accuracy | writes a device | most writes of a device |\n|---|---|---|---|")
for kind, options in OPTIMIZERS:
    runs = [train(kind, options, seed) for seed in range(1, given.seeds + 1)]
    accuracies, writes, most = zip(*runs, strict=True)
    name = f"{kind.__name__}({', '.join(f'{key}={value}' for key, value in options.items())})"
    print(
        f"| `{name}` | {mean(accuracies):.1f} % ({min(accuracies):.1f} to {max(accuracies):.1f}) "
        f"| {mean(writes):.1f} | {mean(most):.0f} |"
    )
