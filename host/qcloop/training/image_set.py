"""A data set as a set of images that an array keeps."""

from qcloop.contract.images import ImageSet
from qcloop.data import Dataset, encode_inputs
from qcloop.errors import ConfigError


def image_set(data: Dataset, bits: int, images: int = 0) -> ImageSet:
    """Return the first training images, and all test images, as inputs of so many bits.

    ``images`` is the number of training images; 0 is all. Raises ConfigError if there are not so many, and
    ArrayError if they are more than a set can be.
    """
    most = len(data.train_labels)
    if not 0 <= images <= most:
        raise ConfigError(f"--images must be 1..{most}, or 0 for all, not {images}")
    train = images or most
    return ImageSet(
        encode_inputs(data.train_images[:train], bits),
        data.train_labels[:train],
        encode_inputs(data.test_images, bits),
        data.test_labels,
        bits,
        data.classes,
        bytes.fromhex(data.sha256)[:16],
    )
