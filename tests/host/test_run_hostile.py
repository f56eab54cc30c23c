"""Damaged and hostile run folders, checkpoints, device files and data sets: one line, and nothing is lost."""

import errno
import gzip
import io
import json
import os
import random
import re
import shutil
import tomllib
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from qcloop.data import load_dataset
from qcloop.device import builtin, load_profile, save_profile
from qcloop.errors import CheckpointError, DataError, DeviceError, QcloopError
from qcloop.report.run import run_report
from qcloop.run.checkpoint import read_checkpoint, write_checkpoint
from qcloop.run.folder import Run, read_config, read_state
from qcloop.training.settings import resolve

#: Cases of each fuzzer in `make test`, and in `make soak`.
COUNTS = [pytest.param(400, id="400"), pytest.param(20_000, marks=pytest.mark.slow, id="20000")]
#: Cases of the fuzzers that open a run or call a command for each.
DEAR_COUNTS = [pytest.param(150, id="150"), pytest.param(4_000, marks=pytest.mark.slow, id="4000")]
SEED = 25


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return head + array.tobytes()


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """Return the folder of a data set of 2 x 2 pixels, the test set compressed."""
    folder = tmp_path_factory.mktemp("pixels")
    rng = np.random.default_rng(SEED)
    for part, count in (("train", 20), ("t10k", 10)):
        images = idx(rng.integers(0, 256, (count, 2, 2)).astype(np.uint8))
        labels = idx((np.arange(count) % 2).astype(np.uint8))
        for kind, content in (("images-idx3", images), ("labels-idx1", labels)):
            packed = gzip.compress(content, mtime=0) if part == "t10k" else content
            suffix = ".gz" if part == "t10k" else ""
            (folder / f"{part}-{kind}-ubyte{suffix}").write_bytes(packed)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, pixels):
    """Return the folder of a finished run of the update rule that remembers most."""
    settings = resolve(
        None, {"network": "4-3-2", "batch": 4, "epochs": 2, "states": 32, "reading": "measured"}
    )
    path = tmp_path_factory.mktemp("runs") / "trained"
    source = {"transpose": False, "directory": str(pixels)}
    with Run.create(path, settings, builtin("A"), load_dataset(pixels), source) as run:
        run.train()
    return path


@pytest.fixture
def folder(trained, tmp_path):
    """Return a copy of the finished run that a test may damage."""
    return shutil.copytree(trained, tmp_path / "run")


def mutated(rng, content):
    """Return bytes with one of the damages that disks, transfers and editors do."""
    content = bytearray(content)
    start = rng.randrange(len(content) + 1)
    end = min(len(content), start + rng.choice((1, 1, 2, 8, 200)))
    match rng.randrange(6):
        case 0:
            content[start:end] = rng.randbytes(end - start)
        case 1:
            del content[start:]
        case 2:
            del content[start:end]
        case 3:
            content[start:start] = rng.choice(
                (b"\0", b"\n", b",", b'"', b"\x1b[2J", b"1e999", b"[" * 300, b"-")
            )
        case 4:
            content[start:end] = bytes(end - start)
        case 5:
            content[start:start] = content[start:end]
    return bytes(content)


def check_end(ended):
    """Check that a command succeeded, or ended with 2 and one line, and printed no control character."""
    status, out, err = ended
    assert status in (0, 2), err
    assert all(line.isprintable() for line in (out + err).splitlines()), out + err
    if status:
        assert err.startswith("qcloop: error: ")
        assert err.count("\n") == 1
    else:
        assert err == ""


