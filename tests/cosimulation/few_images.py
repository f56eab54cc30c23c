"""The first images of MNIST as a data set: a virtual board computes about a thousand images a second."""

import struct

from qcloop.data import load_dataset


def write_few(folder, train, test):
    """Write so many images for training and for the test into a folder, as IDX files; return the folder."""
    data = load_dataset()
    folder.mkdir(exist_ok=True)
    for name, images, labels, count in (
        ("train", data.train_images, data.train_labels, train),
        ("t10k", data.test_images, data.test_labels, test),
    ):
        for kind, array, shape in (("images-idx3", images, (28, 28)), ("labels-idx1", labels, ())):
            head = struct.pack(f">HBB{1 + len(shape)}I", 0, 8, 1 + len(shape), count, *shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + array[:count].tobytes())
    return folder
