"""`qcloop sweep`: its file, its points on processes and clusters, what is kept, and its report."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from few_images import write_few

from qcloop import __version__
from qcloop.cli import sweep as command
from qcloop.device import builtin, save_profile
from qcloop.errors import ClusterError, LinkError, RunError, SweepError
from qcloop.report.sweep import sweep_report
from qcloop.reproduce import beyond, wires
from qcloop.run.folder import lock_folder
from qcloop.sweep import cluster
from qcloop.sweep.parallel import run_point
from qcloop.sweep.plan import Plan
from qcloop.sweep.points import Outcome, Point, Source, compute
from qcloop.sweep.run import Sweep
from qcloop.sweep.workers import Failure, Worker, run_on, run_safely
from qcloop.training.settings import RunSettings

EXAMPLES = Path(__file__).parents[2] / "examples" / "sweep"
PATIENCE = 60.0


@pytest.fixture(scope="session")
def few(tmp_path_factory):
    """Return a folder of IDX files with a few images of MNIST."""
    return write_few(tmp_path_factory.mktemp("few"), 300, 100)


@pytest.fixture
def write(tmp_path, few):
    """Return a writer of sweep files of tiny runs: what stands before the settings, settings, and after."""

    def write(top="", settings="", rest="", epochs=1):
        file = tmp_path / "tiny.toml"
        network = "" if "network" in rest else 'network = "784-10"\n'
        base = f'data = "{few}"\n{network}epochs = {epochs}\n'
        file.write_text(f"{top}\n[settings]\n{base}{settings}\n{rest}\n")
        return file

    return write


@pytest.fixture
def sweep(run, tmp_path):
    """Return a caller of `qcloop sweep` on two processes, into the folder ``out``."""

    def call(file, *arguments, jobs=("--jobs", 2)):
        return run("sweep", file, "-o", tmp_path / "out", *jobs, *arguments)

    return call


def rows(folder):
    return pq.read_table(folder / "results.parquet").to_pylist()


def tiny(few, **given):
    point = Point.of(**{"network": "784-10", "epochs": 1, **given})
    return replace(point, source=Source(str(few)))


# -- the file -------------------------------------------------------------------------------------


def test_a_file_is_the_product_of_its_lists_and_its_extra_points(write):
    plan = Plan.load(
        write(
            "seeds = [5, 7]",
            'update = "nearest"',
            "[grid]\nstates = [4, 16]\ninput-bits = [1, 8]\n"
            "[[point]]\nstates = 64\nseed = 1\n[[point]]\nrate = 2",
        )
    )
    found = [(p.settings.states, p.settings.input_bits, p.settings.seed) for p in plan.points]
    grid = [(states, bits, seed) for states in (4, 16) for bits in (1, 8) for seed in (5, 7)]
    assert found == [*grid, (64, 1, 1), (32, 1, 5), (32, 1, 7)]
    assert [entry.label for entry in plan.entries[-3:-1]] == ["states 64, seed 1", "rate 2, seed 5"]
    assert plan.entries[0].label == "states 4, input-bits 1, seed 5"
    assert plan.points[-1].settings.rate == 2.0 and plan.points[0].settings.rate == 1.284
    assert (plan.swept, plan.grid, plan.grid_entries) == (
        ("states", "input_bits", "rate"),
        ("states", "input_bits"),
        8,
    )


@pytest.mark.parametrize(
    ("top", "rest", "seeds"),
    [
        ("", "", [1]),
        ("seeds = 3", "", [1, 2, 3]),
        ("", "seed = 4", [4]),
        ("seeds = [9]", "[[point]]\nseed = 2", [2]),
    ],
)
def test_seeds(write, top, rest, seeds):
    assert [point.settings.seed for point in Plan.load(write(top, rest=rest)).points] == seeds


def test_an_extra_point_that_the_grid_has_is_there_once(write):
    plan = Plan.load(write("", "", "[grid]\nstates = [4, 16]\n[[point]]\nstates = 16"))
    assert [entry.label for entry in plan.entries] == ["states 4, seed 1", "states 16, seed 1"]


def test_a_recipe_may_be_swept(write):
    plan = Plan.load(write("", "", '[grid]\nrecipe = ["paper", "best"]'))
    assert [str(point.settings.update) for point in plan.points] == ["nearest", "mixed"]


def test_paths_are_as_from_the_folder_of_the_file(write, tmp_path, monkeypatch):
    save_profile(builtin("B", 8), tmp_path / "mine.toml")
    file = write("", 'device = "mine.toml"')
    monkeypatch.chdir("/")
    point = Plan.load(file).points[0]
    assert (point.profile.states, point.settings.device) == (8, "mine.toml")
    assert point.source.load().train_images.shape == (300, 784)


def test_the_map_is_the_map_of_reproduce():
    plan = Plan.load(EXAMPLES / "map.toml")
    expected = [point for points in beyond.map_points(None, (1, 2, 3)).values() for point in points]
    assert plan.points == expected and len(expected) == 189
    names = {point.path(Path()) for point in plan.points}
    assert names == {point.path(Path()) for point in expected}


def test_the_sweep_of_wires_has_the_points_of_reproduce_with_resistance():
    plan = Plan.load(EXAMPLES / "wires.toml")
    expected = {point for point in wires.WIRES.points((1, 2, 3)) if point.settings.wire_resistance}
    assert set(plan.points) == expected and len(plan.points) == 144
    assert not any(entry.error for entry in plan.entries)


def test_the_quick_example_is_right():
    plan = Plan.load(EXAMPLES / "sweep.toml")
    assert len(plan.points) == 18 and not any(entry.error for entry in plan.entries)


@pytest.mark.parametrize(
    ("top", "settings", "rest", "message"),
    [
        ("", "epoch = 3", "", "unknown setting 'epoch' in [settings]: did you mean 'epochs'?"),
        ("", "", "[grid]\nstate = [3]", "unknown setting 'state' in [grid]: did you mean 'states'?"),
        ("", "", "[[point]]\ninput-bit = 3", "'input-bit' in [[point]] number 1: did you mean 'input-bits'?"),
        ("", "qwertz = 3", "", "unknown setting 'qwertz' in [settings]: the settings are network, device"),
        ("seed = 3", "", "", "unknown 'seed': did you mean 'seeds'?"),
        ("", "", "[gird]\nstates = [3]", "unknown 'gird': did you mean 'grid'?"),
        ("", "states = [3, 4]", "", "[settings] states: a list of values belongs in [grid]"),
        ("", "", "[grid]\nstates = 3", "[grid] states must be a list of values, not 3; one value belongs in"),
        ("", "", "[grid]\nstates = []", "[grid] states must be a list of values, not []"),
        ("", "", "[grid]\nstates = [4, 2.5]", "[grid] setting states must be of type int, not 2.5"),
        ("", "", "[grid]\nstates = [4, 8, 4]", "[grid] states: 4 stands in it twice"),
        ("", "", "[grid]\nseed = [4]", "[grid] seed: seeds have a line of their own"),
        ("", "rate = true", "", "[settings] setting rate must be of type float, not True"),
        ("", "recipe = 3", "", "[settings] setting recipe must be of type str, not 3"),
        ("", "states = 4", "[grid]\nstates = [8]", "states stands in [settings] and in [grid]"),
        ("", "input_bits = 1\ninput-bits = 1", "", "[settings] has input_bits twice"),
        ("seeds = 0", "", "", "seeds must be a count of 1 or more, or a list of integers, not 0"),
        ("seeds = [1, 2, 1]", "", "", "seeds: 1 stands in it twice"),
        ("seeds = ['a']", "", "", "seeds: setting seed must be of type int, not 'a'"),
        ("seeds = 2", "seed = 2", "", "there are seeds, and a seed in [settings]"),
        ("seeds = 1_000_000", "", "[grid]\nstates = [2, 3]", "more than 1,000,000 points"),
        ("ports = 'sim'", "", "", "ports must be a list of names of ports, not 'sim'"),
        ("ports = ['/dev/a', '/dev/a']", "", "", "ports: /dev/a stands in it twice"),
        ("baud = 'fast'", "", "", "baud must be a number of bits a second, not 'fast'"),
        ("point = 3", "", "", "[point] must be written [[point]]"),
        ("= 3", "", "", "is not TOML: Invalid statement (at line 1, column 1)"),
    ],
)
def test_mistakes_in_the_file_name_file_and_place(top, settings, rest, message, write, sweep, tmp_path):
    file = write(top, settings, rest)
    status, _, err = sweep(file)
    assert status == 2 and err.count("\n") == 1
    assert str(file) in err and message in err
    assert not (tmp_path / "out").exists()


def test_files_that_cannot_be_read(sweep, tmp_path):
    assert "cannot read sweep file" in sweep(tmp_path / "none.toml")[2]
    (tmp_path / "latin.toml").write_bytes(b"# \xe4")
    assert "is not UTF-8 text (byte 2)" in sweep(tmp_path / "latin.toml")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jobs", "0"], "jobs must be 1 or more, not 0"),
        (["--jobs", "2", "--cluster", "tcp://localhost:1"], "--jobs is for this machine"),
    ],
)
def test_contradicting_options(arguments, message, write, sweep):
    status, _, err = sweep(write(), *arguments, jobs=())
    assert status == 2 and message in err


def test_ports_and_processes_contradict(write, sweep):
    status, _, err = sweep(write("ports = ['/dev/none']"))
    assert status == 2 and "names ports, one worker each: leave --jobs out, or the ports" in err


# -- running --------------------------------------------------------------------------------------


def test_a_sweep_leaves_a_table_of_what_each_point_came_to(write, sweep, few, tmp_path):
    file = write("seeds = 2", "", "[grid]\nstates = [4, 32]\nsigma = [0.0, 2.0]", epochs=2)
    status, out, err = sweep(file)
    assert (status, err) == (0, "")
    assert "8 of 8 points" in out and f"results in {tmp_path}/out/results.parquet" in out
    table = pq.read_table(tmp_path / "out" / "results.parquet")
    assert table.schema.metadata[b"qcloop_sweep_file"].decode() == file.read_text()
    about = json.loads(table.schema.metadata[b"qcloop"])
    assert about["version"] == __version__ and about["swept"] == ["states", "sigma"]
    assert set(RunSettings().to_dict()) < set(table.column_names)
    found = table.to_pylist()
    assert len(found) == 8 and {row["status"] for row in found} == {"finished"}
    assert [(row["states"], row["sigma"], row["seed"]) for row in found[:3]] == [
        (4, 0, 1),
        (4, 0, 2),
        (4, 2, 1),
    ]
    row, outcome = found[-1], compute(tiny(few, epochs=2, states=32, sigma=2.0, seed=2))
    assert row["test_accuracy"] == outcome.accuracy and row["best_accuracy"] == outcome.best.test_accuracy
    assert row["test_accuracies"] == [each.test_accuracy for each in outcome.history]
    assert row["array_sha256"] == outcome.history[-1].array_sha256
    for name, value in outcome.cost.to_dict().items():
        assert row[name] == value
    assert row["seconds"] > 0 and row["error"] is None and row["data"] == str(few)
    groups = [[each["test_accuracy"] for each in found[start : start + 2]] for start in range(0, 8, 2)]
    best = max(groups, key=np.mean)
    said = f"best mean test accuracy {100 * np.mean(best):.2f} ± {100 * np.std(best, ddof=1):.2f} %"
    last = out.splitlines()[-1]
    assert last.startswith(f"{said} (mean ± standard deviation, n = 2 seeds): states ")


def test_what_is_finished_is_not_run_again(write, sweep, tmp_path, monkeypatch):
    file = write("seeds = 2", "", "[grid]\nstates = [4, 32]")
    assert sweep(file)[0] == 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "points").iterdir()}
    before = rows(tmp_path / "out")
    file.write_text(file.read_text().replace("seeds = 2", "seeds = 3"))
    status, out, _ = sweep(file)
    assert status == 0 and "4 of 6 points are finished" in out
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    monkeypatch.setattr("qcloop.sweep.start.run_on", None)  # nothing is left to run
    file.write_text(file.read_text().replace("seeds = 3", "seeds = 2"))
    assert sweep(file)[0] == 0
    assert rows(tmp_path / "out") == before


def test_a_dry_run_lists_the_points_and_writes_nothing(write, sweep, tmp_path):
    file = write("seeds = 2", "", "[grid]\nstates = [4, 99]")
    status, out, _ = sweep(file, "--dry-run")
    assert status == 0 and "states 4, seed 2: to run\n" in out
    assert "states 99, seed 1: cannot run: conductance states must be 2..64, not 99" in out
    assert "0 of 4 points are finished, 2 cannot run" in out
    assert not (tmp_path / "out").exists()
    sweep(file, "--keep-going")
    assert "states 4, seed 2: finished\n" in sweep(file, "--dry-run")[1]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("states = [32, 65]", "conductance states must be 2..64, not 65"),
        ("cells = [524288, 4096]", "needs 12544 cells"),
        ("images = [0, 301]", "images must be at most 300"),
        ('network = ["784-10", "100-10"]', "starts at 100, but the images"),
        ('device = ["A", "C.toml"]', "cannot read device file"),
        ('policy = ["direct", "push"]', "unknown policy 'push'"),
        ("read-noise = [0.0, 1e9]", "read-noise must be at most"),
    ],
)
def test_a_point_that_cannot_run_is_named_before_any_is_run(grid, message, write, sweep, tmp_path):
    status, _, err = sweep(write("", "", f"[grid]\n{grid}"))
    assert status == 2 and message in err and "1 of 2 points cannot run" in err
    assert not (tmp_path / "out").exists()


def test_with_keep_going_the_others_are_run_and_the_exit_says_that_one_is_missing(write, sweep, tmp_path):
    status, out, err = sweep(write("", "", "[grid]\nstates = [4, 65]"), "--keep-going")
    assert status == SweepError.exit_code == 4
    assert (
        "1 of 2 points are missing: 1 failed (states 65, seed 1: conductance states must be 2..64, not 65)"
        in err
    )
    assert "best test accuracy" in out and "% (n = 1 seed): states 4" in out
    finished, failed = rows(tmp_path / "out")
    assert (finished["status"], failed["status"]) == ("finished", "failed")
    assert failed["error"] == "conductance states must be 2..64, not 65" and failed["states"] == 65


def test_a_point_that_fails_while_it_runs_is_recorded_and_the_others_go_on(
    write, sweep, tmp_path, monkeypatch
):
    file = write("seeds = 2", "", "[grid]\nimages = [100, 301, 200]")
    monkeypatch.setattr(Point, "check", lambda self: None)
    status, _, err = sweep(file)
    assert status == 4 and "failed: images 301, seed 2: images must be at most 300" in err
    assert "2 of 6 points are missing: 2 failed" in err
    assert [row["status"] for row in rows(tmp_path / "out")] == ["finished"] * 2 + ["failed"] * 2 + [
        "finished"
    ] * 2
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "4 of 6 points are finished" in sweep(file, "--dry-run")[1]


def test_an_unforeseen_error_says_what_and_where():
    def divide():
        return 1 / 0

    failure = run_safely(divide)
    assert re.fullmatch(r"ZeroDivisionError: division by zero \(test_sweep\.py, line \d+\)", failure.error)


def test_a_link_error_is_not_the_fault_of_the_point():
    def lose():
        raise LinkError("gone")

    with pytest.raises(LinkError):
        run_safely(lose)


class Deadly(Worker):
    """A worker that some seeds kill: 3 always, 2 the first time, which a file remembers."""

    folder: Path

    def submit(self, point):
        died = self.folder / "died"

        def run(point):
            import os

            if point.settings.seed == 3 or (point.settings.seed == 2 and not died.exists()):
                died.touch()
                os.kill(os.getpid(), 9)
            return compute(point)

        return self._submit(run, point)


def test_a_worker_that_dies_costs_one_try_of_its_own_point_alone(few, tmp_path):
    Deadly.folder = tmp_path
    points, said = [tiny(few, seed=seed) for seed in range(1, 7)], []
    results = dict(run_on([Deadly(), Deadly()], points, said.append))
    failures = {p.settings.seed: r for p, r in results.items() if isinstance(r, Failure)}
    assert set(results) == set(points) and list(failures) == [3]
    assert failures[3].error.startswith("lost its worker 2 times: a worker process died")
    assert len(said) == 3  # twice for seed 3, once for seed 2
    assert results[points[1]] == compute(points[1])


def test_workers_end_with_an_interrupted_sweep(few):
    workers = [Worker(), Worker()]
    results = run_on(workers, [tiny(few, seed=seed) for seed in (1, 2, 3)])
    pid = int(next(results)[1].worker.rpartition(" ")[2])
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_second_sweep_in_the_same_folder_is_refused(write, sweep, tmp_path):
    (tmp_path / "out").mkdir()
    lock = lock_folder(tmp_path / "out")
    status, _, err = sweep(write())
    lock.release()
    assert status == 2 and "is in use by another process" in err


def test_a_damaged_point_is_named(write, sweep, tmp_path):
    file = write()
    sweep(file)
    (path,) = (tmp_path / "out" / "points").iterdir()
    path.write_text('{"history": [], "cost": {}}')
    status, _, err = sweep(file)
    assert status == 2 and f"{path} is not the outcome of a run" in err


def test_a_folder_that_cannot_be_made(write, run, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run("sweep", write(), "-o", tmp_path / "file" / "x")
    assert status == 2 and "cannot make the folder" in err


def test_the_table_is_there_while_points_are_run(write, tmp_path, monkeypatch):
    monkeypatch.setattr("qcloop.sweep.run._PAUSE", 0.0)
    monkeypatch.setattr("qcloop.sweep.run._SHARE", float("inf"))
    plan = Plan.load(write("seeds = 3"))
    with Sweep(plan, tmp_path / "out") as one:
        seen = []
        results = ((point, compute(point)) for point in plan.points)
        one.run(results, lambda *_: seen.append([row["status"] for row in rows(tmp_path / "out")]))
    assert seen == [["finished"] * n + ["missing"] * (3 - n) for n in (1, 2, 3)]


# -- killed and interrupted -----------------------------------------------------------------------


def start(file, out):
    return subprocess.Popen(
        [sys.executable, "-m", "qcloop", "sweep", str(file), "-o", str(out), "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_points(folder, count):
    end = monotonic() + PATIENCE
    while len(list(folder.glob("points/*.json"))) < count:
        assert monotonic() < end, "no points were finished"
        sleep(0.01)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(
    "how",
    [
        signal.SIGKILL,
        signal.SIGINT,
        *(pytest.param(how, marks=pytest.mark.slow) for how in (signal.SIGTERM, signal.SIGHUP)),
    ],
)
def test_what_was_finished_before_the_end_is_kept(how, write, sweep, tmp_path):
    file, out = write("seeds = 30", epochs=60), tmp_path / "out"
    process = start(file, out)
    wait_for_points(out, 3)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does: the workers get it, too
    else:
        process.send_signal(how)
    _, err = process.communicate(timeout=PATIENCE)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("points/*.json")}
    assert 3 <= len(kept) < 30
    workers = {json.loads(path.read_text())["worker"] for path in kept}
    end = monotonic() + PATIENCE
    while not all(gone(int(worker.rpartition(" ")[2])) for worker in workers):
        assert monotonic() < end, "workers outlive the sweep"
        sleep(0.05)
    if how != signal.SIGKILL:
        status, word = {
            signal.SIGINT: (130, "interrupted"),
            signal.SIGTERM: (143, "stopped by SIGTERM"),
            signal.SIGHUP: (129, "stopped by SIGHUP"),
        }[how]
        assert process.returncode == status
        line = f"{word}: {len(kept)} of 30 points are finished and kept; the same command goes on\n"
        assert err == line
        assert sum(row["status"] == "finished" for row in rows(out)) == len(kept)
    file.write_text(file.read_text().replace("seeds = 30", f"seeds = {len(kept) + 4}"))
    status, text, _ = sweep(file)
    assert status == 0 and re.match(r"\d+ of", text)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert {row["status"] for row in rows(out)} == {"finished"}


# -- points that are run again --------------------------------------------------------------------

GRID = "[grid]\nstates = [4, 16]"


@pytest.fixture
def finished(write, tmp_path):
    """Return a maker of a sweep file whose points are finished, and of the line that another one gets."""
    folder = tmp_path / "out"

    def make(**given):
        for point in Plan.load(write(**given)).points:
            run_point(point, folder / "points")

    make.line = lambda **given: Sweep(Plan.load(write(**given)), folder).why_again
    (folder / "points").mkdir(parents=True)
    return make


def test_a_changed_setting_is_why_points_are_run_again(finished, sweep, write, tmp_path):
    finished(rest=GRID)
    line = "2 points are run again: epochs was 1, is 2 now"
    assert finished.line(rest=GRID, epochs=2) == line
    assert sweep(write(rest=GRID, epochs=2), "--dry-run")[1].endswith(f"0 cannot run\n{line}\n")
    assert finished.line(rest=GRID, epochs=2, settings="rate = 2\ndecay = 0.5\nbatch = 3") == (
        "2 points are run again: batch was 20, is 3 now; epochs was 1, is 2 now; rate was 0.5, is 2.0 now "
        "and 1 more"
    )
    one = "[[point]]\nstates = 4"
    assert finished.line(rest=one, epochs=2) == "1 point is run again: epochs was 1, is 2 now"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"top": "seeds = 3"},
        {"rest": "[grid]\nstates = [4, 16, 64]"},
        {"rest": "[grid]\nstates = [4]"},
    ],
)
def test_nothing_is_run_again_where_points_come_or_go(finished, given):
    finished(rest=GRID)
    finished(rest=GRID, epochs=2)
    assert finished.line(**{"rest": GRID, **given}) == ""


def test_a_device_file_other_data_and_another_version_are_why(finished, tmp_path, few, monkeypatch):
    device = 'device = "mine.toml"'
    save_profile(builtin("B", 8), tmp_path / "mine.toml")
    finished(settings=device)
    save_profile(builtin("A", 8), tmp_path / "mine.toml")
    line = "1 point is run again: device mine.toml had another name, source, spread"
    assert finished.line(settings=device) == line
    save_profile(builtin("B", 8), tmp_path / "mine.toml")
    other = write_few(tmp_path / "other", 200, 100)
    digests = [Source(str(folder)).load().sha256[:12] for folder in (few, other)]
    file = tmp_path / "tiny.toml"
    file.write_text(file.read_text().replace(str(few), str(other)))
    line = Sweep(Plan.load(file), tmp_path / "out").why_again
    assert line == f"1 point is run again: data had SHA-256 {digests[0]}, have {digests[1]} now"
    monkeypatch.setattr("qcloop.sweep.points.__version__", "9.9")
    assert finished.line(settings=device) == f"1 point is run again: qcloop was {__version__}, is 9.9 now"


def test_files_that_are_no_outcomes_say_nothing(finished, tmp_path):
    for name, text in (("a", "{}"), ("b", "x"), ("c", "[1]"), ("d", '{"settings": 3}')):
        (tmp_path / "out" / "points" / f"{name}.json").write_text(text)
    assert finished.line() == ""


# -- boards ---------------------------------------------------------------------------------------


def test_a_port_without_a_board_is_named_and_ends_the_sweep(write, sweep):
    status, _, err = sweep(write("ports = ['/dev/no-such-port']"), jobs=())
    assert status == 3 and "there is no port /dev/no-such-port" in err


# -- a cluster ------------------------------------------------------------------------------------


needs_dask = pytest.mark.skipif(
    find_spec("distributed") is None, reason="needs Dask: pip install 'qcloop[cluster]'"
)


@pytest.fixture(scope="module")
def dask():
    """Start a cluster of two workers, each a process that is started anew when it dies."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as started:
        yield started