# -- checkpoints ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", COUNTS)
def test_a_damaged_checkpoint_is_one_error_or_the_same_state(folder, count):
    rng = random.Random(SEED)
    path, config = folder / "checkpoint.npz", read_config(folder)
    good, expected = path.read_bytes(), read_state(folder, read_config(folder))
    refused = 0
    for case in range(count):
        path.write_bytes(mutated(rng, good))
        try:
            arrays, values = read_state(folder, config)
        except CheckpointError as error:
            assert str(error).startswith(f"checkpoint {path} is damaged ("), case
            refused += 1
        else:  # a byte that means nothing, such as a date
            assert values == expected[1], case
            assert all(np.array_equal(arrays[name], array) for name, array in expected[0].items()), case
    assert refused > count / 2


def pack(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(shape, data=b""):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


def encrypted():
    content = bytearray(pack({"values.npy": npy((3,), b"abc")}))
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


def plain_npy():
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    return buffer.getvalue()


def pickled():
    buffer = io.BytesIO()
    np.savez(buffer, values=np.array([print], dtype=object))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            pack({"values.npy": npy((1 << 20,), bytes(1 << 20))}, zipfile.ZIP_DEFLATED),
            "its members are larger than the file",
        ),
        (pack({"values.npy": npy((3,), b"abc")}, zipfile.ZIP_LZMA), "values.npy is compressed or encrypted"),
        (encrypted(), "its member values.npy is compressed or encrypted"),
        (plain_npy(), "File is not a zip file"),
        (pickled(), "its member values.npy is not what its heading says: object of (1,)"),
        (pack({"thesis.tex": b"x"}), "EOF: reading magic string"),
        (pack({"thesis.npy": b"chapter one"}), "the magic string is not correct"),
        (
            pack({"values.npy": npy((1 << 60, 8))}),
            "not what its heading says: uint8 of (1152921504606846976, 8)",
        ),
        (pack({"values.npy": npy((-4,), b"abcd")}), "not what its heading says: uint8 of (-4,)"),
        (pack({"values.npy": b"\x93NUMPY\x01\x00\xff\xff{"}), "EOF: reading array header"),
        (pack({"values.npy": npy((3,), b"abc")}), "it has no sha256"),
        (b"", "File is not a zip file"),
    ],
    ids="deflated lzma encrypted npy pickle text other huge negative header digest empty".split(),
)
def test_what_is_no_checkpoint_says_why(run, folder, content, reason):
    path = folder / "checkpoint.npz"
    path.write_bytes(content)
    for command in ("resume", "eval", "report"):
        status, _, err = run(command, folder)
        assert status == 2
        assert err.startswith(f"qcloop: error: checkpoint {path} is damaged (")
        assert reason in err
        assert err.count("\n") == 1
    assert path.read_bytes() == content


