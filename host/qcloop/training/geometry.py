"""The spelling of a network, and the shapes of its layers: plain ones, and convolutions of images."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from qcloop.contract.formats import MAX_SIDE
from qcloop.errors import ConfigError

#: Networks that have a name, spelled out.
NAMED = {"lenet-5": "28x28-6c5+2-p2-16c5-p2-120-84-10"}
#: Most items of a network. With those of the largest, its name still is a name of a file.
MAX_SIZES = 32
_MOST_LETTERS = 160

_SIZES = re.compile(r"[0-9]{1,10}(?:-[0-9]{1,10})+")
_IMAGE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_KERNELS = re.compile(r"([0-9]{1,5})c([0-9]{1,5})(?:\+([0-9]{1,5}))?")
_POOLING = re.compile(r"p([0-9]{1,5})")
_SIZE = re.compile(r"[0-9]{1,10}")

_EXAMPLE = "28x28-6c5-p2-16c5-p2-120-84-10"
#: Numbers of an image, height first.
Pair = tuple[int, int]


@dataclass(frozen=True)
class Convolution:
    """Kernels that are slid over images, and the max pooling behind them.

    An image has (height, width, channels) numbers: those of the channels of a pixel are neighbours. Each
    position of the kernels is a patch, and the patch is a vector of the layer.
    """

    height: int
    width: int
    channels: int
    #: Number of the kernels: channels of the image that comes out.
    kernels: int
    #: Pixels of a kernel along each side.
    size: int
    #: Zeros around the image, on each side.
    padding: int = 0
    #: Side of the squares of which only the largest sum goes on; 1 is no pooling. What is left at the right
    #: and at the lower edge goes nowhere.
    pool: int = 1

    @property
    def positions(self) -> Pair:
        """Positions of a kernel, down and to the right."""
        around = 2 * self.padding - self.size + 1
        return self.height + around, self.width + around

    @property
    def vectors(self) -> int:
        """Patches of an image."""
        high, wide = self.positions
        return high * wide

    @property
    def pooled(self) -> Pair:
        """Height and width of the image that comes out."""
        high, wide = self.positions
        return high // self.pool, wide // self.pool

    @property
    def outputs(self) -> int:
        """Numbers of the image that comes out."""
        high, wide = self.pooled
        return high * wide * self.kernels


@dataclass(frozen=True)
class LayerShape:
    """Rows and columns of a layer's weights, and what they convolve; None for a plain layer."""

    rows: int
    cols: int
    convolution: Convolution | None = None

    @property
    def inputs(self) -> int:
        """Numbers that the layer takes for an image."""
        c = self.convolution
        return self.rows if c is None else c.height * c.width * c.channels

    @property
    def outputs(self) -> int:
        """Numbers that the layer gives for an image."""
        return self.cols if self.convolution is None else self.convolution.outputs

    @property
    def vectors(self) -> int:
        """Vectors that the layer multiplies for an image."""
        return 1 if self.convolution is None else self.convolution.vectors


def spell_out(network: str) -> str:
    """Return the spelling that a name of a network stands for; another spelling is returned as it is."""
    return NAMED.get(network, network)


def has_kernels(network: str) -> bool:
    """Return whether a layer of a network convolves images; raises what :func:`read_network` raises."""
    return any(layer.convolution is not None for layer in read_network(network))


def read_network(network: str) -> tuple[LayerShape, ...]:
    """Return the layers of a network, from its spelling or its name.

    Raises
    ------
    ConfigError
        If it is spelled wrongly, or has more or larger layers than there may be.
    """
    text = spell_out(network)
    if _SIZES.fullmatch(text):
        return _plain(network, [int(size) for size in text.split("-")])
    items = text.split("-")
    if len(text) > _MOST_LETTERS or len(items) < 2 or not all(map(_is_item, items)):
        raise ConfigError(
            f"network must be a name ({', '.join(NAMED)}), images with kernels such as {_EXAMPLE}, or two or "
            f"more layer sizes such as 784-16-16-10, not {network[:80]!r}"
        )
    _check_count(items)
    image = _IMAGE.fullmatch(items[0])
    if image is None:
        raise ConfigError(
            f"network {network} has kernels, so it must begin with height and width of its images, as "
            f"{_EXAMPLE} does, not with {items[0]}"
        )
    return _Reader(network, int(image[1]), int(image[2])).read(items[1:])


def _is_item(item: str) -> bool:
    return any(kind.fullmatch(item) for kind in (_IMAGE, _KERNELS, _POOLING, _SIZE))


