"""The order in which an array goes through the images that it keeps: a permutation that needs no memory.

An index is taken through rounds of steps that each can be undone, on as many bits as the number of images
needs; where the result is no index, it is taken through them again (cycle walking). So every image comes once
in an epoch, and the place of one is computed without the others.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qcloop.contract.images import MAX_SET
from qcloop.errors import ArrayError

#: Rounds, and bits of the key.
ROUNDS, KEY_BITS = 16, 32
#: In each round the key is added and rotated down by so many bits; the bits left over come back at the top.
ROTATION = 10
#: Then ``x`` becomes ``x + (x << UP)``, and ``x ^ (x >> DOWN)``.
UP, DOWN = 2, 3


@dataclass(frozen=True)
class ImageOrder:
    """A permutation of so many images. Raises ArrayError if they are none or too many."""

    images: int
    #: 32 bits; each key is another permutation.
    key: int

    def __post_init__(self) -> None:
        if not 1 <= self.images <= MAX_SET:
            raise ArrayError(f"an order is one of 1..{MAX_SET} images, not {self.images}")
        if not 0 <= self.key < 1 << KEY_BITS:
            raise ArrayError(f"the key of an order has {KEY_BITS} bits, not {self.key:#x}")

    def take(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return the (count,) indices of the images in the places ``first`` to ``first + count - 1``.

        Raises ArrayError if there are no such places.
        """
        if not 0 <= first <= first + count <= self.images:
            raise ArrayError(f"places must be within 0..{self.images}, not {first}..{first + count}")
        found = self._rounds(np.arange(first, first + count, dtype=np.uint64))
        while (outside := found >= self.images).any():
            found[outside] = self._rounds(found[outside])
        return found.astype(np.int64)

    def _rounds(self, x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        most, key = np.uint64((1 << max(1, (self.images - 1).bit_length())) - 1), self.key
        for _ in range(ROUNDS):
            x = x + np.uint64(key) & most
            x = x + (x << np.uint64(UP)) & most
            x = x ^ x >> np.uint64(DOWN)
            key = key >> ROTATION | key << KEY_BITS - ROTATION & (1 << KEY_BITS) - 1
        return x
