"""Cells that endure a limited number of writes, in a crossbar, in a run and on its page."""

import copy
import csv
from dataclasses import replace

import numpy as np
import pytest

from qcloop.array import ArrayConfig, GoldenArray
from qcloop.crossbar import reference as crossbar_reference
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.endurance import Endurance, writes_done
from qcloop.crossbar.physics import array_settings
from qcloop.crossbar.settings import CrossbarSettings
from qcloop.device import builtin
from qcloop.errors import CheckpointError, ConfigError
from qcloop.run.checkpoint import read_checkpoint, write_checkpoint
from qcloop.run.folder import Run
from qcloop.training import reference
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer

SOURCE = {"transpose": False}
WAYS = {
    "mixed": {"rate": 2.0},
    "differential": {"scheme": "differential", "policy": "verify", "threshold": 0.7},
    "stochastic": {"update": "stochastic", "stuck_off": 0.02},
    "array": {"step": "array"},
    "array, pairs": {"step": "array", "scheme": "differential", "batch": 3, "stuck_on": 0.01},
}
EVERY = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="session")
def few(mnist):
    return replace(mnist, test_images=mnist.test_images[:60], test_labels=mnist.test_labels[:60])


def settings_of(way, **given):
    small = {"network": "784-8-10", "images": 240, "epochs": 2, "endurance": 6, "endurance_spread": 0.3}
    return resolve(None, {**small, **WAYS[way], **given})


def trainer_of(settings, data, **kernels):
    return Trainer(settings, builtin("A"), data, GoldenArray(settings.array_config), **kernels)


def finish(trainer):
    while not trainer.finished:
        for _ in trainer.run_epoch():
            pass
    return trainer


def train(settings, data, **kernels):
    trainer = trainer_of(settings, data, **kernels)
    trainer.initialise()
    return finish(trainer)


def stuck_of(trainer):
    return [trainer.array.read(layer.region)[0] == 63 for layer in trainer.network.layers]


@EVERY
def test_cells_wear_out_and_are_counted(way, few):
    settings = settings_of(way)
    trainer = train(settings, few)
    stuck = stuck_of(trainer)
    rows = trainer.progress.history
    assert [row.stuck for row in rows] == sorted(row.stuck for row in rows)
    assert rows[-1].stuck == sum(int(each.sum()) for each in stuck) > 100
    faults = settings.stuck_off + settings.stuck_on
    limits = [layer.limits for layer in trainer.network.layers]
    assert 6 < trainer.cost().most_writes <= max(int(each.max()) for each in limits)
    for layer, worn in zip(trainer.network.layers, stuck, strict=True):
        left = trainer.array.read_endurance(layer.region)
        if not faults:
            assert (worn == (left == 0)).all()
        if settings.step == "host":
            ledger = trainer.network.crossbar.ledger
            assert (ledger.left(layer.index) == np.where(worn, 0, left)).all(), "the host knows, too"
            done = writes_done(layer.limits, left)[~worn]
            assert (ledger.writes[layer.index].reshape(left.shape)[~worn] == done).all()


def test_compiled_and_plain_kernels_wear_the_cells_alike(few):
    settings = settings_of("mixed", images=64)
    kernels = {"kernels": reference, "crossbar_kernels": crossbar_reference}
    fast, plain = train(settings, few), train(settings, few, **kernels)
    assert fast.progress.history == plain.progress.history
    assert fast.cost() == plain.cost()


@EVERY
def test_a_run_goes_on_bit_for_bit_while_cells_become_stuck(way, few):
    settings = settings_of(way)
    whole = train(settings, few)
    first = trainer_of(settings, few)
    first.initialise()
    for done in first.run_epoch():
        if done >= 120:
            break
    arrays, values = first.state()
    before = sum(int(each.sum()) for each in stuck_of(first))
    second = trainer_of(settings, few)
    second.restore({name: array.copy() for name, array in arrays.items()}, copy.deepcopy(values))
    finish(second)
    assert before < whole.progress.history[-1].stuck
    assert second.progress.history == whole.progress.history
    assert second.cost() == whole.cost()
    for layer in whole.network.layers:
        left, other = (each.array.read_endurance(layer.region) for each in (whole, second))
        alive = whole.array.read(layer.region)[0] != 63
        assert (left == other)[alive].all()


def test_a_cell_that_endures_one_write_keeps_its_first(few):
    trainer = train(settings_of("mixed", endurance=1, endurance_spread=0.0, epochs=1), few)
    assert all(each.all() for each in stuck_of(trainer))
    assert trainer.cost().most_writes == 1
    codes = [trainer.array.read(layer.region)[1].copy() for layer in trainer.network.layers]
    begun = trainer_of(settings_of("mixed", endurance=1, endurance_spread=0.0), few)
    begun.initialise()
    for layer, kept in zip(begun.network.layers, codes, strict=True):
        assert (begun.array.read(layer.region)[1] == kept).all()


def test_limits_are_normal_and_those_of_the_seed():
    settings = CrossbarSettings(endurance=1000, endurance_spread=0.2, seed=3)
    limits = Endurance(settings).draw((100, 200))
    assert limits.dtype == np.uint16
    assert limits.mean() == pytest.approx(1000, rel=0.01)
    assert limits.std() == pytest.approx(200, rel=0.02)
    assert (limits == Endurance(settings).draw((100, 200))).all()
    assert (Endurance(CrossbarSettings(endurance=7)).draw((2, 3)) == 7).all()
    wide = Endurance(CrossbarSettings(endurance=65534, endurance_spread=1.0)).draw((50, 50))
    assert (wide.min(), wide.max()) == (1, 65535)
    assert Endurance(CrossbarSettings()).draw((2, 3)).size == 0