@needs_dask
def test_a_sweep_on_a_cluster_has_the_results_of_one_here(dask, write, sweep, run, tmp_path):
    file = write("seeds = 2", "", "[grid]\nstates = [4, 32]")
    status, out, err = sweep(file, "--cluster", dask.scheduler_address, jobs=())
    assert (status, err) == (0, "") and "4 of 4 points" in out
    assert all(row["worker"].startswith("tcp://") for row in rows(tmp_path / "out"))
    assert run("sweep", file, "-o", tmp_path / "here", "--jobs", 1)[0] == 0
    own = {"worker": None, "seconds": None}
    assert [row | own for row in rows(tmp_path / "out")] == [row | own for row in rows(tmp_path / "here")]


@needs_dask
def test_a_worker_of_a_cluster_that_dies_costs_one_try(dask, few, tmp_path):
    died = str(tmp_path / "died")

    def make_deadly():
        import os
        from pathlib import Path

        from qcloop.sweep import cluster as there
        from qcloop.sweep.points import compute as really

        def compute(point, *arguments):
            seed = point.settings.seed
            if seed == 3 or (seed == 2 and not Path(died).exists()):
                Path(died).touch()
                os.kill(os.getpid(), 9)
            return really(point, *arguments)

        there.compute = compute

    points = [tiny(few, seed=seed) for seed in range(1, 7)]
    with cluster.connected(dask.scheduler_address) as client:
        client.register_worker_callbacks(setup=make_deadly)
        results = dict(cluster.run_on_cluster(client, points))
    failures = {p.settings.seed: r for p, r in results.items() if isinstance(r, Failure)}
    assert set(results) == set(points) and list(failures) == [3]
    assert re.fullmatch(r"lost its worker 2 times: tcp://\S+ and tcp://\S+ died", failures[3].error)


