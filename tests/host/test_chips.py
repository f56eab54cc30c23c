"""Sweeps over chips: their points, the share of them that reaches an accuracy, and how it is shown."""

import pyarrow.parquet as pq
import pytest
from few_images import write_few

import qcloop
from qcloop.errors import ConfigError
from qcloop.report.sweep import sweep_report
from qcloop.report.yields import yield_table
from qcloop.statistic import Share
from qcloop.sweep.plan import Plan
from qcloop.sweep.results import read_results
from qcloop.sweep.summary import Summary
from qcloop.sweep.yields import ChipYield


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Return a folder of IDX files with a few images of MNIST."""
    return write_few(tmp_path_factory.mktemp("few"), 200, 100)


@pytest.fixture
def write(tmp_path, few):
    """Return a writer of sweep files of tiny runs: what stands before the settings, settings, and after."""

    def write(top="", settings="variation-gain = 0.1", rest=""):
        file = tmp_path / "tiny.toml"
        base = f'data = "{few}"\nnetwork = "784-10"\nepochs = 1\n'
        file.write_text(f"{top}\n[settings]\n{base}{settings}\n{rest}\n")
        return file

    return write


def rows_of(accuracies, **given):
    """Return rows of a table of results: (seed, chip, accuracy) each."""
    common = {"status": "finished", "variation_gain": 0.1, "variation_offset": None} | given
    return [common | {"seed": s, "chip": c, "test_accuracy": a} for s, c, a in accuracies]


# -- the points -----------------------------------------------------------------------------------


def test_each_point_is_there_for_each_chip(write):
    plan = Plan.load(write("chips = 2\nseeds = [5, 6]", rest="[grid]\nstates = [4, 16]"))
    found = [(p.settings.states, p.settings.seed, p.settings.chip) for p in plan.points]
    assert found == [(states, seed, chip) for states in (4, 16) for seed in (5, 6) for chip in (1, 2)]
    assert plan.entries[1].label == "states 4, seed 5, chip 2"
    assert (plan.swept, plan.grid_entries) == (("states",), 8)
    assert [p.settings.chip for p in Plan.load(write("chips = [9, 7]")).points] == [9, 7]
    given = Plan.load(write(), 2)
    assert given.points == Plan.load(write("chips = 2")).points and given.text.startswith("chips = 2\n")


def test_chips_that_are_alike_are_one_point(write):
    plan = Plan.load(write("chips = 3", "", "[grid]\nvariation-gain = [0, 0.1]\n[[point]]\nstates = 4"))
    found = [(p.settings.states, p.settings.variation_gain, p.settings.chip) for p in plan.points]
    assert found == [(32, 0.0, None), (32, 0.1, 1), (32, 0.1, 2), (32, 0.1, 3), (4, None, None)]
    assert plan.grid_entries == 4


@pytest.mark.parametrize(
    ("top", "settings", "rest", "message"),
    [
        ("chips = 0", "", "", "chips must be a count of 1 or more, or a list of integers, not 0"),
        ("chips = [1, 1]", "", "", "chips: 1 stands in it twice"),
        ('chips = ["a"]', "", "", "chips: setting chip must be of type int, not 'a'"),
        ("chips = 2", "", "", "chips differ by variation-gain and variation-offset: set one of them"),
        ("chips = 2", "chip = 3", "", "there are chips, and a chip in \\[settings\\]: leave one out"),
        ("", "", "[grid]\nchip = [1, 2]", "\\[grid\\] chip: chips have a line of their own .* chips = \\[1"),
    ],
)
def test_chips_that_are_none_are_one_line(write, top, settings, rest, message):
    with pytest.raises(ConfigError, match=message):
        Plan.load(write(top, settings, rest))


def test_chips_of_the_command_and_of_the_file_contradict_each_other(write):
    with pytest.raises(ConfigError, match=r"tiny\.toml says how many chips there are: leave --chips out"):
        Plan.load(write("chips = 2"), 3)


# -- the yield ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "n", "interval", "text"),
    [
        # By hand for p = 0.87, n = 100, z = 1.959964: (0.87 + 0.019207 ± 1.959964 sqrt(0.00113100 +
        # 0.0000960365)) / 1.0384146
        (87, 100, (0.790197, 0.922428), "87 of 100 chips (79 to 92 %)"),
        (0, 10, (0.0, 0.277533), "0 of 10 chips (0 to 28 %)"),
        (10, 10, (0.722467, 1.0), "10 of 10 chips (72 to 100 %)"),
        (1, 2, (0.094531, 0.905469), "1 of 2 chips (9 to 91 %)"),
    ],
)
def test_a_share_has_the_interval_of_wilson(good, n, interval, text):
    share = Share(good, n)
    assert share.interval == pytest.approx(interval, abs=2e-6) and str(share) == text
    assert share.value == good / n


def test_a_yield_is_that_of_the_means_of_the_chips():
    found = ChipYield.of(rows_of([(1, 1, 0.9), (2, 1, 0.8), (1, 2, 0.95), (2, 2, 0.97), (1, 3, 0.7)]))
    assert found.chips == pytest.approx({1: 0.85, 2: 0.96, 3: 0.7})
    assert [(found.at(x).good, found.at(x).n) for x in (0.0, 0.7, 0.71, 0.96, 0.97)] == [
        (3, 3),
        (3, 3),
        (2, 3),
        (1, 3),
        (0, 3),
    ]
    assert [(round(x, 2), share.good) for x, share in found.curve()] == [(0.7, 3), (0.85, 2), (0.96, 1)]
    # Without a chip of its own, the seed is the chip; devices that are alike are no chips.
    assert ChipYield.of(rows_of([(1, None, 0.9), (2, None, 0.8)])).chips == {1: 0.9, 2: 0.8}
    assert ChipYield.of(rows_of([(1, 1, 0.9), (1, 2, 0.8)], variation_gain=0.0)) is None
    assert ChipYield.of(rows_of([(1, 4, 0.9), (2, 4, 0.8)])) is None


def test_a_table_of_yields_has_round_accuracies():
    rows = rows_of([(1, chip, 0.9 + 0.004 * chip) for chip in range(10)], states=32)
    rows += rows_of([(1, chip, 0.9) for chip in range(2)], states=4)
    table = yield_table(Summary.of(rows, ("states",)))
    assert table.head[:4] == ("states", "chips", "worst (%)", "best (%)")
    assert table.head[4:] == ("91 % reached", "92 % reached", "93 % reached")
    assert table.rows[0] == ("32", "10", "90.00", "93.60", "70 (40 to 89)", "50 (24 to 76)", "20 (6 to 51)")
    assert table.rows[1][-3:] == ("0 (0 to 66)",) * 3


def test_a_sweep_over_chips_prints_and_keeps_their_yield(write, run, tmp_path):
    file = write("chips = 3", "", "[grid]\nvariation-gain = [0, 0.2]")
    out = tmp_path / "out"
    status, said, _ = run("sweep", file, "-o", out, "--jobs", 1, "--yield-at", 0)
    assert status == 0 and "summary.tex and yield.csv; a page" in said
    assert said.splitlines()[-1] == "yield at 0 %, variation-gain 0.2: 3 of 3 chips (44 to 100 %)"
    rows = pq.read_table(out / "results.parquet").to_pylist()
    assert [(row["variation_gain"], row["chip"]) for row in rows] == [(0.0, 1), (0.2, 1), (0.2, 2), (0.2, 3)]
    assert len({row["array_sha256"] for row in rows}) == 4

    loaded = qcloop.load(out)
    curve = loaded.yields
    assert curve["yield"][0] == 1.0 and max(curve["test_accuracy"]) == max(
        r["test_accuracy"] for r in rows[1:]
    )
    assert (out / "yield.csv").read_text() == curve.to_csv()
    middle = sorted(row["test_accuracy"] for row in rows[1:])[1]
    at = loaded.yield_at(middle)
    assert (at["variation_gain"], at["chips"]) == ([0.2], [3]) and at["reached"][0] >= 2
    with pytest.raises(ConfigError, match=r"0 to 1, such as 0\.9 for 90 %, not 90"):
        loaded.yield_at(90)

    summary = Summary.of(*read_results(out / "results.parquet")[:1], ("variation_gain",))
    assert "n = 3 chips" in summary.groups[1].basis and summary.groups[0].basis == "n = 1 seed"
    page = sweep_report(out)
    assert "Yield of the chips" in page and "mean over the chips" in page and "over the seeds" not in page
    assert {"lines", "yield"} <= set(loaded.figures)
    assert list(loaded.plot("yield").data) == list(curve)


@pytest.mark.parametrize(
    ("top", "settings", "at", "message"),
    [
        ("", "variation-gain = 0.1", 0.9, "a yield needs chips that differ: set variation-gain or"),
        ("seeds = 3", "", 0.9, "a yield needs chips that differ"),
        ("chips = 3", "variation-gain = 0.1", 90, "must be 0 to 1, such as 0.9 for 90 %, not 90"),
    ],
)
def test_a_yield_that_there_is_not_is_one_line(write, run, tmp_path, top, settings, at, message):
    status, _, error = run("sweep", write(top, settings), "-o", tmp_path / "out", "--yield-at", at)
    assert status == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_sweep_in_python_takes_chips(few, tmp_path):
    result = qcloop.sweep(
        chips=[4, 5], variation_offset=0.5, data=few, network="784-10", epochs=1, quiet=True, jobs=1
    )
    assert result.results["chip"] == [4, 5] and result.yield_at(0.0)["chips"] == [2]
    assert "n = 2 chips" in repr(result)
    alike = qcloop.sweep(data=few, network="784-10", epochs=1, quiet=True, jobs=1)
    with pytest.raises(ConfigError, match="a yield needs chips"):
        alike.yield_at(0.9)
