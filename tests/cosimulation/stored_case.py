"""A short training run on images that an array keeps, the same on every array."""

from random_plans import prepare, random_case

from qcloop.contract.images import ImageSet
from qcloop.contract.order import ImageOrder

#: Images for training, and those that are classified.
TRAIN, TEST = 6, 3


def stored_case(seed):
    """Return a random case, whose images are those of the set."""
    return random_case(seed, 2, 6)


def image_set(case):
    """Return the images of a case as a set."""
    labels = case.labels.astype("uint8")
    part = slice(TRAIN), slice(TRAIN, TRAIN + TEST)
    return ImageSet(
        *(values[where] for where in part for values in (case.x, labels)),
        case.plan.input_bits,
        case.plan.classes,
        bytes(16),
    )


def train(array, seed):
    """Train on the images that an array keeps; return what it tells: hits and the checksums of all layers."""
    case = stored_case(seed)
    prepare(array, case)
    array.use_images(image_set(case))
    array.start_train_images(ImageOrder(TRAIN, 7), 0, TRAIN)()
    hits = array.start_evaluate(TEST)()
    return [hits, *(array.start_checksum(region)() for region in case.regions)]
