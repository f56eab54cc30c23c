"""`qcloop train --seeds`: one run for each seed, and mean, standard deviation and n over them."""

import csv
import math
import shutil
import tomllib

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from run_contents import contents

from qcloop.cli.main import cli
from qcloop.statistic import SeedStatistic
from qcloop.sweep.summary import Summary

TRAIN = "train --network 784-10 --images 200 --epochs 1".split()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Return the folder of three short runs, and what was printed."""
    folder = tmp_path_factory.mktemp("seeds") / "three"
    done = CliRunner().invoke(cli, [*TRAIN, "--seeds", "3", "--out", str(folder)])
    assert done.exit_code == 0, done.output
    return folder, done.output


def accuracies(folder):
    """Return the accuracies that the runs in a folder ended with, by their own tables."""
    found = []
    for seed in (1, 2, 3):
        with (folder / f"seed-{seed}" / "metrics.csv").open() as file:
            found.append(float(list(csv.DictReader(file))[-1]["test_accuracy"]))
    return found


def test_a_statistic_is_that_of_a_sample():
    found = SeedStatistic.of([0.9, 0.92, 0.97])
    assert (found.n, round(found.mean, 6), round(found.std, 6)) == (3, 0.93, 0.036056)
    assert str(found) == "93.00 ± 3.61 % (n = 3)" and float(found) == found.mean
    assert found.basis == "mean ± standard deviation, n = 3 seeds"
    alone = SeedStatistic.of([0.5])
    assert math.isnan(alone.std) and str(alone) == "50.00 % (n = 1)" and alone.basis == "n = 1 seed"
    with pytest.raises(ValueError, match="one value or more"):
        SeedStatistic.of([])


def test_each_seed_is_a_run_like_any_other(seeds, run, tmp_path):
    folder, _ = seeds
    assert run(*TRAIN, "--seed", 2, "--out", tmp_path / "alone")[0] == 0
    assert contents(tmp_path / "alone") == contents(folder / "seed-2")


def test_the_last_line_has_mean_deviation_and_n(seeds):
    folder, out = seeds
    found = SeedStatistic.of(accuracies(folder))
    assert out.splitlines()[-1] == (
        f"test accuracy {found.percent()} % after epoch 1 (mean ± standard deviation, n = 3 seeds); "
        f"results in {folder}"
    )


def test_the_summary_has_the_same_numbers(seeds):
    folder, _ = seeds
    found = SeedStatistic.of(accuracies(folder))
    with (folder / "summary.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["network"], row["device"], row["states"], row["update"], row["n"]) == (
        *("784-10", "A", "32", "mixed"),
        "3",
    )
    assert float(row["test_accuracy_mean"]) == pytest.approx(found.mean, rel=1e-5)
    assert float(row["test_accuracy_std"]) == pytest.approx(found.std, rel=1e-5)
    table = pq.read_table(folder / "results.parquet").to_pylist()
    assert [line["seed"] for line in table] == [1, 2, 3]
    assert float(row["writes_mean"]) == pytest.approx(sum(line["writes"] for line in table) / 3, rel=1e-5)
    tex = (folder / "summary.tex").read_text()
    cells = f"${found.percent(sign=chr(92) + 'pm')}$"
    assert rf"784-10 & A & 32 & mixed & {cells} & 3 \\" in tex


def test_a_table_for_latex_escapes_what_a_name_may_have():
    row = {"network": "784-10", "device": "a_b&50%.toml", "states": 4, "update": "mixed"}
    rows = [
        row | {"status": "finished", "test_accuracy": 0.5, "device": name} for name in ("a_b&50%.toml", "A")
    ]
    text = Summary.of(rows, ["device"]).tex()
    assert r"a\_b\&50\%.toml & $50.00$ & 1 \\" in text and r"\begin{tabular}{lrr}" in text


def test_resume_eval_info_and_report_take_the_folder(seeds, run, tmp_path):
    folder = shutil.copytree(seeds[0], tmp_path / "three")
    status, out, err = run("eval", folder)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].endswith("% (mean ± standard deviation, n = 3 seeds)")
    assert run("info", folder)[1].count("[settings]") == 3
    status, out, err = run("report", folder)
    assert (status, err) == (0, "") and "report in" in out
    assert "± " in (folder / "report.html").read_text()
    before = [SeedStatistic.of(accuracies(folder))]
    (folder / "seed-3" / "checkpoint.npz").unlink()  # as if it were killed before its first checkpoint
    status, out, err = run("resume", folder, "--epochs", 2)
    assert (status, err) == (0, "")
    assert "after epoch 2 (mean ± standard deviation, n = 3 seeds)" in out.splitlines()[-1]
    assert SeedStatistic.of(accuracies(folder)) not in before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", 0], "seeds must be a count of 1 or more, or a list of integers, not 0"),
        (["--seeds", 2, "--seed", 7], "there are seeds, and the seed 7: leave one out"),
        (["--seeds", "many"], "'many' is not a valid integer"),
        (["--seeds", 2, "--network", "100-10"], "starts at 100"),
    ],
)
def test_what_no_seeds_are(run, tmp_path, arguments, message):
    status, out, err = run(*TRAIN, *arguments, "--out", tmp_path / "new")
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_folder_with_runs_is_not_begun_again(seeds, run):
    before = (seeds[0] / "seed-1" / "config.toml").read_bytes()
    for more in ([], ["--seeds", 2]):
        status, _, err = run(*TRAIN, *more, "--out", seeds[0])
        assert status == 2 and f"already holds runs: go on with them by `qcloop resume {seeds[0]}`" in err
    assert (seeds[0] / "seed-1" / "config.toml").read_bytes() == before
    assert tomllib.loads(before.decode())["settings"]["seed"] == 1
