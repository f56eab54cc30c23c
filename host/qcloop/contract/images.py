"""The set of images that an array keeps, as bytes.

An array with the part ``IMAGES`` has a *set of images* beside its cells: a board has it in flash memory. The
set is a header (:data:`IMAGE_SET`), a *record* for each training image, a record for each test image, and the
CRC-32 of all that, 4 bytes. A record is the label, a byte, and the image as TRAIN takes it
(:mod:`qcloop.contract.operations`), with the input of the biases at its end. All integers are little-endian.
The size of a set does not depend on the network that is trained on it.
"""

import zlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from qcloop.contract.fields import ByteLayout, Field
from qcloop.contract.formats import MAX_SIDE
from qcloop.contract.operations import packed_inputs
from qcloop.contract.plan import MAX_CLASSES
from qcloop.contract.types import U8
from qcloop.errors import ArrayError

#: First bytes of a set of images.
MAGIC = 0x4D494351  # "QCIM" in the memory
#: Version of the layout of a set.
VERSION = 1
#: Most images of a set, training and test images together.
MAX_SET = 1 << 20
#: Largest set in bytes: flash memories with addresses of 24 bits hold no more.
MAX_SET_BYTES = 1 << 24
#: Header of a set. ``size`` is the bytes of an image without its label, ``length`` those of all records,
#: ``identity`` the first bytes of the SHA-256 of the data set that the images were taken from.
IMAGE_SET = ByteLayout(
    Field("magic", 32),
    Field("version", 8),
    Field("bits", 8),
    Field("classes", 16, least=1, limit=MAX_CLASSES),
    Field("pixels", 16, least=1, limit=MAX_SIDE),
    Field("size", 16, least=1),
    Field("train", 32, least=1, limit=MAX_SET),
    Field("test", 32, least=1, limit=MAX_SET),
    Field("length", 32, least=1, limit=MAX_SET_BYTES - 1),
    Field("identity", 128),
)
#: What follows the records.
SET_CRC = ByteLayout(Field("crc", 32))
#: CRC-32 of anything with its own CRC-32 behind it.
RESIDUE = 0x2144DF1C


@dataclass(frozen=True)
class ImageSetInfo:
    """What the header of a set says. Raises ArrayError if it is not the header of a set that can be."""

    bits: int
    classes: int
    pixels: int
    train: int
    test: int
    identity: bytes

    def __post_init__(self) -> None:
        if self.bits not in (1, 8):
            raise ArrayError(f"the images of a set have 1 or 8 bits, not {self.bits}")
        for name in ("classes", "pixels", "train", "test"):
            field, value = IMAGE_SET[name], getattr(self, name)
            if not field.holds(value):
                raise ArrayError(
                    f"{name} of a set of images must be {field.least}..{field.most}, not {value}"
                )
        if self.total_bytes > MAX_SET_BYTES:
            raise ArrayError(
                f"a set of images has at most {MAX_SET_BYTES:,} bytes, not {self.total_bytes:,}: use fewer "
                "images, or 1-bit inputs"
            )

    @property
    def size(self) -> int:
        """Bytes of an image, its label apart."""
        return -(-(self.pixels + 1) // 8) if self.bits == 1 else self.pixels + 1

    @property
    def length(self) -> int:
        """Bytes of all records."""
        return (self.train + self.test) * (1 + self.size)

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole set."""
        return IMAGE_SET.size + self.length + SET_CRC.size

    def encode(self) -> bytes:
        """Return the header."""
        return IMAGE_SET.pack_named(
            magic=MAGIC,
            version=VERSION,
            bits=self.bits,
            classes=self.classes,
            pixels=self.pixels,
            size=self.size,
            train=self.train,
            test=self.test,
            length=self.length,
            identity=self.identity,
        )

    @classmethod
    def decode(cls, header: bytes) -> "ImageSetInfo":
        """Return what a header says; ArrayError if it is none, or is of another version."""
        magic, version, bits, classes, pixels, size, train, test, length, identity = IMAGE_SET.unpack(header)
        if magic != MAGIC:
            raise ArrayError(
                f"there is no set of images: it would begin with {MAGIC:#010x}, not {magic:#010x}"
            )
        if version != VERSION:
            raise ArrayError(f"the set of images has version {version}, but this host knows {VERSION}")
        info = cls(bits, classes, pixels, train, test, identity)
        if (size, length) != (info.size, info.length):
            raise ArrayError(
                f"the header of a set of images must give {info.size} bytes an image and {info.length:,} in "
                f"all, not {size} and {length:,}"
            )
        return info


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Training and test images with their labels, as an array keeps them.

    Raises ArrayError if they do not fit together, or are too many.
    """

    #: Inputs (n, pixels) uint8, 0 or 1 where ``bits`` is 1; labels (n,) uint8.
    train_x: U8
    train_labels: U8
    test_x: U8
    test_labels: U8
    bits: int
    classes: int
    #: First 16 bytes of the SHA-256 of the data set.
    identity: bytes

    def __post_init__(self) -> None:
        _ = self.info

    @cached_property
    def info(self) -> ImageSetInfo:
        """The header."""
        train, test, pixels = len(self.train_x), len(self.test_x), self.train_x.shape[1]
        return ImageSetInfo(self.bits, self.classes, pixels, train, test, self.identity)

    def first(self, images: int) -> "ImageSet":
        """Return the set with only so many training images, the first ones."""
        return replace(self, train_x=self.train_x[:images], train_labels=self.train_labels[:images])

    def encode(self) -> bytes:
        """Return the bytes of the whole set."""
        parts = ((self.train_x, self.train_labels), (self.test_x, self.test_labels))
        records = (np.column_stack([labels, packed_inputs(x, self.bits, True)]) for x, labels in parts)
        content = self.info.encode() + b"".join(record.tobytes() for record in records)
        return content + SET_CRC.pack(zlib.crc32(content))
