"""How much memory a run takes, so that one that cannot fit is refused before it begins.

Without this check the system would kill the process in the middle, with no word to the user.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from qcloop.contract.types import Policy
from qcloop.crossbar.weights import Scheme
from qcloop.errors import ConfigError
from qcloop.training.geometry import LayerShape
from qcloop.training.settings import RunSettings

#: Bytes kept for each cell: level and code in the array, level and number of writes in the ledger.
_KEPT_A_CELL = 8
#: Bytes kept for each weight: level, accumulator, and three integers for a change of it.
_KEPT_A_WEIGHT = 29
#: Bytes for each cell of the largest layer while it is programmed or read: address, level, code, digest.
_BUSY_A_CELL = 16
#: Bytes of a random sample; policy verify draws one for each try.
_SAMPLE = 2
#: Bytes for each number of a batch: input, product, slope and error.
_A_NUMBER = 25
#: Bytes for each number of a patch: input and backward product.
_A_PATCH_NUMBER = 5
#: Bytes of the images that are classified together, where the network has patches.
_CLASSIFIED = 1 << 24
#: Where a container of Linux finds its own limit.
_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def needed_bytes(settings: RunSettings, images: int) -> int:
    """Return about how many bytes a run takes with so many training images; never less than half of it."""
    shapes = settings.layers()
    devices = settings.cells_per_weight * (2 if settings.scheme is Scheme.DIFFERENTIAL else 1)
    weights = [shape.rows * shape.cols for shape in shapes]
    tries = settings.verify_tries if Policy.from_label(settings.policy) is Policy.VERIFY else 1
    kept = sum(weights) * (devices * _KEPT_A_CELL + _KEPT_A_WEIGHT)
    busy = max(weights) * devices * (_BUSY_A_CELL + _SAMPLE * tries)
    batch = min(settings.batch, images) * _batch_bytes(shapes, devices)
    return kept + busy + batch + images * shapes[0].inputs


def _batch_bytes(shapes: Sequence[LayerShape], devices: int) -> int:
    """Return the bytes of one image of a batch."""
    numbers = shapes[0].inputs + sum(shape.outputs for shape in shapes)
    patches = [shape for shape in shapes if shape.convolution is not None]
    return (
        numbers * devices * _A_NUMBER
        + sum(shape.vectors * shape.rows for shape in patches) * _A_PATCH_NUMBER
        + sum(shape.vectors * shape.cols for shape in patches) * devices * _A_NUMBER
    )


def images_at_once(shapes: Sequence[LayerShape]) -> int:
    """Return how many images are best classified together.

    The patches of an image take far more memory than its pixels, and fewer of them stay in the processor's
    cache. A network of plain layers takes all that there are.
    """
    if all(shape.convolution is None for shape in shapes):
        return sys.maxsize
    return max(1, _CLASSIFIED // _batch_bytes(shapes, 1))


def available_bytes() -> int | None:
    """Return the memory of this machine or container, None where the system does not tell."""
    found = []
    with suppress(AttributeError, ValueError, OSError):  # Windows has no such function
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(ValueError, OSError):  # no container, or one without a limit, "max"
        found.append(int(_CONTAINER.read_text()))
    return min(found, default=None)


def check_memory(settings: RunSettings, images: int) -> None:
    """Raise ConfigError if a run with so many training images takes more memory than there is."""
    needed, available = needed_bytes(settings, images), available_bytes()
    if available is not None and needed > available:
        raise ConfigError(
            f"network {settings.network} with batch {settings.batch} needs about {needed / 1e9:,.1f} GB of "
            f"memory, but this machine has {available / 1e9:,.1f} GB: use a smaller network or batch"
        )
