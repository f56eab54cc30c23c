"""Training speed on one core: the golden model beside NumPy float32 training of the same network.

    python benchmarks/bench_training.py [--update mixed] [--epochs 3] [--step host] [--tiles]

Both train on the same real 1-bit MNIST images in one process, one after the other several times an epoch. The
golden model programs 32 states of device A with fluctuation and is timed over whole epochs, at a rate at
which it learns (the test accuracy is printed). NumPy does plain float32 SGD without any device. Evaluation
is not timed. With ``--tiles`` the golden model with tiles, and with wires that have resistance, is timed
beside itself without, epoch by epoch.
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import resource
from itertools import pairwise
from time import perf_counter, process_time

import numpy as np

from qcloop.array import GoldenArray
from qcloop.data import Dataset, load_dataset
from qcloop.device import builtin
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer

#: Network, batch, rate, and training images a second of the fastest peer (aihwkit 1.2.0, ConstantStep), which
#: was measured apart on a machine of this kind; None where no peer was measured.
POINTS = [
    ("784-16-16-10", 32, 0.5, None),
    ("784-16-16-10", 10, 0.2, 15_000),
    ("784-16-16-10", 1, 0.02, 2_300),
    ("784-256-10", 10, 0.1, 10_500),
    ("784-256-10", 1, 0.01, 2_300),
]
#: The same for the array's own step.
ARRAY_POINTS = [("784-16-16-10", 1, 0.025, 2_300), ("784-256-10", 1, 0.01, 2_300)]
#: Network, batch, rate, rows and columns of a tile, ohms of a piece of its wires.
TILE_POINTS = [
    ("784-16-16-10", 32, 0.5, 64, None, 0.0),
    ("784-256-10", 10, 0.1, 64, None, 0.0),
    ("784-256-10", 10, 0.1, 64, 16, 0.0),
    ("784-16-16-10", 32, 0.5, 64, None, 1.0),
    ("784-256-10", 10, 0.1, 64, None, 1.0),
    ("784-256-10", 10, 0.1, 64, 16, 1.0),
]
#: An epoch of the golden model is timed in so many pieces; NumPy trains for ``NUMPY_SECONDS`` after each.
PIECES = 4
NUMPY_SECONDS = 0.4


class FloatNetwork:
    """Plain NumPy float32 training: sigmoid or ReLU hidden layers, softmax, cross-entropy, SGD, biases."""

    def __init__(self, sizes: tuple[int, ...], relu: bool, rate: float) -> None:
        rng = np.random.default_rng(1)
        self.relu, self.rate = relu, np.float32(rate)
        pairs = list(pairwise(sizes))
        self.weights = [(rng.normal(size=p) / p[0] ** 0.5).astype(np.float32) for p in pairs]
        self.biases = [np.zeros(p[1], np.float32) for p in pairs]

    def train_batch(self, x: np.ndarray, labels: np.ndarray) -> None:
        """Do one step of gradient descent on float32 images."""
        values = [x]
        for w, b in zip(self.weights, self.biases, strict=True):
            v = values[-1] @ w + b
            if len(values) < len(self.weights):
                v = np.maximum(v, 0) if self.relu else 1 / (1 + np.exp(-np.clip(v, -40, 40)))
            values.append(v)
        p = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
        delta = p / p.sum(axis=1, keepdims=True)
        delta[np.arange(len(labels)), labels] -= 1
        step = self.rate / np.float32(len(labels))
        for k in range(len(self.weights) - 1, -1, -1):
            a = values[k]
            ahead = (delta @ self.weights[k].T) * ((a > 0) if self.relu else a * (1 - a)) if k else None
            self.weights[k] -= step * (a.T @ delta)
            self.biases[k] -= step * delta.sum(axis=0)
            delta = ahead


def measure(
    network: str, batch: int, rate: float, update: str, step: str, epochs: int, data: Dataset
) -> tuple[float, float, float]:
    """Return the golden model's and NumPy's images a second, and the golden model's test accuracy."""
    recipe = "best" if network == "784-256-10" else None
    given = {"network": network, "batch": batch, "rate": rate, "update": update, "epochs": epochs, "shift": 0}
    settings = resolve(recipe, {**given, "step": step})
    trainer = Trainer(settings, builtin("A"), data, GoldenArray(settings.array_config))
    trainer.initialise()
    plain = FloatNetwork(settings.layer_sizes(), settings.activation == "relu", rate)
    floats = (data.train_images > 127).astype(np.float32)
    order = np.random.default_rng(2).permutation(len(floats))
    first, images, spent = 0, 0, 0.0
    golden_seconds = 0.0
    for _ in range(epochs):
        start, piece = perf_counter(), 1
        for done in trainer.run_epoch():
            if done < piece * trainer.images // PIECES:
                continue
            golden_seconds += perf_counter() - start
            piece += 1
            start = perf_counter()
            while perf_counter() - start < NUMPY_SECONDS:
                some = order[first : first + batch]
                plain.train_batch(floats[some], data.train_labels[some])
                first = (first + batch) % (len(order) - batch)
                images += batch
            spent += perf_counter() - start
            start = perf_counter()
    golden = epochs * trainer.images / golden_seconds
    return golden, images / spent, trainer.progress.history[-1].test_accuracy