def test_without_a_limit_nothing_is_new(few):
    settings = resolve(None, {"network": "784-8-10", "images": 60, "epochs": 1})
    assert settings.array_config == ArrayConfig(settings.lanes, settings.cells)
    assert "endurance" not in settings.to_dict()
    trainer = train(settings, few)
    (row,) = trainer.progress.history
    assert row.stuck is None and "stuck" not in row.values()
    assert "stuck" not in trainer.state()[1]["progress"]["history"][0]


def test_the_folder_and_the_page_of_a_run_show_wear(mnist, tmp_path, run):
    for way in ("mixed", "array"):
        path = tmp_path / way
        with Run.create(path, settings_of(way), builtin("A"), mnist, SOURCE) as started:
            started.train()
        rows = list(csv.DictReader((path / "metrics.csv").read_text().splitlines()))
        history = started.trainer.progress.history
        assert [int(row["stuck"]) for row in rows] == [row.stuck for row in history]
        assert run("info", path)[0] == 0
    assert run("report", path, "--figures", tmp_path / "figures")[0] == 0
    assert {"wear.png", "stuck-data.csv"} <= {each.name for each in (tmp_path / "figures").iterdir()}
    page = (path / "report.html").read_text()
    assert "A cell endures 6 writes (± 30 % from cell to cell), and is then stuck." in page
    assert f"After epoch 2, {history[-1].stuck:,} of 6,370 cells are stuck" in page
    assert "Histogram of the writes of 6,370 cells" in page
    assert f"{started.trainer.cost().most_writes} programming requests" in page


def test_a_checkpoint_of_other_writes_left_is_refused(mnist, tmp_path):
    with Run.create(tmp_path / "run", settings_of("array", epochs=1), builtin("A"), mnist, SOURCE) as started:
        started.train()
    file = started.path / "checkpoint.npz"
    arrays, values = read_checkpoint(file)
    del arrays["layer0.left"]
    write_checkpoint(file, arrays, values)
    with pytest.raises(CheckpointError, match=r"'layer0\.left' is missing"):
        Run.open(started.path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"endurance": 0}, "endurance must be 1..65534 writes, not 0"),
        ({"endurance": -5}, "endurance must be 1..65534 writes, not -5"),
        ({"endurance": 65535}, "endurance must be 1..65534 writes, not 65535"),
        ({"endurance": 2.5}, "endurance must be an integer, not 2.5"),
        ({"endurance": 9, "endurance_spread": -0.1}, "endurance-spread must be 0..1, not -0.1"),
        ({"endurance": 9, "endurance_spread": 1.5}, "endurance-spread must be 0..1, not 1.5"),
        ({"endurance": 9, "endurance_spread": float("nan")}, "endurance-spread must be a finite number"),
        ({"endurance_spread": 0.1}, "endurance-spread must be 0 without endurance, not 0.1"),
        (
            {"endurance": 9, "step": "array", "order": "board"},
            "endurance must be left out with the order of the board, not 9",
        ),
    ],
)
def test_limits_out_of_range_are_named(given, message):
    with pytest.raises(ConfigError, match=message):
        resolve(None, given)


def test_64_states_and_worn_cells_exclude_each_other(mnist):
    settings = resolve(None, {"states": 64, "endurance": 100})
    with pytest.raises(ConfigError, match="64 states leave no room for stuck cells"):
        Trainer(settings, builtin("A", 64), mnist, GoldenArray(settings.array_config))


def test_an_array_without_the_part_is_refused():
    settings = CrossbarSettings(endurance=100)
    array = GoldenArray(ArrayConfig(4, 4096))
    array.configure(array_settings(settings, builtin("A")))
    expected = "this array has no limit of writes: leave --endurance out, or use a build that has it"
    with pytest.raises(ConfigError, match=expected):
        LayeredCrossbar(settings, array)


def test_cells_of_a_torch_network_wear_out_and_its_state_and_copies_go_on():
    torch = pytest.importorskip("torch")
    from qcloop.torch import QCSGD, Crossbar, QCLinear

    def make():
        torch.manual_seed(1)
        crossbar = Crossbar("A", cells=4096, endurance=5, endurance_spread=0.3)
        return torch.nn.Sequential(QCLinear(12, 6, crossbar), torch.nn.Sigmoid(), QCLinear(6, 3, crossbar))

    def learn(net, seed):
        generator, optimizer = torch.Generator().manual_seed(seed), QCSGD(net.parameters(), 2.0)
        for _ in range(15):
            x, y = torch.rand(8, 12, generator=generator), torch.randint(0, 3, (8,), generator=generator)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        crossbar = net[0].crossbar
        return [crossbar.array.read(region)[0].tolist() for region in crossbar.regions], crossbar.cost()

    net, loaded = make(), make()
    learn(net, 1)
    worn = net[0].crossbar.ledger.stuck
    copied = copy.deepcopy(net)
    loaded.load_state_dict(net.state_dict())
    loaded[0].crossbar.load_state_dict(net[0].crossbar.state_dict())
    expected = learn(net, 2)
    assert learn(copied, 2) == learn(loaded, 2) == expected
    assert net[0].crossbar.ledger.stuck > worn > 0
