"""How much memory a run takes, so that one that cannot fit is refused before it begins.

Without this check the system would kill the process in the middle, with no word to the user.
"""

import os
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from qcloop.contract.types import Policy
from qcloop.crossbar.weights import Scheme
from qcloop.errors import ConfigError
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
#: Where a container of Linux finds its own limit.
_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def needed_bytes(settings: RunSettings, images: int) -> int:
    """Return about how many bytes a run takes with so many training images; never less than half of it."""
    sizes = settings.layer_sizes()
    devices = 2 if settings.scheme is Scheme.DIFFERENTIAL else 1
    weights = [rows * cols for rows, cols in pairwise(sizes)]
    tries = settings.verify_tries if Policy.from_label(settings.policy) is Policy.VERIFY else 1
    kept = sum(weights) * (devices * _KEPT_A_CELL + _KEPT_A_WEIGHT)
    busy = max(weights) * devices * (_BUSY_A_CELL + _SAMPLE * tries)
    batch = min(settings.batch, images) * sum(sizes) * devices * _A_NUMBER
    return kept + busy + batch + images * sizes[0]


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