@needs_dask
def test_a_worker_with_another_qcloop_is_named(dask, monkeypatch):
    monkeypatch.setattr(cluster, "__version__", "9.9")
    message = (
        rf"worker tcp://\S+ has qcloop {re.escape(__version__)}, here it is 9\.9: install qcloop 9\.9 there"
    )
    with pytest.raises(ClusterError, match=message), cluster.connected(dask.scheduler_address):
        pass


def test_other_data_on_a_worker_is_named(few):
    point = tiny(few)
    message = rf"worker w has other data in {re.escape(str(few))}: SHA-256 [0-9a-f]{{16}}"
    with pytest.raises(Exception, match=message):
        cluster._compute(point, "0" * 64, __version__, "w")


@needs_dask
def test_a_cluster_that_is_not_there(write, sweep, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.3)
    status, _, err = sweep(write(), "--cluster", "tcp://127.0.0.1:9", jobs=())
    assert status == 3 and err.count("\n") == 1
    assert "no cluster at tcp://127.0.0.1:9" in err


@needs_dask
@pytest.mark.parametrize("address", ["localhost:8786", "foo://localhost:1", "tcp://localhost"])
def test_an_address_that_is_none(address, write, sweep):
    status, _, err = sweep(write(), "--cluster", address, jobs=())
    assert (
        status == 3 and f"no address of a cluster: '{address}'; expected what `dask scheduler` prints" in err
    )


