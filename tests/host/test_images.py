"""Sets of images, the order of an epoch, and training on images that an array keeps."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from golden_engine import GoldenEngine
from random_plans import prepare, random_case

from qcloop.array import GoldenArray
from qcloop.cli import main
from qcloop.contract.images import IMAGE_SET, MAX_SET, RESIDUE, ImageSet, ImageSetInfo
from qcloop.contract.order import ImageOrder
from qcloop.contract.parts import ALL_PARTS, LEARNING_PARTS
from qcloop.contract.stored import FLASH_ID, decode_images, decode_lines
from qcloop.contract.types import ArrayConfig
from qcloop.data import load_dataset
from qcloop.device import resolve_device
from qcloop.errors import ArrayError, ConfigError
from qcloop.link.remote import RemoteArray
from qcloop.training.image_run import epoch_order
from qcloop.training.image_set import image_set
from qcloop.training.settings import RunSettings, resolve
from qcloop.training.trainer import Trainer

NETWORK = {"network": "784-12-10", "images": 120, "epochs": 3, "step": "array", "order": "board"}


def few(train=120, test=50):
    data = load_dataset()
    return replace(
        data,
        train_images=data.train_images[:train],
        train_labels=data.train_labels[:train],
        test_images=data.test_images[:test],
        test_labels=data.test_labels[:test],
    )


# -- the set and the order --------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 8])
def test_a_set_has_a_header_records_and_a_crc(bits):
    images = image_set(few(), bits, 100)
    content, info = images.encode(), images.info
    assert ImageSetInfo.decode(content) == info
    assert (info.train, info.test, info.size, info.classes) == (100, 50, 99 if bits == 1 else 785, 10)
    assert len(content) == info.total_bytes == IMAGE_SET.size + 150 * (1 + info.size) + 4
    assert zlib.crc32(content) == RESIDUE
    record = content[IMAGE_SET.size + 7 * (1 + info.size) :][: 1 + info.size]
    assert record[0] == images.train_labels[7] and record[-1] == (1 if bits == 1 else 255)
    x = np.frombuffer(record[1:], np.uint8)
    x = np.unpackbits(x, bitorder="little") if bits == 1 else x
    np.testing.assert_array_equal(x[:784], images.train_x[7])


def test_a_set_that_cannot_be_is_refused():
    with pytest.raises(ArrayError, match=r"train of a set of images must be 1\.\.1048576, not 0"):
        image_set(few(), 1, 100).first(0).encode()
    info = image_set(few(), 8, 100).info
    with pytest.raises(ArrayError, match="has at most 16,777,216 bytes, not 47,199,344: use fewer images"):
        replace(info, train=60_000)
    with pytest.raises(ArrayError, match="would begin with 0x4d494351, not 0xffffffff"):
        ImageSetInfo.decode(b"\xff" * IMAGE_SET.size)
    content = bytearray(info.encode())
    content[4] = 2
    with pytest.raises(ArrayError, match="has version 2, but this host knows 1"):
        ImageSetInfo.decode(bytes(content))
    with pytest.raises(ArrayError, match="of here does not answer: its bytes are ffffff"):
        decode_images(b"\xff" * (FLASH_ID.size + IMAGE_SET.size), "here")
    assert decode_lines(b"\x04") == 4
    for wrong in (b"", b"\x03", b"\x02\x02"):
        with pytest.raises(ArrayError, match=f"must answer 1, 2 or 4 lines, not '{wrong.hex()}'"):
            decode_lines(wrong)


@pytest.mark.parametrize("images", [1, 2, 3, 5, 64, 65, 1000, 60_000])
def test_every_image_comes_once_and_each_key_is_another_order(images):
    orders = [ImageOrder(images, key).take(0, images) for key in (0, 1, 0xDEADBEEF)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(images))
    if images > 5:
        assert not any((orders[0] == order).all() for order in orders[1:])
    np.testing.assert_array_equal(
        ImageOrder(images, 1).take(images // 3, images // 2), orders[1][images // 3 :][: images // 2]
    )


def test_the_order_of_the_documentation():
    assert ImageOrder(60_000, 1).take(0, 5).tolist() == [6313, 50240, 55363, 32229, 29761]


@pytest.mark.parametrize("wrong", [(0, 0), (MAX_SET + 1, 0), (5, -1), (5, 1 << 32)])
def test_an_order_that_cannot_be_is_refused(wrong):
    with pytest.raises(ArrayError):
        ImageOrder(*wrong)


# -- training -----------------------------------------------------------------------------------------------


def trainer_on(array, **given):
    settings = replace(resolve(None, NETWORK | given), lanes=array.config.lanes, cells=array.config.cells)
    trainer = Trainer(settings, resolve_device("A", 32, None), few(), array)
    return trainer


def train(trainer):
    while not trainer.finished:
        list(trainer.run_epoch())
    return trainer.progress.history


def golden():
    return GoldenArray(ArrayConfig(4, 32768, parts=ALL_PARTS))


class AheadArray(GoldenArray):
    """A golden model that is asked for several epochs before the first is waited for."""

    epochs_ahead = 2


@pytest.mark.parametrize("batch", [1, 7])
def test_the_array_trains_on_its_images_as_on_those_of_the_host(batch):
    """Epoch by epoch, in the order of the keys of stream SHUFFLE; asked for ahead or not."""
    trainer = trainer_on(golden(), batch=batch)
    trainer.initialise()
    history = train(trainer)
    ahead = trainer_on(AheadArray(ArrayConfig(4, 32768, parts=ALL_PARTS)), batch=batch)
    ahead.initialise()
    assert train(ahead) == history
    by_hand = trainer_on(golden(), batch=batch)
    by_hand.initialise()
    array, images = by_hand.array, image_set(few(), 1, 120)
    for epoch, row in enumerate(history):
        by_hand.network.use_rate(row.rate)
        order = epoch_order(by_hand.settings, 120, epoch).take(0, 120)
        result = array.train(images.train_x[order], images.train_labels[order])
        assert result.hits == round(row.train_accuracy * 120)
        hits = (array.classify(images.test_x) == images.test_labels).sum()
        assert hits == round(row.test_accuracy * 50)
    for region in by_hand.network.crossbar.regions:
        for mine, its in zip(array.read(region), trainer.array.read(region), strict=True):
            np.testing.assert_array_equal(mine, its)


def test_a_run_goes_on_in_the_middle_of_an_epoch():
    whole = trainer_on(golden())
    whole.initialise()
    history = train(whole)
    first = trainer_on(golden())
    first.initialise()
    list(first.run_epoch())
    parts = first.run_epoch()
    for _ in range(40):
        next(parts)
    second = trainer_on(golden())
    second.restore(*first.state())
    assert second.progress.image == 80
    assert train(second) == history


def test_a_board_is_asked_for_everything_as_the_golden_model_is(monkeypatch):
    trainer = trainer_on(golden())
    trainer.initialise()
    history = train(trainer)
    engine = GoldenEngine(ArrayConfig(4, 32768, parts=ALL_PARTS), monkeypatch)
    engine.flash = image_set(few(), 1, 120).encode()
    remote = trainer_on(RemoteArray(engine))
    remote.initialise()
    assert train(remote) == history
    assert (trainer.predictions == remote.predictions).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"\xff" * 200, "there is no set of images"),
        (lambda content: content[:30] + bytes([content[30] ^ 1]) + content[31:], "keeps other images"),
    ],
)
def test_a_board_with_other_images_is_refused(monkeypatch, change, message):
    engine = GoldenEngine(ArrayConfig(4, 32768, parts=ALL_PARTS), monkeypatch)
    engine.flash = change(image_set(few(), 1, 120).encode())
    with pytest.raises(ArrayError, match=message):
        trainer_on(RemoteArray(engine))
    engine.flash = image_set(few(), 1, 100).encode()
    with pytest.raises(ArrayError, match="keeps 100 training images, but 120 are needed"):
        trainer_on(RemoteArray(engine))


def test_images_need_their_part_and_a_plan_of_their_size():
    array = GoldenArray(ArrayConfig(4, 8192, parts=LEARNING_PARTS))
    with pytest.raises(ArrayError, match="has no images of its own: leave --order board out"):
        array.use_images(image_set(few(), 1, 10))
    case = random_case(1, 4)
    array = GoldenArray(replace(case.config, parts=ALL_PARTS))
    prepare(array, case)
    with pytest.raises(ArrayError, match="call use_images"):
        array.start_evaluate(1)
    array.use_images(image_set(few(), 1, 10))
    with pytest.raises(ArrayError, match="but those that the array keeps have 784 of 1"):
        array.start_evaluate(1)


def test_only_rates_may_change_in_a_plan():
    case = random_case(1, 4)
    array = GoldenArray(case.config)
    prepare(array, case)
    with pytest.raises(ArrayError, match="only rates may change"):
        array.change_rates(replace(case.plan, batch=case.plan.batch + 1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": "host"}, "step must be array with the order of the board, not host"),
        ({"shift": 1}, "shift must be 0 with the order of the board, not 1"),
        ({"order": "flash"}, "order"),
    ],
)
def test_settings_that_the_order_of_the_board_excludes(given, message):
    with pytest.raises(ConfigError, match=message):
        resolve(None, NETWORK | given)


def test_the_best_recipe_leaves_out_its_shifts():
    settings = resolve("best", {"step": "array", "order": "board"})
    assert isinstance(settings, RunSettings) and settings.shift == 0


def test_images_are_written_into_a_file(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["images", str(tmp_path / "x.bin"), "--images", "30"])
    assert ended.value.code == 0
    content = (tmp_path / "x.bin").read_bytes()
    assert zlib.crc32(content) == RESIDUE and ImageSetInfo.decode(content).train == 30
    assert (
        "30 training and 10,000 test images of 784 pixels of 1 bits, 1,003,044 bytes"
        in capsys.readouterr().out
    )
    with pytest.raises(SystemExit) as ended:
        main(["images", str(tmp_path / "x.bin"), "--images", "70000"])
    assert ended.value.code == 2
    assert "--images must be 1..60000, or 0 for all, not 70000" in capsys.readouterr().err
    assert (tmp_path / "x.bin").read_bytes() == content


def test_a_set_of_other_sizes():
    x = np.ones((3, 9), np.uint8)
    images = ImageSet(x, x[:, 0], x, x[:, 0], 1, 2, bytes(16))
    assert images.info.size == 2 and images.encode()[IMAGE_SET.size :][:3] == b"\1\xff\3"
