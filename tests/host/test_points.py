"""Training runs as points: run once, kept as files, the same whoever runs them."""

import hashlib
import json

import pytest

from qcloop.array import ArrayConfig, GoldenArray
from qcloop.contract.parts import LEARNING_PARTS
from qcloop.errors import ArrayError, ConfigError, DeviceError, RunError
from qcloop.sweep.parallel import run_point, run_points
from qcloop.sweep.points import AS_BEFORE, Outcome, Point, built_in_data
from qcloop.training.trainer import Trainer


def small(**given):
    return Point.of("paper", **{"images": 100, "epochs": 2, **given})


def ignore(point, outcome):
    pass


def test_a_point_is_the_run_that_a_trainer_makes(tmp_path):
    point = small(states=16, seed=3)
    outcome = run_point(point, tmp_path)
    trainer = Trainer(
        point.settings, point.profile, built_in_data(), GoldenArray(point.settings.array_config)
    )
    trainer.initialise()
    while not trainer.finished:
        list(trainer.run_epoch())
    assert outcome == Outcome(tuple(trainer.progress.history), trainer.cost())
    assert outcome.accuracy == trainer.progress.history[-1].test_accuracy
    assert Outcome.load(point.path(tmp_path)) == outcome


def test_a_finished_point_is_read_not_run_again(tmp_path):
    point = small()
    first = run_point(point, tmp_path)
    path = point.path(tmp_path)
    values = json.loads(path.read_text())
    values["history"][-1]["test_accuracy"] = 0.125
    path.write_text(json.dumps(values))
    assert run_point(point, tmp_path).accuracy == 0.125 != first.accuracy
    assert run_points([point], tmp_path, 1, ignore)[point].accuracy == 0.125


@pytest.mark.parametrize(
    "changes",
    [{"seed": 2}, {"states": 16}, {"reading": "spread"}, {"sigma": 2.0}, {"rate": 1.0}, {"epochs": 3}],
)
def test_whatever_decides_the_outcome_is_in_the_name_of_its_file(changes, tmp_path):
    assert small(**changes).path(tmp_path) != small().path(tmp_path)


def test_a_new_setting_that_does_what_was_done_before_leaves_the_name_as_it_was(tmp_path):
    def name(description):
        text = json.dumps(description, sort_keys=True)
        return f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"

    description = small().description()
    assert AS_BEFORE.items() <= description["settings"].items()
    assert small().path(tmp_path).name != name(description)
    description["settings"] = {
        key: value for key, value in description["settings"].items() if key not in AS_BEFORE
    }
    assert small().path(tmp_path).name == name(description)


@pytest.mark.parametrize("changes", [{"boards": 2}, {"input_encoding": "bit-serial", "input_bits": 8}])
def test_a_new_setting_that_does_something_is_in_the_name(changes, tmp_path):
    point = small(**changes)
    others = {key: value for key, value in changes.items() if key not in AS_BEFORE}
    assert point.path(tmp_path) != small(**others).path(tmp_path)


def test_a_description_says_all_that_repeats_the_run():
    description = small(device="B", sigma=2.0).description()
    assert description["settings"]["sigma"] == 2.0
    assert description["profile"]["name"] == "B-sigma-2"
    assert description["data_sha256"] == built_in_data().sha256


def test_two_processes_give_what_one_gives_and_a_point_runs_once(tmp_path):
    points = [small(seed=seed) for seed in (1, 2, 3)]
    seen = []
    parallel = run_points([*points, points[0]], tmp_path / "two", 2, lambda point, _: seen.append(point))
    assert sorted(p.settings.seed for p in seen) == [1, 2, 3]
    assert parallel == run_points(points, tmp_path / "one", 1, ignore)


def test_what_was_finished_before_an_interruption_is_kept(tmp_path):
    points = [small(seed=seed) for seed in (1, 2, 3)]

    def interrupt(point, outcome):
        if point is points[1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_points(points, tmp_path, 1, interrupt)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(kept) == 2
    assert len(run_points(points, tmp_path, 1, ignore)) == 3
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in kept} == kept


def test_a_damaged_outcome_is_named(tmp_path):
    point = small()
    point.path(tmp_path).write_text('{"history": []')
    with pytest.raises(RunError, match=r"[0-9a-f]{24}\.json is not the outcome of a run .* delete it"):
        run_points([point], tmp_path, 1, ignore)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot make the folder .*file/points"):
        run_points([small()], tmp_path / "file" / "points", 1, ignore)


def test_points_are_checked_as_the_command_line_checks():
    with pytest.raises(ConfigError, match="rate must be 1e-06"):
        small(rate=0.0)
    with pytest.raises(DeviceError, match="not 65"):
        small(states=65)


def test_a_point_whose_array_is_to_make_the_step_needs_a_board_that_does():
    point = Point.of(step="array", images=10, epochs=1)
    point.check()
    point.check(ArrayConfig(4, 1 << 15, 1024, parts=LEARNING_PARTS))
    with pytest.raises(ArrayError, match="this array has no training step of its own"):
        point.check(ArrayConfig(4, 1 << 16, 1024))