@needs_dask
def test_a_cluster_whose_workers_are_gone(write, sweep, few, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(cluster, "LONGEST_WAIT", 0.5)
    monkeypatch.setattr(cluster, "_LOOK", 0.1)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as one:
        address = one.scheduler_address
        with cluster.connected(address) as client:
            results = cluster.run_on_cluster(client, [tiny(few, seed=s, epochs=200) for s in (1, 2, 3)])
            assert isinstance(next(results)[1], Outcome)
            one.scale(0)
            with pytest.raises(ClusterError, match=rf"cluster at {address} has had no workers for 0\.5 s"):
                list(results)
        monkeypatch.setattr(cluster, "_PATIENCE", 1.0)
        status, _, err = sweep(write(), "--cluster", address, jobs=())
    assert status == 3 and f"the cluster at {address} has no workers: start some by `dask worker" in err


# -- the report -----------------------------------------------------------------------------------


def report_of(write, sweep, run, tmp_path, *arguments):
    sweep(write(*arguments), "--keep-going")
    status, out, err = run("report", tmp_path / "out")
    assert (status, err) == (0, "") and "report in" in out
    return (tmp_path / "out" / "report.html").read_text()


def cells(page):
    return [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)]


def test_the_report_of_one_setting_has_lines_and_a_table_over_the_seeds(write, sweep, run, tmp_path):
    page = report_of(write, sweep, run, tmp_path, "seeds = 3", "", "[grid]\nsigma = [0.0, 4.0]")
    assert page.count("<svg") == 1 and "Test accuracy against sigma." in page
    final = [100 * row["test_accuracy"] for row in rows(tmp_path / "out") if row["sigma"] == 4.0]
    assert f"{np.mean(final):.2f} ± {np.std(final, ddof=1):.2f}" in cells(page)
    assert f"{min(final):.2f} .. {max(final):.2f}" in cells(page)
    assert "https:" not in page and "<script" not in page