def test_a_checkpoint_larger_than_the_run_can_have_is_not_read(folder):
    with (folder / "checkpoint.npz").open("r+b") as file:
        file.truncate(1 << 40)  # of nothing: no disk and no memory is needed
    with pytest.raises(CheckpointError, match=r"it is larger than the 67,1.* bytes that this run can have"):
        read_state(folder, read_config(folder))


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(folder, monkeypatch):
    def refuse(self, *_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    config = read_config(folder)
    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(CheckpointError) as caught:
        read_state(folder, config)
    assert str(caught.value) == f"cannot read checkpoint {folder}/checkpoint.npz: Permission denied"


def forged(folder, change):
    """Change arrays and values of a checkpoint, and give it the digest that goes with them."""
    arrays, values = read_checkpoint(folder / "checkpoint.npz")
    arrays = {name: array.copy() for name, array in arrays.items()}
    change(arrays, values)
    write_checkpoint(folder / "checkpoint.npz", arrays, values)


def setting(name, value):
    def change(arrays, _):
        arrays[name].flat[1] = value

    return change


def with_array(name, array):
    return lambda arrays, _: arrays.update({name: array})


def with_value(path, value):
    def change(_, values):
        *parents, last = path
        for parent in parents:
            values = values[parent]
        values[last] = value

    return change


FORGERIES = {
    "level": (setting("layer0.cell_levels", 255), "layer0.cell_levels holds 255, which is not in 0..31"),
    "stuck": (setting("layer0.cell_levels", 63), "layer0.cell_levels holds 63, which is not in 0..31"),
    "code": (setting("layer1.cell_codes", 32767), "layer1.cell_codes holds 32767, which is not in 0..1023"),
    "negative": (setting("layer1.cell_codes", -1), "layer1.cell_codes holds -1"),
    "nan": (setting("layer0.offsets", np.nan), "layer0.offsets holds nan"),
    "infinite": (setting("layer0.bias", np.inf), "layer0.bias holds inf"),
    "weight level": (setting("layer0.levels", 32), "layer0.levels holds 32"),
    "shadow": (setting("layer0.shadow", 63), "layer0.shadow holds 63"),
    "transition": (setting("transitions", -1), "transitions holds -1"),
    "transitions": (setting("transitions", 1 << 62), "transitions holds 4611686018427387904"),
    "class": (setting("predictions", 2), "predictions holds 2, which is not in 0..1"),
    "missing": (lambda arrays, _: arrays.pop("layer1.levels"), "'layer1.levels' is missing"),
    "short": (
        with_array("layer0.offsets", np.zeros((0, 3), np.float32)),
        "float32 of (0, 3), not float32 of (4, 3)",
    ),
    "wide": (with_array("layer0.bias", np.zeros(4)), "layer0.bias is float64 of (4,), not float64 of (3,)"),
    "type": (
        with_array("layer0.levels", np.zeros((4, 3), np.int64)),
        "layer0.levels is int64 of (4, 3), not uint8",
    ),
    "scalar": (with_array("predictions", np.array(1, np.uint8)), "predictions is uint8 of ()"),
    "count": (with_array("predictions", np.zeros(9, np.uint8)), "9 predictions for 10 test images"),
    "picked": (with_array("picked", np.zeros(4)), "picked is float64 of (4,), not float64 of (0,)"),
    "image": (
        with_value(["progress", "image"], 1 << 70),
        "image must be an integer of 0..9223372036854775807",
    ),
    "epoch": (with_value(["progress", "epoch"], 3), "3 epochs"),
    "accuracy": (
        with_value(["progress", "history", 0, "test_accuracy"], 1.5),
        "test_accuracy of epoch 1 is 1.5",
    ),
    "loss": (
        with_value(["progress", "history", 1, "train_loss"], float("nan")),
        "train_loss of epoch 2 is nan",
    ),
    "digest": (with_value(["progress", "history", 0, "array_sha256"], "\x1b[2J"), "array_sha256 of epoch 1"),
    "position": (with_value(["positions", "programming"], -1), "programming must be an integer of 0..115"),
    "rounding": (with_value(["rounding"], 1.0), "rounding must be an integer"),
    "counters": (with_value(["counters", "attempts"], [0]), "attempts must be a list of 64"),
    "history": (with_value(["progress", "history"], {}), "a history of other length"),
    "progress": (with_value(["progress"], None), "the checkpoint does not fit the run"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_checkpoint_with_a_true_digest_is_checked_all_the_same(run, folder, forgery):
    change, reason = FORGERIES[forgery]
    forged(folder, change)
    before = (folder / "checkpoint.npz").read_bytes()
    for command in ("resume", "eval", "report"):
        status, _, err = run(command, folder)
        assert status == 2
        assert "the checkpoint does not fit the run: " in err
        assert reason in err
        assert err.count("\n") == 1
    assert (folder / "checkpoint.npz").read_bytes() == before


JUNK = (
    None,
    True,
    -1,
    0,
    1,
    1 << 63,
    1 << 80,
    0.5,
    float("nan"),
    float("inf"),
    "",
    "1",
    [],
    [1],
    {},
    {"a": 1},
)


def change_anything(rng, arrays, values):
    """Change one element, shape or type of an array, or one plain value, at random."""
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    match rng.randrange(5):
        case 0 if array.size:
            top = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else np.inf
            array.flat[rng.randrange(array.size)] = rng.choice((top, 0, 1, 40))
        case 1:
            arrays[name] = array.astype(rng.choice((np.int8, np.uint8, np.int64, np.float32, np.float64)))
        case 2:
            arrays[name] = array[..., : rng.randrange(3)] if array.ndim else array
        case 3:
            del arrays[name]
        case _:
            table = values
            while isinstance(table, dict | list) and table:
                key = rng.choice(sorted(table) if isinstance(table, dict) else range(len(table)))
                if not isinstance(table[key], dict | list) or rng.random() < 0.3:
                    table[key] = rng.choice(JUNK)
                    break
                table = table[key]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("count", DEAR_COUNTS)
def test_a_forged_checkpoint_is_refused_or_a_run_goes_on_with_it(folder, count):
    rng = random.Random(SEED)
    good = (folder / "checkpoint.npz").read_bytes()
    refused = 0
    for case in range(count):
        (folder / "checkpoint.npz").write_bytes(good)
        forged(folder, lambda arrays, values: change_anything(rng, arrays, values))
        try:
            with Run.open(folder, 3) as run:
                for _ in run.trainer.run_epoch():
                    pass
                run.save()
                run.write_tables()
        except CheckpointError as error:
            assert "\n" not in str(error), case
            refused += 1
        read_config(folder)
    assert count / 3 < refused < count


# -- the other files of a folder ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["metrics.csv", "counters.toml", "config.toml"])
@pytest.mark.parametrize("count", COUNTS)
def test_info_on_damaged_files_is_the_run_or_one_line(run, folder, name, count):
    rng = random.Random(SEED)
    good = (folder / name).read_bytes()
    refused = 0
    for _ in range(count):
        (folder / name).write_bytes(mutated(rng, good))
        ended = run("info", folder)
        check_end(ended)
        refused += ended[0] == 2
    assert refused > count / 10


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("metrics.csv", "epoch,train_loss\n1,2\n", "line 1 has not the 10 values epoch to clipped"),
        ("metrics.csv", b"\xff\xfe", "it is not UTF-8 text (byte 0)"),
        ("counters.toml", "cost = 1", "it has no [cost]"),
        ("counters.toml", "[array]\nx = 1", "it has no [cost]"),
        ("counters.toml", '[cost]\nwrites = "\\u001b[2J"', r"writes is no number: '\x1b[2J'"),
    ],
)
def test_a_damaged_table_is_named_with_its_cure(run, folder, name, content, line):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    status, out, err = run("info", folder)
    assert (status, out) == (2, "")
    cure = f"`qcloop resume {folder}` makes it anew from the checkpoint"
    assert err == f"qcloop: error: {folder / name} is damaged ({line}): {cure}\n"
    assert run("resume", folder)[0] == 0
    assert run("info", folder)[0] == 0


@pytest.mark.parametrize("count", DEAR_COUNTS)
def test_a_damaged_configuration_is_one_line_for_every_command(run, folder, count):
    rng = random.Random(SEED)
    good = (folder / "config.toml").read_bytes()
    for case in range(count):
        (folder / "config.toml").write_bytes(mutated(rng, good))
        try:
            with Run.open(folder, only_read=True) as opened:
                opened.trainer.evaluate()
        except QcloopError as error:
            assert str(error).count("\n") <= 1, case


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (r"^\[qcloop\][^[]*", "", "has no [qcloop]"),
        (r"^sha256 = .*$", "sha256 = 1", "sha256 of [data] must be a text, not 1"),
        (r"^directory = .*$", "directory = 1", "directory of [data] must be a text, not 1"),
        (r"^transpose = .*$", 'transpose = "no"', "transpose of [data] must be true or false, not 'no'"),
        (r"\A", "x = " + 5000 * "[", "cannot read"),
        (r"\A", "# " + "x" * (1 << 20) + "\n", "it is larger than 1,048,576 bytes"),
    ],
)
def test_what_a_configuration_lacks_is_named(run, folder, old, new, line):
    path = folder / "config.toml"
    text, count = re.subn(old, new, path.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1
    path.write_text(text)
    for command in ("info", "eval", "resume", "report"):
        status, out, err = run(command, folder)
        assert (status, out) == (2, "")
        assert line in err
        assert err.count("\n") == 1


def test_a_report_of_any_forgery_that_is_accepted_is_drawn(folder):
    forged(folder, setting("layer0.writes", 2**32 - 1))
    assert "4,294,967,295" in run_report(folder)


# -- text from data -------------------------------------------------------------------------------


HOSTILE = "a\x1b]0;title\x07\x9b31m\u202eb\r\n\x7f"
SHOWN = r"a\x1b]0;title\x07\x9b31m\u202eb\x0d\x0a\x7f"


def test_texts_of_a_device_reach_the_terminal_by_their_codes(run, tmp_path):
    path = tmp_path / "x.toml"
    save_profile(replace(builtin("A"), source=HOSTILE, reading=HOSTILE), path)
    ended = run("device", "show", path)
    check_end(ended)
    assert ended[1].splitlines()[:2] == [f"A: 32 states, reading {SHOWN}", SHOWN]
    assert load_profile(path).source == HOSTILE


def test_names_of_measurement_files_are_shown_by_their_codes_and_drawn_as_text(run, tmp_path):
    path = tmp_path / "\x1b[31ma<b>$x^$&.csv"
    path.write_text("pulse,G (uS)\n" + "".join(f"{n},{200 - 5 * n}.{n % 3}\n" for n in range(1, 21)))
    out = tmp_path / "\x1b[0m.toml"
    status, said, err = run("fit", path, "-o", out, "--name", "x")
    assert (status, err) == (0, "")
    assert out.exists()
    assert said.startswith(f"{tmp_path}/\\x1b[31ma<b>$x^$&.csv: ")
    assert all(line.isprintable() for line in said.splitlines())


def test_a_reading_that_looks_like_mathematics_is_drawn_as_text(run, tmp_path):
    path = tmp_path / "x.toml"
    save_profile(replace(builtin("A"), reading="a<b>$x^$&"), path)
    assert run("device", "show", path, "--plot", tmp_path / "x.png")[::2] == (0, "")


def test_names_of_a_run_reach_the_terminal_by_their_codes(run, folder):
    config = folder / "config.toml"
    values = tomllib.loads(config.read_text())
    text = config.read_text().replace(f'name = "{values["data"]["name"]}"', f"name = {json.dumps(HOSTILE)}")
    text = text.replace(f'version = "{values["qcloop"]["version"]}"', f"version = {json.dumps(HOSTILE)}")
    config.write_text(text.replace("\\u007f", "\\u007F").replace("\x7f", "\\u007f"))
    ended = run("info", folder)
    check_end(ended)
    assert f"name              {SHOWN}" in ended[1]
    assert ended[1].splitlines()[0].endswith(f"made by qcloop {SHOWN}")


def test_names_of_files_in_errors_are_shown_by_their_codes(run, tmp_path):
    path = tmp_path / "\x1b[31mred\u202e.toml"
    path.write_text("x")
    status, _, err = run("device", "show", path)
    assert status == 2
    assert r"\x1b[31mred\u202e.toml" in err
    assert err.rstrip("\n").isprintable()


# -- device files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", COUNTS)
def test_a_damaged_device_file_is_a_device_or_one_line(tmp_path, count):
    rng = random.Random(SEED)
    path = tmp_path / "x.toml"
    save_profile(builtin("A"), path)
    good = path.read_bytes()
    refused = 0
    for case in range(count):
        path.write_bytes(mutated(rng, good))
        try:
            profile = load_profile(path)
        except DeviceError as error:
            assert str(path) in str(error), case
            refused += 1
        else:
            save_profile(profile, tmp_path / "again.toml")
            assert load_profile(tmp_path / "again.toml") == profile, case
    assert refused > count / 3


@pytest.mark.parametrize("count", DEAR_COUNTS)
def test_a_damaged_device_file_is_shown_or_refused_in_one_line(run, tmp_path, count):
    rng = random.Random(SEED + 1)
    path = tmp_path / "x.toml"
    save_profile(builtin("B"), path)
    good = path.read_bytes()
    for _ in range(count):
        path.write_bytes(mutated(rng, good))
        check_end(run("device", "show", path))


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        (
            "lsb",
            "5e-324",
            "the lsb of 4.94066e-324 G0 a conductance code is 0 S, but must be 1e-18 to 1000 S",
        ),
        (
            "lsb",
            "1e300",
            "the lsb of 1e+300 G0 a conductance code is 7.75e+295 S, but must be 1e-18 to 1000 S",
        ),
        (
            "width_s",
            "1e300",
            "the pulse width width_s (s) must be 1e-18 to 1e+06, not 1e+300: check its unit",
        ),
        ("on_siemens", "5e-324", "ON conductance on_siemens (S) must be 1e-18 to 1e+06, not 4.94066e-324"),
        ("set_volts", "1e308", "SET voltage set_volts (V) must be 1e-18 to 1e+06, not 1e+308"),
    ],
)
def test_a_device_beyond_physics_is_refused_with_the_bounds(run, tmp_path, key, value, line):
    path = tmp_path / "x.toml"
    save_profile(builtin("A"), path)
    path.write_text(re.sub(rf"^{key} = .*$", f"{key} = {value}", path.read_text(), flags=re.MULTILINE))
    status, out, err = run("device", "show", path)
    assert (status, out) == (2, "")
    assert line in err


