"""A data set as a set of images that an array keeps."""

from qcloop.contract.images import ImageSet
from qcloop.data import Dataset, encode_inputs


def image_set(data: Dataset, bits: int, train: int) -> ImageSet:
    """Return the first ``train`` training images and all test images as inputs of so many bits.

    Raises ArrayError if they are more than a set can be.
    """
    return ImageSet(
        encode_inputs(data.train_images[:train], bits),
        data.train_labels[:train],
        encode_inputs(data.test_images, bits),
        data.test_labels,
        bits,
        data.classes,
        bytes.fromhex(data.sha256)[:16],
    )
