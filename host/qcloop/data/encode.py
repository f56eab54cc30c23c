"""How pixels become the integers that drive the rows of the array."""

import numpy as np
import numpy.typing as npt

from qcloop.errors import ConfigError, DataError

#: The numbers of bits that an input can have.
INPUT_BITS = (1, 8)

#: The brightest pixel whose 1-bit input is still 0: the middle of the range.
_DARK = 127

#: Most pixels by which an image is shifted.
MAX_SHIFT = 8


def encode_inputs(images: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    """Return pixels as inputs of ``bits`` bits.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, pixels)
        Pixels, 0 to 255.
    bits : int
        For 1, an input is 1 if its pixel is above 127, and 0 otherwise. For 8, an input is the pixel itself.

    Returns
    -------
    ndarray of uint8, shape (n, pixels)
        For 1 bit a new array; for 8 bits ``images`` itself, not a copy.

    Raises
    ------
    ConfigError
        If ``bits`` is another number.
    DataError
        If the images are not uint8. Without this check, pixels scaled to 0 .. 1 would all become dark.
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
    """Return images shifted by whole pixels. The pixels that come in at the edges are 0.

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