def compare_tiles(epochs: int, data: Dataset) -> None:
    """Print the golden model's images a second without tiles and with them, in turn for an epoch each."""
    print("training images a second of CPU time, device A, update mixed, fluctuation on")
    print("network       batch  tile rows  columns   ohm  no tiles     tiles  ratio")
    for network, batch, rate, rows, cols, ohm in TILE_POINTS:
        recipe = "best" if network == "784-256-10" else None
        given = {"network": network, "batch": batch, "rate": rate, "epochs": epochs + 1, "shift": 0}
        trainers = []
        for cut in ({}, {"tile_rows": rows, "tile_cols": cols, "wire_resistance": ohm}):
            settings = resolve(recipe, {**given, **cut})
            trainers.append(Trainer(settings, builtin("A"), data, GoldenArray(settings.array_config)))
            trainers[-1].initialise()
        spent = [0.0, 0.0]
        for epoch in range(epochs + 1):  # the first one compiles the kernels
            for k, trainer in enumerate(trainers):
                start = process_time()
                for done in trainer.run_epoch():
                    if done == trainer.images:  # what follows is the evaluation
                        spent[k] += (process_time() - start) * (epoch > 0)
        whole, tiled = (epochs * trainers[0].images / seconds for seconds in spent)
        shape = f"{rows:11d}{cols or 'all':>9}{ohm:6g}"
        print(f"{network:14s}{batch:5d}{shape}{whole:10,.0f}{tiled:10,.0f}{tiled / whole:7.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", default="mixed", choices=["mixed", "nearest", "stochastic"])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--step", default="host", choices=["host", "array"])
    parser.add_argument("--tiles", action="store_true")
    options = parser.parse_args()
    data = load_dataset()
    if options.tiles:
        compare_tiles(options.epochs, data)
        return
    measure("784-16-16-10", 100, 0.5, options.update, options.step, 1, data)  # compiles the kernels
    print(
        f"training images a second on one core, step of the {options.step}, update {options.update}, "
        "device A, 32 states, fluctuation on"
    )
    print("network       batch  golden model  NumPy float32  ratio     peer  ratio  test accuracy")
    for network, batch, rate, peer in ARRAY_POINTS if options.step == "array" else POINTS:
        golden, plain, accuracy = measure(
            network, batch, rate, options.update, options.step, options.epochs, data
        )
        beside = f"{peer:9,d}{golden / peer:7.1f}" if peer else f"{'-':>9s}{'-':>7s}"
        ratio = f"{golden:14,.0f}{plain:15,.0f}{golden / plain:7.2f}"
        print(f"{network:14s}{batch:5d}{ratio}{beside}{100 * accuracy:13.2f} %", flush=True)
    print(f"test accuracy after {options.epochs} epochs; peer: aihwkit 1.2.0 ConstantStep, measured apart")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process, NumPy's float images (188 MB) included: {peak:.0f} MB")


if __name__ == "__main__":
    main()
