"""Data sets: the IDX files of MNIST and similar sets, and how their pixels become inputs of the array."""

from qcloop.data.dataset import MNIST_FILES, Dataset, load_dataset
from qcloop.data.encode import INPUT_BITS, encode_inputs, shift_images
from qcloop.data.idx import read_idx

__all__ = [
    "INPUT_BITS",
    "MNIST_FILES",
    "Dataset",
    "encode_inputs",
    "load_dataset",
    "read_idx",
    "shift_images",
]
