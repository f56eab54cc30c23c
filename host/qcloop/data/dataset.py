"""A data set of labelled images, and how it is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qcloop.data.files import ROLES, Role, find_files
from qcloop.data.idx import read_idx
from qcloop.errors import DataError

U8 = npt.NDArray[np.uint8]

#: The MNIST files in this package and their SHA-256, in the order of ``ROLES``.
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
    "train-labels-idx1-ubyte.gz": "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
    "t10k-images-idx3-ubyte.gz": "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
    "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
}

_IMAGES_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with labels: a set to train on, and a set to test on.

    The arrays are made read-only, so that :attr:`sha256` stays true. An image is one row of pixels, its lines
    one after the other. Raises DataError if the arrays do not fit together.
    """

    #: Name that users see, for example ``mnist``.
    name: str
    #: Pixels, shape (n, pixels), uint8, C-contiguous.
    train_images: U8 = field(repr=False)
    #: Classes, shape (n,), uint8.
    train_labels: U8 = field(repr=False)
    #: As ``train_images``, for the test set.
    test_images: U8 = field(repr=False)
    #: As ``train_labels``, for the test set.
    test_labels: U8 = field(repr=False)
    #: Rows and columns of an image.
    image_shape: tuple[int, int]

    def __post_init__(self) -> None:
        for part, kind in ROLES:
            self._freeze_array(f"{part}_{kind}", 2 if kind == "images" else 1)
        for part, images, labels in (
            ("train", self.train_images, self.train_labels),
            ("test", self.test_images, self.test_labels),
        ):
            self._check_part(part, images, labels)

    @property
    def pixels(self) -> int:
        """Number of pixels of an image."""
        return int(self.train_images.shape[1])

    @cached_property
    def classes(self) -> int:
        """Number of classes: the largest label of both sets, plus one.

        Labels are not renumbered: EMNIST letters has the labels 1 to 26, so its class 0 exists and is empty.
        """
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1

    @cached_property
    def sha256(self) -> str:
        """SHA-256, in hexadecimal, over the shapes and contents of the four arrays.

        It depends on the decoded data alone, not on the name of the set, the names of its files or their
        compression.
        """
        digest = sha256(f"image {self.image_shape}\n".encode())
        for part, kind in ROLES:
            array = self._array(part, kind)
            digest.update(f"{part} {kind} {array.shape}\n".encode())
            digest.update(array.data)
        return digest.hexdigest()

    def _array(self, part: str, kind: str) -> U8:
        array: U8 = getattr(self, f"{part}_{kind}")
        return array

    def _freeze_array(self, attribute: str, dimensions: int) -> None:
        array = getattr(self, attribute)
        if array.dtype != np.uint8 or array.ndim != dimensions:
            raise DataError(
                f"data set '{self.name}': {attribute} must be uint8 with {dimensions} dimensions, "
                f"not {array.dtype} with {array.ndim}"
            )
        view = np.ascontiguousarray(array).view()
        view.flags.writeable = False
        object.__setattr__(self, attribute, view)

    def _check_part(self, part: str, images: U8, labels: U8) -> None:
        rows, cols = self.image_shape
        if not images.size:
            raise DataError(
                f"data set '{self.name}': holds no {part} images ({len(images)} of {rows} x {cols})"
            )
        if images.shape[1] != rows * cols:
            raise DataError(
                f"data set '{self.name}': {part} images have {images.shape[1]} pixels; "
                f"expected {rows} x {cols} = {rows * cols}"
            )
        if len(images) != len(labels):
            raise DataError(
                f"data set '{self.name}': {len(images)} {part} images but {len(labels)} {part} labels; "
                "expected as many: the files do not belong together"
            )


def load_dataset(directory: Path | None = None, *, transpose: bool = False) -> Dataset:
    """Load a data set from its four IDX files.

    Parameters
    ----------
    directory : Path, optional
        Directory with the files, plain or compressed; :func:`qcloop.data.files.find_files` says which names
        they may have. If left out, the MNIST set that comes with qcloop is loaded.
    transpose : bool
        Swap the rows and columns of each image. Files whose names start with ``emnist`` are always
        swapped, as EMNIST stores its images transposed (G. Cohen et al., *EMNIST: an extension of MNIST to
        handwritten letters*, 2017).

    Returns
    -------
    Dataset
        Its name is the prefix of the files or, if they have none, the name of the directory.

    Raises
    ------
    DataError
        If a file is missing, damaged or ambiguous, or the files do not fit together.
    """
    if directory is None:
        return _assemble("mnist", _read_shipped(), transpose)
    prefix, paths = find_files(directory)
    name = prefix.strip("-_. ") or directory.resolve().name
    name = name.encode(errors="replace").decode()  # names of files need not be text
    arrays = {role: _read_role(path, role) for role, path in paths.items()}
    return _assemble(name, arrays, transpose or prefix.lower().startswith("emnist"))


def _read_shipped() -> dict[Role, U8]:
    arrays: dict[Role, U8] = {}
    for role, name in zip(ROLES, MNIST_FILES, strict=True):
        with as_file(files("qcloop.data") / "mnist" / name) as path:
            arrays[role] = _read_role(path, role)
    return arrays


def _read_role(path: Path, role: Role) -> U8:
    array = read_idx(path)
    dimensions, other = (3, "labels") if role[1] == "images" else (1, "images")
    if array.ndim != dimensions:
        raise DataError(
            f"{path}: has {array.ndim} dimensions; expected {dimensions} for {role[1]}: "
            f"are the files of images and labels swapped, and is this one {other}?"
        )
    return array


def _assemble(name: str, arrays: Mapping[Role, U8], transpose: bool) -> Dataset:
    train, test = arrays["train", "images"], arrays["test", "images"]
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"data set '{name}': train images have {train.shape[1]} x {train.shape[2]} pixels but "
            f"test images {test.shape[1]} x {test.shape[2]}; expected the same: "
            "the files do not belong together"
        )
    rows, cols = train.shape[1:]
    if transpose:
        _transpose_images(train)
        _transpose_images(test)
        rows, cols = cols, rows
    return Dataset(
        name=name,
        train_images=train.reshape(len(train), rows * cols),
        train_labels=arrays["train", "labels"],
        test_images=test.reshape(len(test), rows * cols),
        test_labels=arrays["test", "labels"],
        image_shape=(rows, cols),
    )


def _transpose_images(images: U8) -> None:
    """Swap the rows and columns of each image within the array.

    A few images are copied at a time, because EMNIST has half a gigabyte.
    """
    pixels = images.shape[1] * images.shape[2]
    flat = images.reshape(len(images), pixels)
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        copied = images[start : start + _IMAGES_AT_ONCE].copy()
        flat[start : start + _IMAGES_AT_ONCE] = copied.swapaxes(1, 2).reshape(len(copied), pixels)
