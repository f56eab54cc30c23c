"""The energy of reading: its formula, what it leaves alone, and where it is shown."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
from few_images import write_few

from qcloop.array import GoldenArray
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.physics import array_settings
from qcloop.data import load_dataset
from qcloop.device import DeviceProfile, ReadPulse, builtin, load_profile, profile_from_dict, save_profile
from qcloop.errors import DeviceError
from qcloop.report.run import _cost
from qcloop.report.sweep import sweep_report
from qcloop.run.contents import read_run
from qcloop.sweep.plan import Plan
from qcloop.sweep.points import Outcome
from qcloop.sweep.results import read_results, write_results
from qcloop.sweep.summary import Summary
from qcloop.text import quantity
from qcloop.training.read_energy import read_energy
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer, make_network

PULSE = ReadPulse(0.2, 100e-9)  # 0.2^2 * 100e-9 = 4e-15 J for each microsiemens
#: Two states; a code is 1 uS.
PLAIN = DeviceProfile("plain", "made up", "uS", 1.0, (0.0, 100.0), (0.0, 0.0), read=PULSE)
A = replace(builtin("A"), read=PULSE)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Return a folder of IDX files with a few images of MNIST."""
    return write_few(tmp_path_factory.mktemp("few"), 40, 20)


def energy_of(codes, images, **given):
    """Return the energy of reading with a network of one layer, whose cells have these codes."""
    settings = resolve(None, {"device": "plain.toml", "states": 2, "bias": "none", **given})
    array = GoldenArray(settings.array_config)
    array.configure(array_settings(settings, PLAIN))
    network = make_network(settings, LayeredCrossbar(settings, array))
    network.initialise()
    state = network.state()
    assert state["layer0.cell_codes"].shape == np.shape(codes)
    state["layer0.cell_codes"] = np.array(codes, np.int16)
    return read_energy(settings, PLAIN, make_network, state, np.array(images, np.uint8))


@pytest.mark.parametrize(
    ("given", "codes", "images", "microsiemens"),
    [
        # Rows of 30, 70 and 110 uS. An input drives its share of the voltage, so the share counts twice.
        (
            {"input_bits": 8},
            [[10, 20], [30, 40], [50, 60]],
            [[255, 0, 0], [0, 51, 102]],
            (30 + 0.2**2 * 70 + 0.4**2 * 110) / 2,
        ),
        # Rows whose input is 1 get all of it, the others nothing.
        ({}, [[10, 20], [30, 40], [50, 60]], [[1, 0, 1], [0, 0, 0]], (30 + 110) / 2),
        # Both cells of a pair are read.
        ({"scheme": "differential"}, [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]], [[0, 1, 1]], 26 + 42),
        # Biases on devices are a row that is always driven.
        (
            {"step": "array", "bias": "device", "input_bits": 8},
            [[10, 20], [30, 40], [50, 60], [100, 100]],
            [[255, 0, 0], [0, 0, 0]],
            30 / 2 + 200,
        ),
    ],
    ids=["bytes", "bits", "pairs", "bias"],
)
def test_energy_by_hand(given, codes, images, microsiemens):
    found = energy_of(codes, images, network="3-2", **given)
    assert found == pytest.approx(4e-15 * microsiemens, rel=1e-12)


def trained(data, profile=A, **given):
    settings = resolve(None, {"images": 40, "epochs": 1, **given})
    trainer = Trainer(settings, profile, data, GoldenArray(settings.array_config))
    trainer.initialise()
    for _ in trainer.run_epoch():
        assert trainer.cost().image_read_energy_j is None  # not known before the end
    return trainer


@pytest.mark.parametrize(
    "given",
    [
        {"network": "28x28-3c5-p4-10", "input_bits": 8},
        {"network": "784-6-10", "cells_per_weight": 2, "update": "carry"},
        {"network": "784-6-10", "step": "array"},
    ],
    ids=["kernels", "cells", "array"],
)
def test_energy_is_the_sum_over_cells_and_vectors(given, few):
    data = load_dataset(few)
    trainer = trained(data, **given)
    total = 0.0
    for layer, (vectors, _) in zip(
        trainer.network.layers, trainer.network.vectors(trainer._test_x), strict=True
    ):
        _, codes = trainer.array.read(layer.region)
        volts = 0.2 * vectors / (255 if layer.bits == 8 else 1)
        total += float((volts**2 @ (codes / 32 * 77.5e-6)).sum())
    assert trainer.cost().image_read_energy_j == pytest.approx(total * 100e-9 / 20, rel=1e-9)