def test_the_report_of_two_settings_has_a_map(write, sweep, run, tmp_path):
    page = report_of(write, sweep, run, tmp_path, "", "", "[grid]\nsigma = [0.0, 4.0]\nstates = [4, 8, 16]")
    assert "Heat map of the test accuracy by sigma and states; from " in page
    for row in rows(tmp_path / "out"):
        assert f">{100 * row['test_accuracy']:.1f}</text>" in page


def test_the_report_of_three_settings_has_a_map_for_each_value_of_the_third(write, sweep, run, tmp_path):
    grid = '[grid]\nupdate = ["mixed", "nearest"]\nsigma = [0.0, 2.0, 4.0]\nstates = [4, 8, 16]'
    page = report_of(write, sweep, run, tmp_path, "", "", grid)
    assert page.count("Heat map") == 2
    assert "by sigma and states, update mixed;" in page and "by sigma and states, update nearest;" in page


def test_the_report_says_what_failed_and_single_points_are_in_the_table_alone(write, sweep, run, tmp_path):
    page = report_of(
        write, sweep, run, tmp_path, "", "", "[grid]\nstates = [4, 8, 65]\n[[point]]\nrate = 0.125\n"
    )
    assert "conductance states must be 2..64, not 65" in cells(page) and "What is missing" in page
    assert "1 of 4 points are missing, 1 failed." in page
    assert "0.125" in cells(page) and "0.125" not in "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))


