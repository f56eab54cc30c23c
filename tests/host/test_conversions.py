"""Tiles, converters and conversions of an image: by hand, and where they are shown."""

import pytest
from few_images import write_few

from qcloop.report.run import _cost
from qcloop.run.contents import read_run
from qcloop.training.conversions import conversions_of, describe_tiles
from qcloop.training.settings import resolve


@pytest.mark.parametrize(
    ("given", "tiles", "conversions"),
    [
        # 784 rows are 7 tiles high, 30 columns 2 wide; then 30 x 10 cells on one tile.
        ({}, [14, 1], [7 * 30, 10]),
        # The first layer has inputs of 1 bit, the second of 8.
        ({"input_encoding": "bit-serial"}, [14, 1], [7 * 30, 8 * 10]),
        ({"input_encoding": "bit-serial", "input_bits": 8}, [14, 1], [8 * 7 * 30, 8 * 10]),
        # 60 and 20 columns of cells; a pair is never parted.
        ({"scheme": "differential", "tile_cols": 25}, [7 * 3, 1], [7 * 60, 20]),
        # 24 x 24 patches of 25 pixels; then 144 * 4 = 576 rows.
        ({"network": "28x28-4c5-p2-10", "tile_rows": 512}, [1, 2], [576 * 4, 2 * 10]),
    ],
    ids=["bits", "serial", "serial-bytes", "pairs", "kernels"],
)
def test_conversions_by_hand(given, tiles, conversions):
    found = conversions_of(
        resolve(None, {"network": "784-30-10", "tile_rows": 128, "tile_cols": 16, **given})
    )
    assert [layer.tiles for layer in found] == tiles
    assert [layer.conversions for layer in found] == conversions


def test_nothing_is_said_of_layers_that_are_whole():
    for given in ({}, {"input_encoding": "bit-serial"}, {"tile_rows": 1000, "tile_cols": 1000}):
        settings = resolve(None, {"network": "784-30-10", **given})
        assert conversions_of(settings) == [] and describe_tiles(settings) == ""


def test_they_are_shown(run, tmp_path):
    few, folder = write_few(tmp_path / "few", 20, 10), tmp_path / "run"
    given = ["--network", "784-10", "--epochs", 1, "--data", few, "--tile-rows", 400, "--tile-cols", 6]
    status, out, _ = run("train", *given, "--out", folder)
    says = "direct, 4 tiles of at most 400 x 6 cells, a converter each, 20 conversions an image; update mixed"
    assert status == 0 and says in out
    table = _cost(read_run(folder))[1]
    assert table.head[-1] == "conversions of an image"
    assert table.rows == [
        ("1", "784 x 10", "2 x 2 of 400 x 6", "4", "1", "20"),
        ("all", "", "", "4", "", "20"),
    ]
