"""Coding of pixels as the integers that the array takes on its rows."""

import numpy as np
import numpy.typing as npt

from qcloop.errors import ConfigError, DataError

#: The widths in bits that an input can have.
INPUT_BITS = (1, 8)

#: The brightest pixel that is still 0 in one bit: the middle of the range.
_DARK = 127

#: Most pixels that an image is shifted by.
MAX_SHIFT = 8


def encode_inputs(images: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    """Return pixels as inputs of ``bits`` bits.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, pixels)
        Pixels, 0 to 255.
    bits : int
        1: an input is 1 where the pixel is above 127, else 0. 8: an input is the pixel.

    Returns
    -------
    ndarray of uint8, shape (n, pixels)
        A new array for 1 bit; ``images`` itself, not a copy, for 8.

    Raises
    ------
    ConfigError
        For another number of bits.
    DataError
        If the images are not uint8: pixels scaled to 0 .. 1 would silently become all dark.
    """
    if bits not in INPUT_BITS:
        raise ConfigError(f"inputs must have 1 or 8 bits, not {bits}")
    if images.dtype != np.uint8:
        raise DataError(f"images must be uint8 with pixels from 0 to 255, not {images.dtype}")
    if bits == 8:
        return images
    return (images > _DARK).view(np.uint8)


def shift_images(
    images: npt.NDArray[np.uint8], shape: tuple[int, int], offsets: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """Return images shifted by whole pixels; what comes in at the edges is 0.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, rows * columns)
    shape : (int, int)
        Rows and columns of an image.
    offsets : ndarray of int64, shape (n, 2)
        Pixels down and to the right; negative ones are up and to the left.

    Returns
    -------
    ndarray of uint8, shape (n, rows * columns)
        A new array.
    """
    (rows, cols), most = shape, int(np.abs(offsets).max(initial=0))
    framed = np.zeros((len(images), rows + 2 * most, cols + 2 * most), np.uint8)
    framed[:, most : most + rows, most : most + cols] = images.reshape(-1, rows, cols)
    windows = np.lib.stride_tricks.sliding_window_view(framed, shape, axis=(1, 2))
    starts = most - offsets
    return windows[np.arange(len(images)), starts[:, 0], starts[:, 1]].reshape(len(images), rows * cols)
