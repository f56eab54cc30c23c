"""Epochs on images that the array keeps: the host says which, and the array goes through them by itself."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

from qcloop.array.generator import Grng16
from qcloop.contract.generator import Stream
from qcloop.contract.order import ImageOrder
from qcloop.contract.stored import EPOCHS_AHEAD, RunCounts
from qcloop.training.array_network import ArrayNetwork
from qcloop.training.settings import RunSettings

#: Parts of an epoch, each of which tells that it is done, at most.
_PARTS = 10
#: Bytes of requests that a board takes ahead; about how many of these an epoch has besides its parts, and a
#: part.
_AHEAD, _EPOCH, _PART = 4000, 80, 21
#: 16-bit words of stream ``SHUFFLE`` that the key of an epoch takes.
_KEY_WORDS = 2

Wait = Callable[[], Any]


@dataclass(frozen=True)
class EpochEnd:
    """What is known of an epoch when it has ended."""

    #: Training images whose class was found before their step, and the sum of the penalties.
    hits: int
    penalty: int
    #: Test images whose class is found now.
    test_hits: int
    summary: RunCounts
    #: SHA-256 over the CRC-32 of the cells of each region.
    digest: str


def epoch_order(settings: RunSettings, images: int, epoch: int) -> ImageOrder:
    """Return the order of an epoch (from 0): its key are the next two words of stream ``SHUFFLE``."""
    words = Grng16(settings.seed, Stream.SHUFFLE, epoch * _KEY_WORDS).take_words(_KEY_WORDS)
    return ImageOrder(images, int(words[0]) | int(words[1]) << 16)


class ImageRun:
    """Asks the array for the epochs of a run, as many ahead as it takes, and gives what comes back.

    Parameters
    ----------
    settings : RunSettings
    network : ArrayNetwork
        Its array uses the images.
    images, test_images : int
        Images of an epoch, and of the test at its end.
    rate : callable
        Gives the rate of an epoch.
    """

    def __init__(
        self,
        settings: RunSettings,
        network: ArrayNetwork,
        images: int,
        test_images: int,
        rate: Callable[[int], float],
    ) -> None:
        self._settings, self._network, self._rate = settings, network, rate
        self._array = network.crossbar.array
        self._images, self._test_images = images, test_images
        self._eager = self._array.epochs_ahead > 1
        together = min(settings.epochs, EPOCHS_AHEAD)
        parts = max(1, min(_PARTS, (_AHEAD // together - _EPOCH) // _PART)) if self._eager else 100
        batches = -(-images // settings.batch)
        self._part = -(-batches // parts) * settings.batch
        self.restart(0, 0)

    def restart(self, hits: int, penalty: int) -> None:
        """Begin anew, with an array that has counted nothing; of the epoch so much was counted before."""
        #: What was asked for: the epoch, its images that are then done, and what waits for it.
        self._asked: deque[tuple[int, int, Wait]] = deque()
        self._until = -1
        self._before = RunCounts(0, 0, 0, 0, -hits, -penalty)

    @property
    def ahead(self) -> bool:
        """Whether anything was asked for that has not been waited for."""
        return self._eager and bool(self._asked)

    def parts(self, epoch: int, image: int) -> Iterator[int]:
        """Train to the end of an epoch (from 0) from an image on; yield the images done, time and again."""
        if self._until < epoch:
            self._until = epoch - 1
        while self._until < min(self._settings.epochs, epoch + self._array.epochs_ahead) - 1:
            self._until += 1
            self._ask(self._until, image if self._until == epoch else 0)
        while self._asked[0][1]:
            _, done, wait = self._asked.popleft()
            wait()
            yield done

    def counted(self) -> tuple[int, int] | None:
        """Return hits and penalty of the epoch so far; None if the array is ahead."""
        if self._eager:
            return None
        now = self._array.start_summary()()
        return now.hits - self._before.hits, now.penalty - self._before.penalty

    def end(self) -> EpochEnd:
        """Wait for what belongs to the end of the epoch whose :meth:`parts` are done."""
        _, _, wait = self._asked.popleft()
        test_hits, summary, checksums = wait()
        before, self._before = self._before, summary
        return EpochEnd(
            hits=summary.hits - before.hits,
            penalty=summary.penalty - before.penalty,
            test_hits=test_hits,
            summary=summary,
            digest=sha256(b"".join(crc.to_bytes(4, "little") for crc in checksums)).hexdigest(),
        )

    def _ask(self, epoch: int, image: int) -> None:
        """Ask for an epoch; with an array that does not work ahead, only when it is waited for."""
        order = epoch_order(self._settings, self._images, epoch)
        for start in range(image, self._images, self._part):
            count = min(self._part, self._images - start)
            self._add(epoch, start + count, partial(self._train, epoch, order, start, count))
        self._add(epoch, 0, self._finish)

    def _add(self, epoch: int, done: int, start: Callable[[], Wait]) -> None:
        self._asked.append((epoch, done, start() if self._eager else lambda: start()()))

    def _train(self, epoch: int, order: ImageOrder, start: int, count: int) -> Wait:
        self._network.use_rate(self._rate(epoch))
        return self._array.start_train_images(order, start, count)

    def _finish(self) -> Wait:
        hits, summary = self._array.start_evaluate(self._test_images), self._array.start_summary()
        checksums = [self._array.start_checksum(layer.region) for layer in self._network.layers]
        return lambda: (hits(), summary(), [checksum() for checksum in checksums])