def test_a_device_file_without_end_is_not_read(run, tmp_path):
    path = tmp_path / "x.toml"
    path.symlink_to("/dev/zero")
    assert run("device", "show", path)[2] == (
        f"qcloop: error: cannot read device file {path}: it is not a regular file\n"
    )
    path.unlink()
    os.mkfifo(path)  # opening it would wait for ever
    assert "it is not a regular file" in run("device", "show", path)[2]
    path.unlink()
    path.write_bytes(b"#" * (1 << 20) + b"#")
    assert "it is larger than 1,048,576 bytes" in run("device", "show", path)[2]


# -- data sets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", COUNTS)
def test_a_damaged_data_set_is_a_data_set_or_one_line(pixels, tmp_path, count):
    rng = random.Random(SEED)
    folder = shutil.copytree(pixels, tmp_path / "pixels")
    files = sorted(folder.iterdir())
    refused = 0
    for case in range(count):
        path = rng.choice(files)
        good = path.read_bytes()
        path.write_bytes(mutated(rng, good))
        try:
            data = load_dataset(folder)
        except DataError as error:
            assert "\n" not in str(error), case
            refused += 1
        else:
            assert (data.pixels, len(data.sha256)) == (4, 64), case
        path.write_bytes(good)
    assert refused > count / 3


def test_data_that_expands_without_end_is_refused_at_once(pixels, tmp_path):
    folder = shutil.copytree(pixels, tmp_path / "pixels")
    path = folder / "t10k-images-idx3-ubyte.gz"
    head = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (1 << 29, 2, 2))
    path.write_bytes(gzip.compress(gzip.compress(head + bytes(1 << 24))))
    with pytest.raises(DataError, match="declares 536870912 x 2 x 2 elements, but has only"):
        load_dataset(folder)
    images = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (10, 2, 2)) + bytes(40)
    path.write_bytes(gzip.compress(images + bytes(1 << 25)))
    with pytest.raises(DataError, match=r"goes on after its data: expected 56 bytes .*, came more than 1"):
        load_dataset(folder)