@pytest.mark.parametrize("step", ["host", "array"])
def test_nothing_of_the_run_changes(step, few):
    given = {"network": "784-6-10", "step": step, "read_noise": 0.3, "variation_gain": 0.05}
    known, unknown = (trained(load_dataset(few), profile, **given) for profile in (A, builtin("A")))
    before = known.array.positions(), known.counters(), known.progress.history
    cost = known.cost()
    assert cost.image_read_energy_j is not None and cost.image_read_energy_j > 0
    assert (known.array.positions(), known.counters(), known.progress.history) == before
    assert before == (unknown.array.positions(), unknown.counters(), unknown.progress.history)
    assert unknown.cost() == replace(cost, image_read_energy_j=None)
    assert "image_read_energy_j" not in unknown.cost().to_dict()


def test_it_is_shown_wherever_costs_are(run, tmp_path, few):
    save_profile(A, tmp_path / "mine.toml")
    folder, device = tmp_path / "run", tmp_path / "mine.toml"
    given = ["--device", device, "--network", "784-10", "--epochs", 1, "--data", few]
    status, out, _ = run("train", *given, "--out", folder)
    cost = tomllib.loads((folder / "counters.toml").read_text())["cost"]
    shown = quantity(cost["image_read_energy_j"], "J")
    assert status == 0 and shown.endswith(" nJ")
    assert f"; reading an image {shown}\n" in out
    contents = read_run(folder)
    assert contents.cost.image_read_energy_j == cost["image_read_energy_j"]
    assert ("Energy of reading an image", shown) in [row[:2] for row in _cost(contents)[0].rows]
    lost = replace(contents, config={**contents.config, "data": {"sha256": "0" * 64}})
    assert lost.cost.image_read_energy_j is None and lost.cost.writes == cost["writes"]
    assert "0.2 V for 100.0 ns" in run("device", "show", device)[1]


def test_a_sweep_has_a_column_only_where_it_is_known(tmp_path, few):
    file = tmp_path / "both.toml"
    save_profile(A, tmp_path / "mine.toml")
    file.write_text(
        f'[settings]\ndata = "{few}"\nnetwork = "784-10"\nepochs = 1\n'
        f'[grid]\ndevice = ["A", "{tmp_path / "mine.toml"}"]\n'
    )
    plan = Plan.load(file)
    trainer = trained(load_dataset(few), network="784-10")
    history, cost = tuple(trainer.progress.history), trainer.cost()
    for energies in ((None, None), (None, cost.image_read_energy_j)):
        outcomes = {
            point: Outcome(history, replace(cost, image_read_energy_j=energy))
            for point, energy in zip(plan.points, energies, strict=True)
        }
        write_results(tmp_path / "results.parquet", plan, outcomes, {})
        rows, about, _ = read_results(tmp_path / "results.parquet")
        table = Summary.of(rows, about["swept"]).table
        known = energies[1] is not None
        assert [row.get("image_read_energy_j", 0) for row in rows] == (list(energies) if known else [0, 0])
        assert ("image_read_energy_j_mean" in table) == known
        assert ("reading an image (J)" in sweep_report(tmp_path)) == known
    assert table["image_read_energy_j_mean"][1] == cost.image_read_energy_j


def test_a_file_keeps_the_pulse(tmp_path):
    save_profile(A, tmp_path / "a.toml")
    assert load_profile(tmp_path / "a.toml") == A


@pytest.mark.parametrize(
    ("read", "says"),
    [
        ({"volts": 0.2}, "missing key 'read.width_s'"),
        ({"volt": 0.2, "width_s": 1e-7}, "unknown key 'read.volt': did you mean 'read.volts'"),
        ({"volts": 200, "width_s": 1e-7}, "at most 20, not 200: was it in millivolts"),
        ({"volts": 0.2, "width_s": 100}, "at most 1, not 100: was it in nanoseconds"),
        ({"volts": -0.2, "width_s": 1e-7}, "read.volts .* above 0 and finite, not -0.2"),
        ({"volts": 0.2, "width_s": float("nan")}, "read.width_s .* not nan"),
        ({"volts": "0.2 V", "width_s": 1e-7}, "read.volts must be a number, not '0.2 V'"),
        (0.2, "read must be a table of volts, width_s, not 0.2"),
    ],
)
def test_impossible_pulses_are_named(read, says):
    with pytest.raises(DeviceError, match=says):
        profile_from_dict(
            {
                "name": "x",
                "source": "",
                "unit": "uS",
                "lsb": 1.0,
                "mean": [0, 9],
                "spread": [0, 0],
                "read": read,
            }
        )
