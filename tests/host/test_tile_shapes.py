"""The shape of tiles, given for all layers or for each: settings, runs, sweeps, several boards, PyTorch."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from few_images import write_few

from qcloop.array import golden_model
from qcloop.crossbar.sides import PerLayer, read_sides
from qcloop.data import Dataset
from qcloop.device import builtin
from qcloop.errors import CheckpointError, ConfigError
from qcloop.experiment.points import points_of
from qcloop.report.run import command_line
from qcloop.sweep.plan import Plan
from qcloop.sweep.points import Point
from qcloop.training.conversions import conversions_of
from qcloop.training.settings import RunSettings, resolve
from qcloop.training.trainer import Trainer

NETWORK = {"network": "20-7-3", "batch": 8, "epochs": 1}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Return a folder of IDX files with a few images of MNIST."""
    return write_few(tmp_path_factory.mktemp("few"), 60, 40)


def trained(**given):
    """Return a trainer after an epoch on random images of 4 x 5 pixels."""
    rng = np.random.default_rng(6)
    pixels, labels = rng.integers(0, 256, (40, 20)).astype(np.uint8), rng.integers(0, 3, 40).astype(np.uint8)
    settings = resolve(None, {**NETWORK, **given})
    array = golden_model(settings.array_config, settings.boards)
    trainer = Trainer(
        settings, builtin("A"), Dataset("random", pixels, labels, pixels, labels, (4, 5)), array
    )
    trainer.initialise()
    assert list(trainer.run_epoch())
    return trainer


def tiles(settings):
    """Return the (rows, cols) of the tiles of each layer."""
    return [layer.cut.shapes() for layer in conversions_of(settings)]


# -- what may be given ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (64, 64),
        ("64", 64),
        (np.int64(64), 64),
        ([64], 64),
        (None, None),
        ("none", None),
        ("64,none", PerLayer([64, None])),
        (" 64 , none ", PerLayer([64, None])),
        ([64, "none"], PerLayer([64, None])),
        ((None, 64), PerLayer([None, 64])),
    ],
)
def test_one_number_stands_for_all_layers_and_several_for_each(given, read):
    assert read_sides("tile-rows", given) == read
    assert read_sides("tile-rows", read) == read


@pytest.mark.parametrize(
    "given", ["", "a", "5,", ",", "1.5,none", 20.0, True, [True, 1], [], [[1]], {}, b"20"]
)
def test_what_is_no_side_is_shown(given):
    with pytest.raises(ConfigError) as raised:
        resolve(None, {**NETWORK, "tile_rows": given})
    wanted = "tile-rows must be an integer, or an integer or none for each layer, such as 64,none,10, not "
    assert str(raised.value) == f"{wanted}{given!r}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tile_rows": "4,0"}, "tile-rows must be 1..8192 or none for each layer, not 0 in 4,0"),
        ({"tile_rows": [-4, "none"]}, "tile-rows must be 1..8192 or none for each layer, not -4 in -4,none"),
        ({"tile_cols": "none,8193"}, "or none for each layer, not 8193 in none,8193"),
        (
            {"tile_cols": "1,2", "scheme": "differential"},
            "or none for each layer, since the 2 cells of a weight are in one tile, not 1 in 1,2",
        ),
        (
            {"tile_rows": "8,4,2"},
            "network 20-7-3 has 2 layers, but tile-rows names 3 (8,4,2): give one number for all layers",
        ),
        ({"tile_cols": "8,4", "network": "20-3"}, "network 20-3 has 1 layer, but tile-cols names 2 (8,4)"),
        (
            {"tile_cols": "8,4", "network": "28x28-4c5-p2-20-10"},
            "has 3 layers, but tile-cols names 2",
        ),
        (
            {"tile_rows": "4,none", "step": "array"},
            "tile-rows must be left out with the step of the array, not 4",
        ),
    ],
)
def test_sides_that_cannot_be_are_one_line(given, message):
    with pytest.raises(ConfigError) as raised:
        resolve(None, {**NETWORK, **given})
    assert message in str(raised.value)


# -- how layers are cut --------------------------------------------------------------------------------


def test_each_layer_has_tiles_of_its_own():
    settings = resolve(None, {**NETWORK, "tile_rows": "12,none", "tile_cols": "none,2"})
    assert tiles(settings) == [[(12, 7), (8, 7)], [(7, 2), (7, 1)]]
    pairs = resolve(None, {**NETWORK, "scheme": "differential", "tile_cols": "none,5"})
    assert tiles(pairs) == [[(20, 14)], [(7, 4), (7, 2)]]
    kernels = resolve(None, {"network": "28x28-4c5-p2-10", "tile_rows": "none,512"})
    assert tiles(kernels) == [[(25, 4)], [(512, 10), (64, 10)]]


def test_the_same_side_for_each_layer_is_one_side_for_all():
    one, each = trained(tile_rows=6, tile_cols=4), trained(tile_rows="6,6", tile_cols="4,none")
    assert each.progress.history == one.progress.history
    regions = [trainer.network.crossbar.regions for trainer in (one, each)]
    assert regions[0] == regions[1]


