"""Training on images that the array keeps: operations of an array that has the part ``IMAGES``."""

from collections.abc import Callable

from qcloop.array.learning import LearningOperations
from qcloop.contract.images import ImageSet, ImageSetInfo
from qcloop.contract.order import ImageOrder
from qcloop.contract.parts import ArrayPart
from qcloop.contract.stored import RunCounts
from qcloop.contract.types import Region
from qcloop.errors import ArrayError

#: Waits for a number, and returns it; likewise for what has no result.
Number = Callable[[], int]
Done = Callable[[], None]


class ImageOperations(LearningOperations):
    """What an :class:`~qcloop.array.interface.Array` with the part ``IMAGES`` does."""

    @property
    def images(self) -> ImageSetInfo:
        """The set of images in use; ArrayError before :meth:`use_images`."""
        if self._images is None:
            raise ArrayError("the array uses no images of its own: call use_images() first")
        return self._images

    @property
    def has_images(self) -> bool:
        """Whether a set of images is in use. A board that was reset has to check its memory again."""
        return self._images is not None

    def use_images(self, images: ImageSet) -> None:
        """Use a set of images that the array keeps.

        A board must have it: it checks its flash memory, and nothing is sent. The golden model takes it.

        Raises
        ------
        ArrayError
            If the array has no images, or other ones, or fewer training images; or if its memory does not
            answer or was damaged.
        """
        self._check_parts(ArrayPart.IMAGES)
        self._images = self._use_images(images)

    def start_train_images(self, order: ImageOrder, first: int, count: int) -> Done:
        """Train on the images in the places ``first`` to ``first + count - 1`` of an order.

        This is :meth:`train` on the images ``order.take(first, count)`` of the training images. Calling what
        is returned waits for the end; :meth:`start_summary` tells how it went.
        """
        self._check_set()
        if order.images > self.images.train:
            raise ArrayError(
                f"the order is one of {order.images:,} images, but the array keeps {self.images.train:,}"
            )
        if not 0 <= first <= first + count <= order.images:
            raise ArrayError(f"places must be within 0..{order.images}, not {first}..{first + count}")
        return self._start_train_images(order, first, count)

    def start_evaluate(self, count: int) -> Number:
        """Classify the first test images; calling what is returned waits for the number of right classes."""
        self._check_set()
        if not 0 <= count <= self.images.test:
            raise ArrayError(f"the array keeps {self.images.test:,} test images, not {count:,}")
        return self._start_evaluate(count)

    def start_summary(self) -> Callable[[], RunCounts]:
        """Ask for what was counted since :meth:`configure`; calling what is returned waits for it."""
        self._check_parts(ArrayPart.IMAGES)
        return self._start_summary()

    def start_checksum(self, region: Region) -> Number:
        """Ask for the CRC-32 of the cell words of a region, row by row, little-endian, as they are now."""
        self._check_parts(ArrayPart.IMAGES)
        self._check_programmed(region)
        return self._start_checksum(region)

    def note(self, content: bytes) -> None:
        """Leave a text for whoever asks a board how far it is. The golden model needs none."""
        self._check_parts(ArrayPart.IMAGES)
        self._note(content)

    def _check_set(self) -> None:
        """Raise ArrayError unless the images in use are those that the plan takes."""
        images, plan = self.images, self.plan
        if (images.pixels, images.bits) != (plan.inputs, plan.input_bits):
            raise ArrayError(
                f"the plan takes images of {plan.inputs} inputs of {plan.input_bits} bits, but those that "
                f"the array keeps have {images.pixels} of {images.bits}"
            )
        if images.classes > plan.classes:
            raise ArrayError(
                f"the images that the array keeps have {images.classes} classes, but the plan has "
                f"{plan.classes}"
            )

    # -- what a backend with the part implements; the arguments have been checked -----------------

    def _use_images(self, images: ImageSet) -> ImageSetInfo:
        raise NotImplementedError

    def _start_train_images(self, order: ImageOrder, first: int, count: int) -> Done:
        raise NotImplementedError

    def _start_evaluate(self, count: int) -> Number:
        raise NotImplementedError

    def _start_summary(self) -> Callable[[], RunCounts]:
        raise NotImplementedError

    def _start_checksum(self, region: Region) -> Number:
        raise NotImplementedError

    def _note(self, content: bytes) -> None:
        raise NotImplementedError
