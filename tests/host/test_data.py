"""Data sets: the reader of IDX files, the search for files, the checks across files, the coding of inputs."""

import gzip
import hashlib
import math
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qcloop.data import MNIST_FILES, Dataset, encode_inputs, load_dataset, read_idx, shift_images
from qcloop.data.idx import MAX_BYTES
from qcloop.errors import ConfigError, DataError

LABELS = np.array([3, 1, 2], np.uint8)
IMAGES = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)
HTML = b"\n\n  <!DOCTYPE html><html><body>404</body></html>"
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def pack(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def write_set(directory, names=NAMES, *, train=(IMAGES, LABELS), test=(IMAGES[:2], LABELS[:2])):
    for name, array in zip(names, (*train, *test), strict=True):
        content = idx_bytes(array)
        write(directory / name, pack(content) if name.endswith(".gz") else content)
    return directory


def failure(path: Path, content: bytes | None = None) -> str:
    """The message with which reading ``path`` fails; it names the file and is one line."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def load_failure(directory: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(directory)
    message = str(caught.value)
    assert "\n" not in message
    return message


# The set that comes with qcloop


def test_shipped_files_are_the_ones_in_the_table():
    folder = files("qcloop.data") / "mnist"
    digests = {entry.name: hashlib.sha256(entry.read_bytes()).hexdigest() for entry in folder.iterdir()}
    assert digests == MNIST_FILES


def test_shipped_mnist():
    mnist = load_dataset()
    assert (mnist.name, mnist.pixels, mnist.classes, mnist.image_shape) == ("mnist", 784, 10, (28, 28))
    assert mnist.train_images.shape == (60000, 784)
    assert mnist.test_images.shape == (10000, 784)
    assert mnist.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(mnist.train_labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip
    assert mnist.sha256 == "6530e344b46f283ff47ae5d1eaa68dce775ae5a4996b8fef3f0bde72d8665382"
    for array in (mnist.train_images, mnist.test_images):
        assert array.dtype == np.uint8
        assert array.flags.c_contiguous


# The reports of case 23


@pytest.mark.parametrize("wrap", [bytes, pack], ids=["raw", "in gzip"])
def test_case_23_gz_that_is_an_html_page(tmp_path, wrap):
    message = failure(tmp_path / "train-images-idx3-ubyte.gz", wrap(HTML))
    assert "is an HTML page" in message
    assert "download the file again" in message


def test_case_23_still_compressed_under_the_raw_name(tmp_path):
    path = write(tmp_path / "train-images-idx3-ubyte", pack(idx_bytes(IMAGES)))
    assert np.array_equal(read_idx(path), IMAGES)


def test_case_23_raw_under_the_compressed_name(tmp_path):
    path = write(tmp_path / "train-images-idx3-ubyte.gz", idx_bytes(IMAGES))
    assert np.array_equal(read_idx(path), IMAGES)


@pytest.mark.parametrize("wrap", [bytes, pack], ids=["raw", "in gzip"])
def test_case_23_truncated_data(tmp_path, wrap):
    message = failure(tmp_path / "a", wrap(idx_bytes(IMAGES)[:-7]))
    assert "is truncated: expected 40 bytes for 3 x 2 x 4 elements, came 33" in message


def test_case_23_truncated_gzip(tmp_path):
    for cut in (1, 8, 12):
        message = failure(tmp_path / "a.gz", pack(idx_bytes(IMAGES))[:-cut])
        assert "gzip data is damaged or incomplete" in message


@pytest.mark.parametrize("separator", "-.")
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("test_part", ["t10k", "test"])
def test_case_23_both_spellings(tmp_path, separator, ending, test_part):
    names = [name.replace("-idx", f"{separator}idx").replace("t10k", test_part) + ending for name in NAMES]
    data = load_dataset(write_set(tmp_path, names))
    assert np.array_equal(data.train_images, IMAGES.reshape(3, 8))
    assert np.array_equal(data.test_labels, LABELS[:2])


# One file


@pytest.mark.parametrize("array", [LABELS, IMAGES[0], IMAGES], ids=["1-D", "2-D", "3-D"])
def test_dimensions(tmp_path, array):
    result = read_idx(write(tmp_path / "a", idx_bytes(array)))
    assert result.dtype == np.uint8
    assert result.flags.writeable
    assert np.array_equal(result, array)


def test_missing_file(tmp_path):
    assert "no such file" in failure(tmp_path / "nowhere")


def test_directory_in_place_of_a_file(tmp_path):
    assert "cannot be read" in failure(tmp_path)


@pytest.mark.parametrize("content", [b"", pack(b"")], ids=["raw", "in gzip"])
def test_empty_file(tmp_path, content):
    assert "is empty" in failure(tmp_path / "a", content)


def test_damaged_gzip(tmp_path):
    content = bytearray(pack(idx_bytes(IMAGES)))
    content[-6] ^= 1  # of the check sum
    assert "gzip data is damaged or incomplete (CRC check failed" in failure(tmp_path / "a", bytes(content))


def test_bytes_after_the_gzip_data(tmp_path):
    assert "gzip data is damaged" in failure(tmp_path / "a", pack(idx_bytes(IMAGES)) + b"xyz")


def test_gzip_in_gzip_is_read(tmp_path):
    assert np.array_equal(read_idx(write(tmp_path / "a.gz", pack(pack(idx_bytes(IMAGES))))), IMAGES)


def test_gzip_thrice(tmp_path):
    assert "compressed more than 2 times" in failure(tmp_path / "a", pack(pack(pack(idx_bytes(IMAGES)))))


@pytest.mark.parametrize("content", [b"\x93NUMPY", b"\x01"])
def test_bad_magic_shows_the_bytes(tmp_path, content):
    assert f"starts with the bytes {content[:4].hex(' ')}; expected 00 00 08" in failure(
        tmp_path / "a", content
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04rest", "zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
def test_other_known_files(tmp_path, content, what):
    assert what in failure(tmp_path / "a", content)


@pytest.mark.parametrize(("code", "name"), [(0x09, "signed byte"), (0x0D, "float"), (0x77, "unknown")])
def test_other_element_types(tmp_path, code, name):
    message = failure(tmp_path / "a", bytes([0, 0, code, 1, 0, 0, 0, 1, 0]))
    assert f"elements of type 0x{code:02x} ({name}); expected 0x08" in message


@pytest.mark.parametrize("dimensions", [0, 4])
def test_number_of_dimensions(tmp_path, dimensions):
    message = failure(tmp_path / "a", bytes([0, 0, 8, dimensions]) + bytes(16))
    assert f"has {dimensions} dimensions; expected 1 (labels) to 3 (images)" in message


@pytest.mark.parametrize(("came", "expected"), [(1, "at least 8"), (3, "at least 8"), (4, "16"), (15, "16")])
def test_truncated_header(tmp_path, came, expected):
    message = failure(tmp_path / "a", idx_bytes(IMAGES)[:came])
    assert f"ends within its header: expected {expected} bytes, came {came}" in message


@pytest.mark.parametrize("wrap", [bytes, pack], ids=["raw", "in gzip"])
@pytest.mark.parametrize("extra", [1, 3 << 20])
def test_extra_bytes(tmp_path, wrap, extra):
    message = failure(tmp_path / "a", wrap(idx_bytes(IMAGES) + bytes(extra)))
    assert f"goes on after its data: expected 40 bytes for 3 x 2 x 4 elements, came {40 + extra}" in message


def test_absurd_dimensions(tmp_path):
    message = failure(tmp_path / "a", bytes([0, 0, 8, 3]) + b"\xff" * 12)
    assert f"declares 4294967295 x 4294967295 x 4294967295 elements; expected at most {MAX_BYTES}" in message
    absurd_and_empty = bytes([0, 0, 8, 3]) + bytes(4) + b"\xff" * 8
    assert "declares 0 x 4294967295 x 4294967295" in failure(tmp_path / "a", absurd_and_empty)


def test_large_dimensions_of_a_small_file_allocate_nothing(tmp_path):
    message = failure(tmp_path / "a", bytes([0, 0, 8, 1]) + MAX_BYTES.to_bytes(4, "big") + b"abc")
    assert f"declares {MAX_BYTES} elements, but has only 11 bytes" in message


@settings(derandomize=True, deadline=None)
@given(
    array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9)),
    layers=st.integers(0, 2),
)
def test_round_trip(array, layers):
    content = idx_bytes(array)
    for _ in range(layers):
        content = pack(content)
    with tempfile.TemporaryDirectory() as folder:
        result = read_idx(write(Path(folder, "a"), content))
    assert result.shape == array.shape
    assert result.tobytes() == array.tobytes()


@settings(derandomize=True, deadline=None)
@given(
    layers=st.integers(0, 2),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    length=st.integers(0, 100),
    tail=st.binary(max_size=4),
)
def test_damage_gives_a_data_error_or_an_array(layers, changes, length, tail):
    content = bytearray(idx_bytes(IMAGES))
    for _ in range(layers):
        content = bytearray(pack(content))
    for position, value in changes:
        content[position % len(content)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "a"), bytes(content[:length]) + tail)
        try:
            array = read_idx(path)
        except DataError as error:
            assert str(path) in str(error)
        else:
            assert array.dtype == np.uint8
            assert array.ndim in (1, 2, 3)


@pytest.mark.parametrize("wrap", [bytes, pack], ids=["raw", "in gzip"])
def test_every_cut_is_noticed(tmp_path, wrap):
    content = wrap(idx_bytes(IMAGES))
    for length in range(len(content)):
        failure(tmp_path / "a", content[:length])


# The search for files


def test_plain_file_is_taken_before_its_gz(tmp_path):
    write_set(tmp_path)
    for name in NAMES:
        write(tmp_path / f"{name}.gz", HTML)
    assert np.array_equal(load_dataset(tmp_path).train_labels, LABELS)


def test_folders_with_the_files_names_are_passed_over(tmp_path):
    for name in NAMES:
        (tmp_path / name).mkdir()
    write_set(tmp_path, [name.replace("-idx", ".idx") for name in NAMES])
    assert np.array_equal(load_dataset(tmp_path).train_labels, LABELS)


def test_same_data_under_both_spellings(tmp_path):
    write_set(tmp_path)
    write_set(tmp_path, [name.replace("-idx", ".idx") for name in NAMES])
    assert np.array_equal(load_dataset(tmp_path).test_images, IMAGES[:2].reshape(2, 8))


def test_different_data_under_both_spellings(tmp_path):
    write_set(tmp_path)
    write(tmp_path / "train-labels.idx1-ubyte.gz", pack(idx_bytes(LABELS + 1)))
    message = load_failure(tmp_path)
    assert "train-labels-idx1-ubyte and train-labels.idx1-ubyte.gz are both train labels" in message


def emnist_names(split: str) -> list[str]:
    return [f"emnist-{split}-{name.replace('t10k', 'test')}.gz" for name in NAMES]


def test_two_emnist_sets_in_one_directory(tmp_path):
    write_set(tmp_path, emnist_names("letters"))
    write_set(tmp_path, emnist_names("digits"))
    message = load_failure(tmp_path)
    assert message.startswith(f"{tmp_path}: holds 2 data sets (")
    assert "emnist-digits-test-images-idx3-ubyte.gz" in message
    assert "emnist-letters-test-images-idx3-ubyte.gz" in message


def test_halves_of_two_sets_are_not_joined(tmp_path):
    write_set(tmp_path, emnist_names("letters")[:2] + emnist_names("digits")[2:])
    message = load_failure(tmp_path)
    assert "emnist-letters-train-images" in message
    assert "emnist-digits-test-images" in message


def test_missing_role(tmp_path):
    write_set(tmp_path)
    (tmp_path / NAMES[3]).unlink()
    message = load_failure(tmp_path)
    assert message.startswith(f"{tmp_path}: has no test labels; ")
    assert "looked for t10k-labels-idx1-ubyte or test-labels-idx1-ubyte" in message
    assert message.endswith(f"the directory holds {NAMES[2]}, {NAMES[0]}, {NAMES[1]}")


def test_nothing_there(tmp_path):
    message = load_failure(tmp_path)
    assert "has no train images, train labels, test images, test labels; " in message
    assert message.endswith("the directory holds no files")


def test_many_other_files_are_not_all_listed(tmp_path):
    for number in range(11):
        write(tmp_path / f"file-{number:02}", b"")
    message = load_failure(tmp_path)
    assert message.endswith("file-07 and 3 more")


def test_missing_directory(tmp_path):
    assert (
        load_failure(tmp_path / "no") == f"{tmp_path / 'no'}: no such directory; expected one with IDX files"
    )


def test_file_in_place_of_the_directory(tmp_path):
    assert "is not a directory" in load_failure(write(tmp_path / "a", b""))


def test_damaged_file_of_a_set_is_named(tmp_path):
    write_set(tmp_path)
    write(tmp_path / NAMES[2], HTML)
    assert load_failure(tmp_path).startswith(f"{tmp_path / NAMES[2]}: is an HTML page")


# The set


def test_set_is_named_by_its_directory(tmp_path):
    (tmp_path / "digits").mkdir()
    assert load_dataset(write_set(tmp_path / "digits")).name == "digits"


def test_emnist_is_transposed(tmp_path):
    data = load_dataset(write_set(tmp_path, emnist_names("letters")))
    assert data.name == "emnist-letters"
    assert data.image_shape == (4, 2)
    assert data.train_images[1].tolist() == [8, 12, 9, 13, 10, 14, 11, 15]  # was 8 9 10 11 / 12 13 14 15
    assert data.test_images[0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert data.train_images.flags.c_contiguous


def test_emnist_labels_are_kept(tmp_path):
    labels = np.array([1, 26, 2], np.uint8)
    data = load_dataset(write_set(tmp_path, emnist_names("letters"), train=(IMAGES, labels)))
    assert data.train_labels.tolist() == [1, 26, 2]
    assert data.classes == 27


def test_classes_are_counted_over_both_parts(tmp_path):
    assert load_dataset(write_set(tmp_path, test=(IMAGES, LABELS + 6))).classes == 10


def test_transposition_on_request(tmp_path):
    write_set(tmp_path)
    assert load_dataset(tmp_path).train_images[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    data = load_dataset(tmp_path, transpose=True)
    assert data.train_images[0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_transposition_of_more_images_than_one_step(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (2500, 3, 5), np.uint8)
    write_set(tmp_path, train=(images, np.zeros(2500, np.uint8)), test=(images[:1], LABELS[:1]))
    data = load_dataset(tmp_path, transpose=True)
    assert np.array_equal(data.train_images.reshape(2500, 5, 3), images.swapaxes(1, 2))


def test_numbers_of_images_and_labels_differ(tmp_path):
    write_set(tmp_path, train=(IMAGES, LABELS[:2]))
    assert "3 train images but 2 train labels" in load_failure(tmp_path)


def test_sizes_of_train_and_test_differ(tmp_path):
    write_set(tmp_path, test=(np.zeros((2, 3, 4), np.uint8), LABELS[:2]))
    assert "train images have 2 x 4 pixels but test images 3 x 4" in load_failure(tmp_path)


def test_images_and_labels_swapped(tmp_path):
    write_set(tmp_path, train=(LABELS, IMAGES))
    message = load_failure(tmp_path)
    assert message.startswith(f"{tmp_path / NAMES[0]}: has 1 dimensions; expected 3 for images")
    assert "swapped" in message
    write(tmp_path / NAMES[0], idx_bytes(IMAGES))
    assert load_failure(tmp_path).startswith(
        f"{tmp_path / NAMES[1]}: has 3 dimensions; expected 1 for labels"
    )


@pytest.mark.parametrize("shape", [(0, 2, 4), (3, 0, 4)])
def test_set_without_images(tmp_path, shape):
    images = np.zeros(shape, np.uint8)
    write_set(tmp_path, train=(images, np.zeros(len(images), np.uint8)), test=(images, LABELS[: len(images)]))
    assert f"holds no train images ({shape[0]} of {shape[1]} x {shape[2]})" in load_failure(tmp_path)


def make_dataset(**changes) -> Dataset:
    arrays = {
        "train_images": IMAGES.reshape(3, 8).copy(),
        "train_labels": LABELS.copy(),
        "test_images": IMAGES[:2].reshape(2, 8).copy(),
        "test_labels": LABELS[:2].copy(),
    }
    return Dataset(**{"name": "tiny", "image_shape": (2, 4), **arrays, **changes})


def test_dataset_checks_its_arrays():
    with pytest.raises(DataError, match="train_images must be uint8 with 2 dimensions, not float64 with 2"):
        make_dataset(train_images=np.zeros((3, 8)))
    with pytest.raises(DataError, match="test images have 9 pixels; expected 2 x 4 = 8"):
        make_dataset(test_images=np.zeros((2, 9), np.uint8))


def test_arrays_are_read_only_and_contiguous():
    data = make_dataset(train_images=np.asfortranarray(IMAGES.reshape(3, 8)))
    assert data.train_images.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        data.train_images[0, 0] = 1


def test_digest_is_of_the_decoded_data(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "gz").mkdir()
    raw = load_dataset(write_set(tmp_path / "raw"))
    packed = load_dataset(write_set(tmp_path / "gz", [f"{name}.gz" for name in NAMES]))
    assert raw.sha256 == packed.sha256 == make_dataset().sha256
    assert len(bytes.fromhex(raw.sha256)) == 32


@pytest.mark.parametrize("name", ["train_images", "train_labels", "test_images", "test_labels"])
def test_digest_changes_with_each_array(name):
    array = getattr(make_dataset(), name).copy()
    array.flat[-1] ^= 1
    assert make_dataset(**{name: array}).sha256 != make_dataset().sha256


def test_digest_changes_with_the_shapes():
    assert make_dataset(image_shape=(4, 2)).sha256 != make_dataset().sha256


# The coding of inputs


def test_one_bit_inputs_split_above_127():
    pixels = np.arange(256, dtype=np.uint8).reshape(2, 128)
    inputs = encode_inputs(pixels, 1)
    assert inputs.dtype == np.uint8
    assert inputs.tolist() == [[0] * 128, [1] * 128]


def test_eight_bit_inputs_are_the_pixels():
    pixels = np.arange(256, dtype=np.uint8).reshape(2, 128)
    assert encode_inputs(pixels, 8) is pixels


@pytest.mark.parametrize("bits", [0, 2, 4, 16])
def test_other_widths(bits):
    with pytest.raises(ConfigError, match=f"inputs must have 1 or 8 bits, not {bits}$"):
        encode_inputs(np.zeros((1, 4), np.uint8), bits)


def test_scaled_pixels_are_refused():
    with pytest.raises(DataError, match="images must be uint8 with pixels from 0 to 255, not float32"):
        encode_inputs(np.zeros((1, 4), np.float32), 1)


@given(
    st.integers(1, 5),
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), max_size=6),
)
def test_shifted_images_are_the_images_elsewhere(rows, cols, offsets):
    images = np.arange(1, len(offsets) * rows * cols + 1, dtype=np.uint8).reshape(len(offsets), rows * cols)
    moved = shift_images(images, (rows, cols), np.array(offsets, np.int64).reshape(-1, 2))
    assert moved.shape == images.shape and moved.dtype == np.uint8
    for image, (down, right), came in zip(images, offsets, moved, strict=True):
        for row, col in np.ndindex(rows, cols):
            inside = 0 <= row - down < rows and 0 <= col - right < cols
            expected = image[(row - down) * cols + col - right] if inside else 0
            assert came[row * cols + col] == expected


def test_idx_bytes_is_what_the_format_says():
    assert idx_bytes(IMAGES)[:16].hex() == "00000803" + "00000003" + "00000002" + "00000004"
    assert len(idx_bytes(IMAGES)) == 16 + math.prod(IMAGES.shape)
