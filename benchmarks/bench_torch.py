"""QCLinear in PyTorch beside ``qcloop train`` on the same golden model, and beside plain nn.Linear.

    python benchmarks/bench_torch.py [--images 12000] [--rounds 3]

All train the same network on the same 1-bit MNIST images, with the same batches, in one process; in each
round they train one after another on as many images. Trainer and QCLinear program 32 states of device A
with fluctuation, by rule mixed, and do the same integer work; "step" trains by FusedStep, "loop" by
backward() and an optimizer. Evaluation and checkpoints are not timed.

LeNet-5 trains on a quarter of the images: ``qcloop train``, and by a loop QCConv2d and QCLinear beside
nn.Conv2d and nn.Linear.
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
from qcloop.torch import QCSGD, Crossbar, FusedStep, QCConv2d, QCLinear, Sigmoid, cross_entropy
from qcloop.training.settings import RunSettings, resolve
from qcloop.training.trainer import Trainer

#: Images and labels.
Data = tuple[torch.Tensor, torch.Tensor]

#: Network and batch.
POINTS = [
    ("784-16-16-10", 20),
    ("784-16-16-10", 128),
    ("784-16-16-10", 512),
    ("784-256-10", 50),
    ("784-256-10", 500),
]


def epochs(step: Callable[[torch.Tensor, torch.Tensor], None], data: Data, batch: int) -> Callable[[], None]:
    """Return a function that trains one epoch."""
    x, y = data

    def epoch() -> None:
        for chosen in torch.arange(len(x)).split(batch):
            step(x.index_select(0, chosen), y.index_select(0, chosen))  # x[chosen] takes ten times as long

    return epoch


def loop(net: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable) -> Callable:
    """Return a training step as PyTorch has it."""

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()

    return step


def chain(layers: list[nn.Module], activation: type[nn.Module]) -> nn.Sequential:
    """Return layers with an activation between each two."""
    return nn.Sequential(*[module for layer in layers for module in (layer, activation())][:-1])


def on_devices(settings: RunSettings) -> tuple[nn.Sequential, QCSGD]:
    """Return the network of a run's settings in PyTorch, and its optimizer."""
    crossbar, relu = Crossbar("A", weight_range=settings.weight_range), settings.activation == "relu"
    layers = [
        QCLinear(*shape, crossbar, ("scaled" if relu else "unit") if index else "binary", dtype=torch.float64)
        for index, shape in enumerate(pairwise(settings.layer_sizes()))
    ]
    net = chain(layers, nn.ReLU if relu else Sigmoid)
    return net, QCSGD(net.parameters(), lr=settings.rate)


def trained(settings: RunSettings, data: Dataset) -> Callable[[], None]:
    """Return an epoch of the trainer."""
    trainer = Trainer(settings, builtin("A"), data, GoldenArray())
    trainer.initialise()
    trainer.evaluate = lambda: 0.0  # not timed, here as there

    def epoch() -> None:
        for _ in trainer.run_epoch():
            pass

    return epoch


def contestants(settings: RunSettings, data: Dataset) -> list[Callable[[], None]]:
    """Return an epoch each of the trainer, of QCLinear by step and by loop, and of nn.Linear in float32."""
    x = torch.from_numpy((data.train_images[: settings.images] > 127).view("uint8"))
    y = torch.tensor(data.train_labels[: settings.images]).long()
    plain = chain([nn.Linear(*shape) for shape in pairwise(settings.layer_sizes())], nn.ReLU)
    sgd = torch.optim.SGD(plain.parameters(), lr=0.1)
    return [
        trained(settings, data),
        epochs(FusedStep(*on_devices(settings)), (x, y), settings.batch),
        epochs(loop(*on_devices(settings), cross_entropy), (x, y), settings.batch),
        epochs(loop(plain, sgd, nn.CrossEntropyLoss()), (x.float(), y), settings.batch),
    ]


def lenet(crossbar: Crossbar | None) -> nn.Sequential:
    """Return LeNet-5 with its weights on devices, or as floats."""

    def conv(inputs: str, *shape: int, padding: int = 0) -> nn.Module:
        if crossbar is None:
            return nn.Conv2d(*shape, padding=padding)
        return QCConv2d(*shape, crossbar, inputs, padding=padding)

    def linear(*shape: int) -> nn.Module:
        return nn.Linear(*shape) if crossbar is None else QCLinear(*shape, crossbar, "scaled")

    convolutions = conv("unit", 1, 6, 5, padding=2), conv("scaled", 6, 16, 5)
    head = chain([linear(*shape) for shape in pairwise((400, 120, 84, 10))], nn.ReLU)
    pooled = [module for layer in convolutions for module in (layer, nn.ReLU(), nn.MaxPool2d(2))]
    return nn.Sequential(*pooled, nn.Flatten(), head)


def lenets(images: int, data: Dataset) -> list[Callable[[], None]]:
    """Return an epoch of LeNet-5 each: by the trainer, by a loop on devices, and in floats."""
    given = {"network": "lenet-5", "input_bits": 8, "rate": 0.1, "batch": 32, "decay": 1.0}
    settings = resolve(None, {**given, "images": images, "epochs": 10**6})
    x = torch.tensor(data.train_images[:images]).reshape(-1, 1, 28, 28) / 255
    y = torch.tensor(data.train_labels[:images]).long()
    devices, floats = lenet(Crossbar("A", weight_range=3.0)), lenet(None)
    optimizers = QCSGD(devices.parameters(), lr=0.1), torch.optim.SGD(floats.parameters(), lr=0.1)
    nets = zip((devices, floats), optimizers, strict=True)
    loops = [epochs(loop(*net, nn.CrossEntropyLoss()), (x, y), 32) for net in nets]
    return [trained(settings, data), *loops]


def race(runs: list[Callable[[], None]], images: int, rounds: int) -> list[float]:
    """Return the images a second of each run, which train one after another in each round."""
    spent = [0.0] * len(runs)
    for number in range(rounds + 1):
        for index, run in enumerate(runs):
            start = perf_counter()
            run()
            spent[index] += (perf_counter() - start) * (number > 0)  # round 0 compiles and warms up
    return [images * rounds / seconds for seconds in spent]


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
    print("                                  QCLinear: step            loop        nn.Linear")
    print("network       batch  qcloop train  images/s  ratio  images/s  ratio  images/s  ratio")
    for network, batch in POINTS:
        given = {"network": network, "batch": batch, "images": options.images, "shift": 0, "epochs": 10**6}
        given["decay"] = 1.0  # the other loops keep their rate, and with it what there is to program
        runs = contestants(resolve("best" if network == "784-256-10" else None, given), data)
        train, *others = race(runs, options.images, options.rounds)
        beside = "".join(f"{other:10,.0f}{other / train:7.2f}" for other in others)
        print(f"{network:14s}{batch:5d}{train:14,.0f}{beside}", flush=True)
    images = options.images // 4
    train, devices, floats = race(lenets(images, data), images, options.rounds)
    ratios = f"{devices / floats:.2f} of the floats, {devices / train:.2f} of qcloop train"
    print(
        f"LeNet-5          32: {train:,.0f} by qcloop train, {devices:,.0f} by QCConv2d ({ratios}), "
        f"{floats:,.0f} in floats"
    )


if __name__ == "__main__":
    main()