def _check_count(items: Sequence[object]) -> None:
    if len(items) > MAX_SIZES:
        raise ConfigError(f"network must have at most {MAX_SIZES} layer sizes, not {len(items)}")


def _plain(network: str, sizes: list[int]) -> tuple[LayerShape, ...]:
    """Return the layers between sizes."""
    if min(sizes) < 1:
        raise ConfigError(
            f"network must be two or more layer sizes such as 784-16-16-10, not {network[:80]!r}"
        )
    _check_count(sizes)
    _check_side(network, max(sizes))
    return tuple(LayerShape(rows, cols) for rows, cols in pairwise(sizes))


def _check_side(network: str, side: int) -> None:
    if side > MAX_SIDE:
        raise ConfigError(
            f"network {network} has a layer of {side}, but the largest is {MAX_SIDE}: "
            "use a smaller layer, or smaller images if these are the inputs"
        )


class _Reader:
    """Reads a network of images item by item, and knows what image comes out of the items so far."""

    def __init__(self, network: str, height: int, width: int) -> None:
        self._network = network
        self._require(height > 0 and width > 0, f"images of {height}x{width} pixels have none: use 28x28-...")
        #: Height, width and channels; after the first plain layer there is no image.
        self._image: tuple[int, int, int] | None = (height, width, 1)
        self._layers: list[LayerShape] = []

    def _require(self, good: bool, what: str) -> None:
        if not good:
            raise ConfigError(f"network {self._network}: {what}")

    def read(self, items: list[str]) -> tuple[LayerShape, ...]:
        """Return the layers of the items behind the size of the images."""
        before = ""
        for item in items:
            if kernels := _KERNELS.fullmatch(item):
                self._add_kernels(item, int(kernels[1]), int(kernels[2]), int(kernels[3] or 0))
            elif pooling := _POOLING.fullmatch(item):
                good = _KERNELS.fullmatch(before) is not None
                self._require(good, f"{item} must stand behind kernels, as in 6c5-p2")
                self._add_pooling(item, int(pooling[1]))
            else:
                self._require("x" not in item, f"the size of the images stands first, and {item} behind it")
                self._add_plain(int(item))
            before = item
        self._require(
            self._image is None, f"it must end with the number of classes, such as ...-10, not with {before}"
        )
        return tuple(self._layers)

    def _add_kernels(self, item: str, kernels: int, size: int, padding: int) -> None:
        if self._image is None:
            raise ConfigError(
                f"network {self._network}: {item} needs an image, but stands behind a plain layer of "
                f"{self._layers[-1].cols}: put it before the plain layers"
            )
        self._require(min(kernels, size) > 0, f"{item} must have 1 or more kernels of 1 or more pixels")
        self._require(
            padding < size, f"{item} pads by {padding}, but {size}x{size} kernels take 0..{size - 1}"
        )
        height, width, channels = self._image
        room = min(height, width) + 2 * padding
        self._require(
            size <= room,
            f"the kernels of {item} do not fit the {height}x{width} image before them: use smaller ones",
        )
        rows = size * size * channels
        _check_side(self._network, max(rows, kernels))
        made = Convolution(height, width, channels, kernels, size, padding)
        self._layers.append(LayerShape(rows, kernels, made))
        self._image = (*made.pooled, kernels)

    def _add_pooling(self, item: str, pool: int) -> None:
        last = self._layers[-1]
        assert last.convolution is not None
        high, wide = last.convolution.positions
        self._require(
            2 <= pool <= min(high, wide),
            f"{item} must pool squares of 2 or more pixels that fit the {high}x{wide} image before it",
        )
        made = replace(last.convolution, pool=pool)
        self._layers[-1] = replace(last, convolution=made)
        self._image = (*made.pooled, made.kernels)

    def _add_plain(self, size: int) -> None:
        if not self._layers:
            raise ConfigError(
                f"network {self._network} has no kernels behind the size of its images: put them there, as "
                f"{_EXAMPLE} has them, or begin with the number of pixels, as in 784-16-16-10"
            )
        rows = self._layers[-1].outputs
        self._require(size > 0, "a layer must have 1 or more numbers, not 0")
        self._require(
            rows <= MAX_SIDE,
            f"the layer of {size} takes {rows} numbers, but the most are {MAX_SIDE}: pool more, or use fewer "
            "kernels",
        )
        _check_side(self._network, size)
        self._layers.append(LayerShape(rows, size))
        self._image = None
