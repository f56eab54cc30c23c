"""Print what every compiled loop of the host computes; `test_jit.py` runs it with and without compiler."""

import numpy as np

from qcloop.array import GoldenArray
from qcloop.array.generator import Grng16
from qcloop.data import Dataset
from qcloop.device import builtin
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer

#: Settings that lead through all branches of the kernels. Vectors of more than 255 ones, and errors of both
#: signs, are where an integer of 8 bits would overflow.
RUNS = [
    {"update": "mixed", "network": "400-5-3"},
    {
        "update": "nearest",
        "network": "400-5-3",
        "activation": "relu",
        "input_bits": 8,
        "scheme": "differential",
    },
    {"update": "stochastic", "network": "400-3", "adc_bits": 6, "stuck_on": 0.05},
    {"update": "mixed", "network": "400-9-3", "policy": "verify", "read_noise": 0.2, "input_bits": 8},
    {"update": "mixed", "network": "400-5-3", "tile_rows": 150, "tile_cols": 2, "adc_bits": 8},
    {"update": "mixed", "network": "400-5-3", "tile_rows": 150, "tile_cols": 2, "wire_resistance": 1.0},
    {"step": "array", "bias": "device", "network": "400-5-3", "rate": 0.5},
    {
        "step": "array",
        "bias": "none",
        "network": "400-5-3",
        "update": "stochastic",
        "scheme": "differential",
        "policy": "verify",
        "read_noise": 0.2,
        "adc_bits": 8,
        "input_bits": 8,
        "batch": 1,
    },
]


def data():
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (30, 400), np.uint8) | np.uint8(128)
    labels = (np.arange(30) % 3).astype(np.uint8)
    return Dataset("noise", images[:24], labels[:24], images[24:], labels[24:], (20, 20))


for given in RUNS:
    settings = resolve(None, {"batch": 8, "epochs": 1, "bias": "float", **given})
    trainer = Trainer(settings, builtin("A", 32), data(), GoldenArray(settings.array_config))
    trainer.initialise()
    for _ in trainer.run_epoch():
        pass
    print(trainer.progress.history[-1], trainer.counters(), trainer.cost())
print(Grng16(3).take(9000).sum(), Grng16(3).take_words(9000).sum())
