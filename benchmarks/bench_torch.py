"""QCLinear in a PyTorch loop beside ``qcloop train`` on the same golden model, and beside plain nn.Linear.

    python benchmarks/bench_torch.py [--images 12000] [--rounds 3]

All three train the same network on the same 1-bit MNIST images, with the same batches, in one process and
in turn; each has as many images a round. Trainer and QCLinear program 32 states of device A with
fluctuation, by rule mixed, and do the same integer work. Evaluation and checkpoints are not timed.
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
from collections.abc import Callable
from itertools import pairwise
from time import perf_counter

import torch
from torch import nn

from qcloop.array import GoldenArray
from qcloop.data import Dataset, load_dataset
from qcloop.device import builtin
from qcloop.torch import QCSGD, Crossbar, QCLinear, Sigmoid, cross_entropy
from qcloop.training.settings import RunSettings, resolve
from qcloop.training.trainer import Trainer

#: Network and batch.
POINTS = [
    ("784-16-16-10", 20),
    ("784-16-16-10", 128),
    ("784-16-16-10", 512),
    ("784-256-10", 50),
    ("784-256-10", 500),
]


def loop(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: torch.Tensor,
    y: torch.Tensor,
    loss: Callable,
    batch: int,
) -> Callable[[], None]:
    """Return a function that trains one epoch."""

    def epoch() -> None:
        for chosen in torch.arange(len(x)).split(batch):
            optimizer.zero_grad()
            loss(net(x[chosen]), y[chosen]).backward()
            optimizer.step()

    return epoch


def chain(layers: list[nn.Module], activation: type[nn.Module]) -> nn.Sequential:
    """Return layers with an activation between each two."""
    return nn.Sequential(*[module for layer in layers for module in (layer, activation())][:-1])


def contestants(settings: RunSettings, data: Dataset) -> list[Callable[[], None]]:
    """Return an epoch each of the trainer, of QCLinear, and of nn.Linear in float32."""
    trainer = Trainer(settings, builtin("A"), data, GoldenArray())
    trainer.initialise()
    trainer.evaluate = lambda: 0.0  # not timed, here as there

    def epoch() -> None:
        for _ in trainer.run_epoch():
            pass

    shapes, relu = list(pairwise(settings.layer_sizes())), settings.activation == "relu"
    x = torch.from_numpy((data.train_images[: settings.images] > 127).view("uint8"))
    y = torch.tensor(data.train_labels[: settings.images]).long()
    crossbar = Crossbar("A", weight_range=settings.weight_range)
    hidden = "scaled" if relu else "unit"
    codings = ["binary"] + [hidden] * (len(shapes) - 1)
    layers = [QCLinear(*shape, crossbar, coding) for shape, coding in zip(shapes, codings, strict=True)]
    ours, plain = chain(layers, nn.ReLU if relu else Sigmoid), chain([nn.Linear(*s) for s in shapes], nn.ReLU)
    return [
        epoch,
        loop(ours, QCSGD(ours.parameters(), lr=settings.rate), x, y, cross_entropy, settings.batch),
        loop(
            plain,
            torch.optim.SGD(plain.parameters(), lr=0.1),
            x.float(),
            y,
            nn.CrossEntropyLoss(),
            settings.batch,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset()
    print("training images a second on one core, update mixed, device A, 32 states, fluctuation on")
    print("network       batch  qcloop train  QCLinear  of train  nn.Linear  of train")
    for network, batch in POINTS:
        given = {"network": network, "batch": batch, "images": options.images, "shift": 0, "epochs": 10**6}
        given["decay"] = 1.0  # the other loops keep their rate, and with it what there is to program
        runs = contestants(resolve("best" if network == "784-256-10" else None, given), data)
        spent = [0.0] * len(runs)
        for turn in range(options.rounds + 1):
            for index, run in enumerate(runs):
                start = perf_counter()
                run()
                spent[index] += (perf_counter() - start) * (turn > 0)  # the first compiles and warms up
        train, ours, plain = (options.images * options.rounds / seconds for seconds in spent)
        beside = f"{plain:11,.0f}{plain / train:10.2f}"
        print(f"{network:14s}{batch:5d}{train:14,.0f}{ours:10,.0f}{ours / train:10.2f}{beside}", flush=True)


if __name__ == "__main__":
    main()