def test_boards_share_the_last_layer_when_it_is_cut():
    trainer = trained(tile_rows="none,4", tile_cols="4,none", boards=2)
    words = trainer.array.board_config.words
    boards = [[tile.region.base // words for tile in layer.cells.tiles] for layer in trainer.network.layers]
    assert boards == [[0, 1], [0, 1]]


# -- runs and sweeps -----------------------------------------------------------------------------------


def test_a_run_goes_on_with_its_sides(run, few, tmp_path):
    common = ("--network", "784-4-10", "--data", few, "--tile-rows", "300,none", "--tile-cols", "none,5")
    status, output, _ = run("train", *common, "--epochs", 1, "--out", tmp_path / "a")
    assert status == 0 and "5 tiles of at most 300 x 5 cells" in output
    assert run("train", *common, "--epochs", 2, "--out", tmp_path / "b")[0] == 0
    assert run("resume", tmp_path / "a", "--epochs", 2)[0] == 0
    ours, theirs = ((tmp_path / name / "metrics.csv").read_text() for name in "ab")
    assert ours == theirs


def test_settings_come_back_from_files_and_one_number_stays_a_number():
    settings = resolve(None, {**NETWORK, "tile_rows": 6, "tile_cols": ["none", 2]})
    values = settings.to_dict()
    assert (values["tile_rows"], values["tile_cols"]) == (6, "none,2")
    assert RunSettings.from_dict(values) == settings
    assert "--tile-cols none,2" in " ".join(command_line({"settings": values, "data": {}}))
    (point,) = points_of(network="784-4-10", tile_rows=np.array([300, 2]), images=20)
    assert point.settings.tile_rows == (300, 2)


def test_a_point_with_sides_for_each_layer_has_a_name_of_its_own(tmp_path):
    given = ({}, {"tile_rows": 6}, {"tile_rows": "6,6"}, {"tile_rows": [6, 6]}, {"tile_rows": "6,none"})
    names = [Point.of(network="784-4-10", **each).path(tmp_path) for each in given]
    assert names[2] == names[3] and len(set(names)) == 4


def test_a_sweep_over_sides(run, few, tmp_path):
    file = tmp_path / "sides.toml"
    settings = f'data = "{few}"\nnetwork = "784-4-10"\nepochs = 1\ntile-cols = [2, "none"]'
    file.write_text(f'[settings]\n{settings}\n[grid]\ntile-rows = [[300, "none"], 400, "none"]\n')
    assert [entry.label for entry in Plan.load(file).entries] == [
        "tile-rows 300,none, seed 1",
        "tile-rows 400, seed 1",
        "tile-rows none, seed 1",
    ]
    assert run("sweep", file, "--out", tmp_path / "out")[0] == 0
    table = pq.read_table(tmp_path / "out" / "results.parquet")
    assert table["tile_rows"].to_pylist() == ["300,none", "400", None]
    assert table["tile_cols"].to_pylist() == ["2,none"] * 3


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("[[300, 'none'], '300,none']", "[grid] tile_rows: [300, 'none'] stands in it twice"),
        ("[[300, 'x']]", "[grid] tile_rows must be an integer, or an integer or none for each layer"),
        ("[[1, 2, 3]]", "network 784-16-16 has 2 layers, but tile-rows names 3 (1,2,3)"),
    ],
)
def test_sides_of_a_sweep_that_cannot_be(run, grid, message, tmp_path):
    file = tmp_path / "sides.toml"
    file.write_text(f'[settings]\nnetwork = "784-16-16"\n[grid]\ntile_rows = {grid}\n')
    status, _, error = run("sweep", file, "--out", tmp_path / "out")
    assert status != 0 and message in error and error.count("\n") == 1


# -- PyTorch -------------------------------------------------------------------------------------------


def test_layers_of_pytorch_take_the_sides_in_their_order():
    torch = pytest.importorskip("torch")
    from qcloop.torch import Crossbar, QCLinear, convert

    crossbar = Crossbar("A", tile_rows=(5, None))
    first, second = QCLinear(12, 8, crossbar), QCLinear(8, 3, crossbar)
    assert [len(layer.on_array.cells.tiles) for layer in (first, second)] == [3, 1]
    line = "tile-rows 5,none is for 2 layers, and this is layer 3: give one number for all layers, or one or"
    with pytest.raises(ConfigError, match=line):
        QCLinear(3, 3, crossbar)
    three = [torch.nn.Linear(12, 8), torch.nn.Linear(8, 3), torch.nn.Linear(3, 3)]
    other = Crossbar("A", tile_rows="5,none")
    with pytest.raises(ConfigError, match=f"'2': {line}"):
        convert(torch.nn.Sequential(*three), other)
    net = convert(torch.nn.Sequential(*three[:2]), other)
    assert [len(layer.on_array.cells.tiles) for layer in net] == [3, 1]
    other.load_state_dict(crossbar.state_dict())
    with pytest.raises(CheckpointError, match="the state is of a crossbar with tile_rows 5,none, not 5"):
        Crossbar("A", tile_rows=5).load_state_dict(crossbar.state_dict())


def test_pytorch_notices_sides_of_more_layers_than_there_are():
    torch = pytest.importorskip("torch")
    from qcloop.torch import QCSGD, Crossbar, QCAdam, QCLinear, convert

    line = (
        r"has 2 layers, but tile-{} names 3 \({}\): give one number for all layers, or one or none for each"
    )
    crossbar = Crossbar("A", tile_rows=(5, None, 4))
    net = torch.nn.Sequential(QCLinear(12, 8, crossbar), QCLinear(8, 3, crossbar))
    for optimizer in (QCSGD, QCAdam):
        with pytest.raises(ConfigError, match="the crossbar " + line.format("rows", "5,none,4")):
            optimizer(net.parameters(), 0.1)
    net.append(QCLinear(3, 3, crossbar))
    QCSGD(net[:2].parameters(), 0.1)  # the crossbar has three layers by now, whoever trains them

    two = torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.Linear(8, 3))
    crossbar = Crossbar("A", tile_cols="4,none,2")
    match = "with this network the crossbar " + line.format("cols", "4,none,2")
    with pytest.raises(ConfigError, match=match):
        convert(two, crossbar)
    assert not crossbar.layers
    three = convert(two.append(torch.nn.Linear(3, 3)), crossbar)
    QCSGD(three.parameters(), 0.1)
