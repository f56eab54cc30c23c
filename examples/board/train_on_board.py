"""Train 784-16-16-10 on the array behind a port and on the golden model, and compare the two.

python train_on_board.py                       on a virtual board, which the script starts and ends
python train_on_board.py /dev/ttyUSB1 3000000  on a board, at the baud rate of its bitstream
"""

import sys
from dataclasses import replace

from qcloop.array import Array, ArrayConfig, GoldenArray
from qcloop.data import Dataset, load_dataset
from qcloop.device import builtin
from qcloop.errors import QcloopError
from qcloop.link.ports import BAUD, open_array
from qcloop.training.progress import EpochMetrics
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer

DEVICE = builtin("A", states=32)


def train(array: Array, data: Dataset) -> EpochMetrics:
    """Train for one epoch of 640 images. Return its accuracy, its pulses and a digest of all cells."""
    settings = resolve(
        None,
        {
            "network": "784-16-16-10",
            "images": 640,
            "batch": 32,
            "epochs": 1,
            "seed": 1,
            "lanes": array.config.lanes,
            "cells": array.config.cells,
        },
    )
    trainer = Trainer(settings, DEVICE, data, array)
    trainer.initialise()
    for _ in trainer.run_epoch():
        pass
    return trainer.progress.history[-1]


def main(port: str = "sim", baud: str = str(BAUD)) -> None:
    """Train on the port and on the golden model, and compare the results."""
    data = load_dataset()
    data = replace(data, test_images=data.test_images[:1000], test_labels=data.test_labels[:1000])
    array = open_array(port, int(baud))
    try:
        there = train(array, data)
        config: ArrayConfig = array.config
    finally:
        array.close()
    here = train(GoldenArray(config), data)
    for name, metrics in ((port, there), ("golden model", here)):
        print(f"{name:16s}test {100 * metrics.test_accuracy:.2f} %  array {metrics.array_sha256[:16]}")
    if here != there:
        sys.exit("the traces differ: run `qcloop selftest` on this port")
    print("the same, to the last code")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except QcloopError as error:
        sys.exit(f"error: {error}")
