"""Python in three lines: functions do what the commands do, with the same names, defaults and errors."""

import inspect
import subprocess
import sys

import pytest
from run_contents import contents

import qcloop
import qcloop.fit
from qcloop.device import DeviceProfile, builtin
from qcloop.errors import ConfigError, DataError, DeviceError, MeasurementError, RunError
from qcloop.experiment.points import points_of
from qcloop.experiment.results import SweepResult, TemporaryFolder
from qcloop.table import ResultTable
from qcloop.training.settings import RunSettings

SMALL = {"network": "784-10", "images": 200, "epochs": 2}
WORDS = "--network 784-10 --images 200 --epochs 2".split()


@pytest.fixture(scope="module")
def result():
    """Return the result of two seeds."""
    return qcloop.train(seeds=2, quiet=True, **SMALL)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return a file of two cycles that go up and down, bent in both directions."""
    path = tmp_path_factory.mktemp("measured") / "up-down.csv"
    up = [10 + 90 * (1 - 0.8**n) for n in range(16)]
    values = [*up, *(110 - g for g in up)]
    lines = [f"{n},{g + 0.3 * (n % 3):.3f},{g - 0.3 * (n % 2):.3f}" for n, g in enumerate(values, 1)]
    path.write_text("\n".join(["pulse,G1 (uS),G2 (uS)", *lines]) + "\n")
    return path


def test_the_package_is_imported_in_no_time():
    code = "import qcloop, sys; print(*sys.modules); print(*dir(qcloop))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, names = (set(line.split()) for line in done.stdout.splitlines())
    assert not {"numpy", "numba", "matplotlib", "torch", "scipy", "click"} & loaded
    assert {"train", "resume", "load", "fit", "device", "sweep", "QcloopError"} <= names
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = qcloop.trian


def test_packages_can_be_called_and_are_still_packages():
    assert qcloop.device("A", states=16) == builtin("A", 16)
    assert qcloop.device.builtin is builtin and qcloop.fit.fit_table.__name__ == "fit_table"
    assert "drop_outliers" in inspect.signature(qcloop.fit).parameters
    assert "grid" in inspect.signature(qcloop.sweep).parameters


def test_all_settings_are_parameters_with_the_defaults_of_the_command_line():
    parameters = inspect.signature(qcloop.train).parameters
    for setting in RunSettings.options():
        if setting.name != "device":
            assert parameters[setting.name].default == setting.default
            assert setting.metadata["help"] in qcloop.train.__doc__


def test_a_result_has_mean_deviation_and_n(result):
    assert result.seeds == (1, 2) and result.accuracy.n == 2
    assert repr(result) == (
        f"<TrainResult 784-10 on A (32 states): test accuracy {result.accuracy} after epoch 2>"
    )
    assert type(result.metrics) is ResultTable and result.metrics["seed"] == [1, 1, 2, 2]
    finals = [result.metrics["test_accuracy"][at] for at in (1, 3)]
    assert result.accuracy.mean == pytest.approx(sum(finals) / 2)
    assert result.costs["seed"] == [1, 2] and min(result.costs["writes"]) > 0
    page = result._repr_html_()
    assert f"{result.accuracy.percent()} % (mean ± standard deviation, n = 2 seeds)" in page
    assert 'src="data:image/png;base64,' in page and "<script" not in page


def test_the_table_is_taken_by_arrow_as_it_is(result):
    import pyarrow

    table = pyarrow.table(result.metrics)
    assert table.num_rows == 4 and "test_accuracy" in table.column_names


def test_figures_and_page_are_those_of_the_command_line(result, tmp_path):
    assert result.figures == ["accuracy"] and "conductance" in result[1].figures
    assert result.plot()._repr_png_().startswith(b"\x89PNG")
    result.plot().save(tmp_path / "a.pdf")
    assert (tmp_path / "a-data.csv").read_text().startswith("seed,epoch,")
    page = result.report(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == page.html and "<iframe srcdoc=" in page._repr_html_()
    assert repr(page).startswith("<Page of ")
    with pytest.raises(ConfigError, match=r"several seeds have the figure accuracy only, not 'loss'"):
        result.plot("loss")
    with pytest.raises(ConfigError, match=r"there is no figure 'lost': the figures are accuracy, loss"):
        result[1].plot("lost")
    with pytest.raises(ConfigError, match="no run with seed 9: the seeds are 1, 2"):
        result[9]


def test_what_is_saved_is_the_folder_of_the_command_line(result, run, tmp_path):
    assert run("train", *WORDS, "--seeds", 2, "--out", tmp_path / "command")[0] == 0
    copy = qcloop.load(result.path).save(tmp_path / "python")
    assert copy.path == tmp_path / "python" and result.path.exists()
    for seed in ("seed-1", "seed-2"):
        assert contents(tmp_path / "python" / seed) == contents(tmp_path / "command" / seed)
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("python", "command")]
    assert names[0] == names[1]
    assert (tmp_path / "python" / "summary.csv").read_text() == (
        tmp_path / "command" / "summary.csv"
    ).read_text()
    assert "n = 2 seeds" in run("eval", tmp_path / "python")[1]
    with pytest.raises(RunError, match="is not an empty folder"):
        copy.save(tmp_path / "command")
    assert repr(qcloop.load(tmp_path / "command")) == repr(copy)


def test_a_run_goes_on_and_says_how_far_it_is(tmp_path, capsys):
    qcloop.train(out=tmp_path / "run", **{**SMALL, "epochs": 1})
    assert capsys.readouterr().out.count("epoch ") == 1
    more = qcloop.resume(tmp_path / "run", epochs=2)
    assert capsys.readouterr().out.startswith("epoch   2  loss ")
    assert more.settings.epochs == 2 and more.accuracy.n == 1 and more[1] is more
    assert more.metrics["epoch"] == [1, 2]


def test_a_temporary_folder_goes_with_its_result():
    folder = TemporaryFolder()
    path = folder.path
    result = SweepResult(path, folder)
    del folder
    assert path.is_dir() and result.path == path
    del result
    assert not path.exists()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"epoch": 3}, ConfigError, "unknown setting 'epoch': did you mean 'epochs'?"),
        ({"network": 784}, ConfigError, "setting network must be of type str, not 784"),
        ({"batch": 0}, ConfigError, "batch must be 1..65536, not 0"),
        ({"recipe": "good"}, ConfigError, "unknown recipe 'good': expected one of paper, best, gentle"),
        ({"states": 65}, DeviceError, "conductance states must be 2..64, not 65"),
        ({"device": "C"}, DeviceError, "unknown device 'C': expected one of ideal, A, B, or a TOML file"),
        ({"device": builtin("A"), "states": 4}, DeviceError, "the device A has 32 states, not 4"),
        ({"seeds": 0}, ConfigError, "seeds must be a count of 1 or more, or a list of integers, not 0"),
        ({"seeds": [3, 3]}, ConfigError, "seeds: 3 stands in it twice"),
        ({"seeds": 2, "seed": 7}, ConfigError, "there are seeds, and the seed 7: leave one out"),
        ({"data": "nowhere"}, DataError, "nowhere"),
    ],
)
def test_errors_are_those_of_the_command_line(given, error, message):
    with pytest.raises(error) as caught:
        qcloop.train(quiet=True, **given)
    assert message in str(caught.value) and isinstance(caught.value, qcloop.QcloopError)


def test_a_fit_is_a_device_to_train_on(measured, tmp_path, run):
    found = qcloop.fit(measured, model="table")
    assert (
        run("fit", measured, "-o", tmp_path / "command.toml", "--model", "table", "--name", "up-down")[0] == 0
    )
    assert found.profile == qcloop.device(str(tmp_path / "command.toml"))
    found.save(tmp_path / "python.toml")
    for suffix in (".toml", ".png", "-data.csv"):
        ours, theirs = (tmp_path / f"{name}{suffix}" for name in ("python", "command"))
        assert ours.read_bytes() == theirs.read_bytes()
    with pytest.raises(DeviceError, match="exists already"):
        found.save(tmp_path / "python.toml")
    assert "turning curve" in repr(found) and "<pre>" in found._repr_html_()
    (point,) = points_of(device=found, **SMALL)
    assert point.profile == found.profile and point.settings.device == "up-down.toml"


def test_each_device_of_a_file(tmp_path):
    path = tmp_path / "two.csv"
    rows = [
        f"{d},{c},{n},{d * (200 - 9 * n) + (7 * n * c + c) % 5}"
        for d in (1, 2)
        for c in (1, 2)
        for n in range(16)
    ]
    path.write_text("\n".join(["device,cycle,pulse,G (uS)", *rows]) + "\n")
    each = qcloop.fit(path, per_device=True, model="table")
    assert {name: one.profile.name for name, one in each.items()} == {
        "1": "two device 1",
        "2": "two device 2",
    }
    assert each["2"].profile.mean[-1] > 1.9 * each["1"].profile.mean[-1]
    with pytest.raises(
        MeasurementError, match=r"--per-device needs two devices or more, but .* names one, 1"
    ):
        path.write_text("\n".join(["device,cycle,pulse,G (uS)", *rows[:32]]) + "\n")
        qcloop.fit(path, per_device=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no device is written, since the data refuse it"),
        ({"model": "tables"}, "model must be one of equation, table, not 'tables'"),
        ({"model": "table", "column": "none"}, "none"),
        ({"model": "table", "reading": "spread"}, "reading 'spread' is for --model equation"),
    ],
)
def test_a_fit_is_refused_as_on_the_command_line(measured, given, message):
    with pytest.raises(MeasurementError) as caught:
        qcloop.fit(measured, **given)
    assert message in str(caught.value)


def test_a_sweep_over_settings_and_devices(tmp_path, run, capsys):
    mine = DeviceProfile("mine", "made up", "uS", 1.0, (10.0, 60.0, 110.0), (1.0, 1.0, 1.0))
    given = {**SMALL, "epochs": 1, "images": 60, "out": tmp_path / "sweep", "jobs": 1}
    found = qcloop.sweep(grid={"device": ["A", mine]}, seeds=2, **given)
    assert "4 of 4 points" in capsys.readouterr().out
    assert found.summary["device"] == ["A", "mine.toml"] and found.summary["n"] == [2, 2]
    assert found.results["status"] == ["finished"] * 4 and found.figures == ["lines"]
    assert repr(found).startswith("<SweepResult of 4 points: best mean test accuracy ")
    assert "device mine.toml" in found._repr_html_()
    status, out, _ = run("sweep", tmp_path / "sweep" / "sweep.toml", "--out", tmp_path / "sweep")
    assert status == 0 and "4 of 4 points are finished" in out
    assert repr(qcloop.load(tmp_path / "sweep")) == repr(found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing to sweep over: give a sweep file, or grid, seeds and settings"),
        ({"file": "x.toml", "seeds": 2}, "the sweep file x.toml says what is run: leave seeds out"),
        ({"grid": {"stats": [4]}}, "unknown setting 'stats' in [grid]: did you mean 'states'?"),
        ({"grid": {"states": 4}}, "[grid] states must be a list of values, not 4"),
        ({"grid": {"states": [65]}}, "1 of 1 points cannot run (seed 1: conductance states must be 2..64"),
        ({"grid": {"states": [4]}, "jobs": 0}, "jobs must be 1 or more, not 0"),
        ({"file": "none.toml"}, "cannot read sweep file none.toml"),
    ],
)
def test_a_sweep_that_cannot_be_is_one_line(given, message):
    with pytest.raises(ConfigError) as caught:
        qcloop.sweep(**given)
    assert message in str(caught.value)


def test_what_is_no_result_is_one_line(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        qcloop.load(tmp_path)
