"""LeNet-5 on MNIST: trained on devices from the start, or as floats first and then converted."""

import argparse
from time import perf_counter

import torch
from torch import nn

from qcloop.data import load_dataset
from qcloop.errors import QcloopError
from qcloop.torch import QCSGD, Crossbar, QCConv2d, QCLinear, convert, summary


def lenet_on(crossbar):
    """Return the network with its kernels and weights on devices."""
    return nn.Sequential(
        QCConv2d(1, 6, 5, crossbar, "unit", padding=2), nn.ReLU(), nn.MaxPool2d(2),
        QCConv2d(6, 16, 5, crossbar, "scaled"), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        QCLinear(400, 120, crossbar, "scaled"), nn.ReLU(),
        QCLinear(120, 84, crossbar, "scaled"), nn.ReLU(),
        QCLinear(84, 10, crossbar, "scaled"),
    )  # fmt: skip


def lenet_in_floats():
    """Return the same network as PyTorch has it."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def accuracy(net, images, labels):
    """Return the share of images that are classified correctly, in percent."""
    with torch.no_grad():
        classes = torch.cat([net(batch).argmax(1) for batch in images.split(500)])
    return 100 * (classes == labels).float().mean().item()


def train(net, optimizer, epochs, train_set, test_set, what):
    """Train a network with a rate that falls to a tenth; print its accuracy and speed after each epoch."""
    (x, y), scheduler = train_set, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1 ** (1 / epochs))
    for epoch in range(epochs):
        start = perf_counter()
        for batch in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        scheduler.step()
        speed = len(x) / (perf_counter() - start)
        reached = f"test accuracy {accuracy(net, *test_set):.2f} %"
        print(f"{what}, epoch {epoch + 1}: {reached}, {speed:,.0f} images/s", flush=True)


def main():
    """Read the options, train, and print accuracies and what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000, help="training images [10000]")
    parser.add_argument("--test", type=int, default=10_000, help="test images [10000]")
    parser.add_argument("--epochs", type=int, default=5, help="epochs on devices [5]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="A", help="a built-in device or a TOML file [A]")
    parser.add_argument("--convert", type=int, metavar="EPOCHS", help="train floats first, then convert them")
    options = parser.parse_args()

    data = load_dataset()
    images = [torch.tensor(i).reshape(-1, 1, 28, 28) / 255 for i in (data.train_images, data.test_images)]
    labels = [torch.tensor(label).long() for label in (data.train_labels, data.test_labels)]
    train_set = images[0][: options.images], labels[0][: options.images]
    test_set = images[1][: options.test], labels[1][: options.test]

    torch.manual_seed(options.seed)
    crossbar = Crossbar(options.device, seed=options.seed, weight_range=3.0)
    if options.convert:
        net, rate = lenet_in_floats(), 0.01
        train(net, torch.optim.SGD(net.parameters(), lr=0.1), options.convert, train_set, test_set, "floats")
        net = convert(net, crossbar, calibration=train_set[0][:100])
        print(f"converted: test accuracy {accuracy(net, *test_set):.2f} %")
    else:
        net, rate = lenet_on(crossbar), 0.1
    print(summary(net))
    if options.epochs:
        train(net, QCSGD(net.parameters(), lr=rate), options.epochs, train_set, test_set, "devices")
    print(f"{crossbar.cost().writes:,} writes, {crossbar.counters().reset_pulses:,} RESET pulses")


if __name__ == "__main__":
    try:
        main()
    except QcloopError as error:
        raise SystemExit(f"error: {error}") from None