def test_the_report_escapes_what_the_file_says(write, sweep, run, tmp_path):
    page = report_of(write, sweep, run, tmp_path, "# <script>alert(1)</script>")
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_the_same_results_make_the_same_page(write, sweep, tmp_path):
    sweep(write("seeds = 2", "", "[grid]\nstates = [4, 8]"))
    assert sweep_report(tmp_path / "out") == sweep_report(tmp_path / "out")


def test_reports_that_cannot_be_made(write, sweep, run, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.parquet").write_bytes(b"PAR1")
    status, _, err = run("report", tmp_path / "out")
    assert status == 2 and "results.parquet does not hold the results of a sweep" in err
    pq.write_table(pa.table({"point": [1]}), tmp_path / "out" / "results.parquet")
    assert "a sweep: it has no column array_sha256" in run("report", tmp_path / "out")[2]
    with Sweep(Plan.load(write()), tmp_path / "none"):
        pass
    with pytest.raises(RunError, match=r"no point of .*/none is finished"):
        sweep_report(tmp_path / "none")


def test_names_of_devices_are_drawn_as_they_are(write, sweep, run, tmp_path):
    for name in ("a<b>$x^$&.toml", r"b $\frac{$.toml", "_c.toml"):
        save_profile(builtin("A", states=4), tmp_path / name)
    names = ", ".join(json.dumps(str(path)) for path in sorted(tmp_path.glob("*.toml")))
    sweep(write("", "images = 40", f"[grid]\ndevice = [{names}]\nrate = [0.1, 0.2]"))
    status, _, err = run("report", tmp_path / "out")
    assert (status, err) == (0, "")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "a&lt;b&gt;$x^$&amp;.toml" in page and "_c.toml" in page


def test_a_report_of_a_sweep_just_begun_says_so(run, tmp_path):
    (tmp_path / "begun" / "points").mkdir(parents=True)
    status, _, err = run("report", tmp_path / "begun")
    assert status == 2 and "no point of the sweep" in err and "is finished yet" in err


def _sweep_as_a_daemon(file, out, told):
    from click.testing import CliRunner

    result = CliRunner().invoke(command.sweep, [str(file), "--out", str(out), "--jobs", "1"])
    told.put(str(result.exception))


def test_a_sweep_in_a_daemonic_process_is_one_line(write, tmp_path):
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    arguments = (write("", "images = 40"), tmp_path / "out", told)
    process = context.Process(target=_sweep_as_a_daemon, args=arguments, daemon=True)
    process.start()
    assert "processes of its own, which a daemonic process cannot start" in told.get(timeout=60)
    process.join()
