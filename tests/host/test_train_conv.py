"""Networks with kernels: their spelling, their arithmetic, and runs of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings as examples
from hypothesis import strategies as st

from qcloop.array import GoldenArray
from qcloop.array import reference as array_reference
from qcloop.crossbar import reference as crossbar_reference
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.physics import array_settings
from qcloop.data import Dataset, load_dataset
from qcloop.device import builtin
from qcloop.errors import ConfigError
from qcloop.report.run import command_line, run_report
from qcloop.run.contents import read_run
from qcloop.run.folder import Run
from qcloop.training import compiled, memory, reference
from qcloop.training.checks import check_network
from qcloop.training.geometry import NAMED, Convolution, read_network
from qcloop.training.network import Network
from qcloop.training.settings import RunSettings, resolve
from qcloop.training.trainer import Trainer

SMALL = "10x10-3c3+1-p2-4c3-8-10"


@pytest.fixture(scope="module")
def few(mnist):
    """Return images of 10 x 10 pixels: every third pixel of the first ones of MNIST."""

    def smaller(images, count):
        return np.ascontiguousarray(images[:count].reshape(-1, 28, 28)[:, ::3, ::3].reshape(count, 100))

    return Dataset(
        "small",
        smaller(mnist.train_images, 400),
        mnist.train_labels[:400],
        smaller(mnist.test_images, 100),
        mnist.test_labels[:100],
        (10, 10),
    )


def small(**given):
    return resolve(None, {"network": SMALL, "images": 64, "epochs": 1, "batch": 16, "device": "A", **given})


def train(settings, data, array=None, **kernels):
    profile = builtin(settings.device, settings.states or 32)
    trainer = Trainer(settings, profile, data, array or GoldenArray(settings.array_config), **kernels)
    trainer.initialise()
    while not trainer.finished:
        for _ in trainer.run_epoch():
            pass
    return trainer


# -- the spelling ---------------------------------------------------------------------------------


def test_lenet_5_has_the_shapes_of_the_textbook():
    layers = read_network("lenet-5")
    assert layers == read_network(NAMED["lenet-5"])
    assert [(s.rows, s.cols) for s in layers] == [(25, 6), (150, 16), (400, 120), (120, 84), (84, 10)]
    assert [s.vectors for s in layers] == [784, 100, 1, 1, 1]
    assert [s.outputs for s in layers] == [14 * 14 * 6, 5 * 5 * 16, 120, 84, 10]
    assert RunSettings(network="lenet-5").layer_sizes() == (784, 1176, 400, 120, 84, 10)


def test_padding_and_pooling_are_as_spelled():
    first, second, last = read_network("9x12-2c4-3c2+1-p3-10")
    assert first.convolution == Convolution(9, 12, 1, 2, 4)
    assert first.convolution.positions == first.convolution.pooled == (6, 9)
    assert second.convolution == Convolution(6, 9, 2, 3, 2, 1, 3)
    assert (second.convolution.positions, second.convolution.pooled) == ((7, 10), (2, 3))
    assert (last.rows, last.cols, last.convolution) == (18, 10, None)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("28x28", r"must be a name \(lenet-5\), images with kernels such as 28x28-6c5-p2-.*, not '28x28'"),
        ("lenet5", "a name .lenet-5., .*, not 'lenet5'"),
        ("LeNet-5", "not 'LeNet-5'"),
        ("28x28-6c-10", "not '28x28-6c-10'"),
        ("28x28-6c5+-10", "28x28-6c5-p2-16c5-p2-120-84-10, or two or more layer sizes"),
        ("784-6c5-10", "begin with height and width of its images, as 28x28-6c5-p2-.* does, not with 784"),
        ("6c5-10", "must begin with height and width of its images, .* not with 6c5"),
        ("28x28-p2-10", "p2 must stand behind kernels, as in 6c5-p2"),
        ("28x28-6c5-p2-p2-10", "p2 must stand behind kernels"),
        ("28x28-6c5-28x28-10", "the size of the images stands first, and 28x28 behind it"),
        ("28x28-6c5-p2", "must end with the number of classes, such as ...-10, not with p2"),
        ("28x28-2c5-20-6c5-10", "6c5 needs an image, but stands behind a plain layer of 20: put it before"),
        ("28x28-6c29-10", "the kernels of 6c29 do not fit the 28x28 image before them: use smaller ones"),
        ("28x28-6c5-p6-16c5-10", "16c5 do not fit the 4x4 image"),
        ("28x28-6c5+5-10", "6c5.5 pads by 5, but 5x5 kernels take 0..4"),
        ("28x28-0c5-10", "0c5 must have 1 or more kernels of 1 or more pixels"),
        ("28x28-6c0-10", "6c0 must have 1 or more kernels"),
        ("28x28-6c5-p25-10", "p25 must pool squares of 2 or more pixels that fit the 24x24 image"),
        ("28x28-6c5-p1-10", "p1 must pool squares of 2 or more pixels"),
        ("28x28-6c5-0", "a layer must have 1 or more numbers, not 0"),
        ("0x28-6c5-10", "images of 0x28 pixels have none"),
        (
            "28x28-64c3-10",
            "the layer of 10 takes 43264 numbers, but the most are 8192: pool more, or use fewer",
        ),
        ("28x28-16-10", "28x28-16-10 has no kernels behind the size of its images: .* as in 784-16-16-10"),
        ("28x28-9999c3-p26-10", "a layer of 9999, but the largest is 8192"),
        ("28x28" + "-1c1" * 32 + "-10", "at most 32 layer sizes, not 34"),
        ("28x28" + "-99999c5" * 20 + "-10", "network must be a name"),
    ],
)
def test_a_wrong_spelling_says_what_was_expected(network, message):
    with pytest.raises(ConfigError, match=message) as error:
        RunSettings(network=network)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": "array"}, "step must be host with network lenet-5, not array: the array's own step knows"),
        ({"step": "array", "order": "board"}, "order must be host with network lenet-5, not board"),
        ({"order": "board"}, "order must be host with network lenet-5, not board"),
    ],
)
def test_a_network_with_kernels_is_trained_by_the_host(given, message):
    with pytest.raises(ConfigError, match=message):
        resolve(None, {"network": "lenet-5", **given})


def test_images_of_another_size_are_refused_with_the_network_that_would_fit(few, mnist):
    with pytest.raises(
        ConfigError, match="lenet-5 takes images of 28x28 pixels, but those of small have 10x1"
    ):
        check_network(resolve(None, {"network": "lenet-5"}), few)
    with pytest.raises(
        ConfigError, match=r"use 28x28-\.\.\. \(as it is, it would be 28x28-3c3\+1-p2-4c3-8-10"
    ):
        check_network(small(), mnist)
    with pytest.raises(ConfigError, match="ends at 8, but small has 10 classes"):
        check_network(small(network="10x10-3c3-8"), few)


def test_a_network_that_needs_more_cells_than_there_are_is_refused(few):
    with pytest.raises(ConfigError, match=r"network 10x10-3c3.1-p2-4c3-8-10 needs .* cells .* has 512: use"):
        train(small(cells=512, lanes=16), few)


def test_the_defaults_suit_kernels_and_the_user_has_the_last_word():
    lenet = resolve(None, {"network": "lenet-5"})
    assert (lenet.activation, lenet.rate, lenet.weight_range) == ("relu", 0.2, 3.0)
    assert resolve(None, {"network": "lenet-5", "rate": 0.3}).rate == 0.3
    assert resolve(None, {}).activation == "sigmoid"
    best = resolve("best", {"network": "lenet-5"})
    assert (best.rate, best.weight_range, best.shift, best.batch) == (0.2, 3.0, 1, 50)
    assert resolve("best", {"network": "lenet-5", "rate": 0.3}).rate == 0.3


# -- the arithmetic -------------------------------------------------------------------------------


@examples(max_examples=25, deadline=None, derandomize=True)
@drawn(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.integers(1, 3))
def test_patches_and_pooling_are_equal_to_the_bit(seed, size, padding, pool, channels):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(size, 8, 2)
    high, wide = height + 2 * padding - size + 1, width + 2 * padding - size + 1
    pool, n = min(pool, high, wide), 3
    x = rng.integers(0, 256, (n, height, width, channels)).astype(np.uint8)
    y = rng.integers(-3, 4, (n, high, wide, channels)).astype(np.int32)
    e = rng.integers(-9999, 9999, (n, high, wide, size, size, channels)).astype(np.int32)
    e_scale, slope = rng.random((n, high, wide)), rng.random(x.shape)
    errors = rng.normal(size=(n, (high // pool) * (wide // pool), channels))

    def call(kernels):
        patches, delta = np.empty(e.shape, np.uint8), np.empty(x.shape)
        kernels.gather(x, padding, patches)
        top = np.empty((n, high // pool, wide // pool, channels), np.int32)
        chosen = np.empty_like(top)
        kernels.pool(y, pool, top, chosen)
        kernels.scatter(e, e_scale, 0.3, padding, slope, delta)
        routed = np.empty((n, high * wide, channels))
        kernels.route(errors, chosen.reshape(errors.shape), routed)
        return patches, top, chosen, delta, routed

    fast, plain = call(compiled), call(reference)
    assert [a.tobytes() for a in fast] == [b.tobytes() for b in plain]
    patches, top, chosen, delta, routed = fast
    # Gathering and scattering are adjoint: both sides are the sum of e * x over all patches.
    scaled = e * (e_scale * 0.3)[..., None, None, None]
    assert np.sum(delta / slope * x) == pytest.approx(np.sum(scaled * patches), rel=1e-9, abs=1e-6)
    assert (np.take_along_axis(y.reshape(n, -1, channels), chosen.reshape(n, -1, channels), 1)
            == top.reshape(n, -1, channels)).all()  # fmt: skip
    assert top.max() == y[:, : high // pool * pool, : wide // pool * pool].max()
    assert routed.sum() == pytest.approx(errors.sum()) and np.count_nonzero(routed) == errors.size


def test_the_first_of_equal_sums_gets_the_error():
    y, top = np.zeros((1, 2, 2, 1), np.int32), np.empty((1, 1, 1, 1), np.int32)
    for kernels in (compiled, reference):
        chosen = np.full_like(top, 9)
        kernels.pool(y, 2, top, chosen)
        assert chosen[0, 0, 0, 0] == 0


class FloatTwin:
    """The same network in floats, written plainly: the loss for given weights."""

    def __init__(self, settings, weights):
        self.layers, self.weights = settings.layers(), weights
        self.relu = settings.activation == "relu"

    def loss(self, x, labels):
        a = x
        for number, (shape, w) in enumerate(zip(self.layers, self.weights, strict=True), 1):
            c = shape.convolution
            if c is None:
                z = a.reshape(len(a), -1) @ w
            else:
                image = a.reshape(-1, c.height, c.width, c.channels)
                image = np.pad(image, ((0, 0), (c.padding,) * 2, (c.padding,) * 2, (0, 0)))
                views = np.lib.stride_tricks.sliding_window_view(image, (c.size, c.size), (1, 2))
                z = np.einsum("brqcij,ijck->brqk", views, w.reshape(c.size, c.size, c.channels, c.kernels))
                (high, wide), p = c.pooled, c.pool
                z = z[:, : high * p, : wide * p].reshape(len(z), high, p, wide, p, c.kernels).max(axis=(2, 4))
            a = z if number == len(self.layers) else np.maximum(z, 0) if self.relu else 1 / (1 + np.exp(-z))
        return float(np.mean(np.log(np.exp(a).sum(axis=1)) - a[np.arange(len(a)), labels]))


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_the_gradient_is_that_of_the_same_network_in_floats(few, activation):
    settings = small(activation=activation, input_bits=8, bias="none", device="ideal", weight_range=3.0)
    array = GoldenArray(settings.array_config)
    array.configure(array_settings(settings, builtin("ideal", 32)))
    crossbar = LayeredCrossbar(settings, array)
    network = Network(settings, crossbar)
    network.initialise()
    x, labels = few.train_images[:6], few.train_labels[:6]
    batch = network._chain.batch(x)
    network._chain.propagate(batch, labels, np.empty(6))
    weights = [crossbar.device_codes(layer) * layer.weight_per_code for layer in network.layers]
    twin, rng, step = FloatTwin(settings, weights), np.random.default_rng(1), 1e-5
    for index, layer in enumerate(network.layers):
        gradient, unit = crossbar.gradient(layer, *batch.vectors(index))
        chosen = rng.permutation(weights[index].size)[:40]
        expected = []
        for k in chosen:
            sides = []
            for sign in (1, -1):
                weights[index].flat[k] += sign * step
                sides.append(twin.loss(x / 255, labels))
                weights[index].flat[k] -= sign * step
            expected.append((sides[0] - sides[1]) / (2 * step))
        got = gradient.flat[chosen] * unit / 6
        likeness = got @ expected / np.linalg.norm(got) / np.linalg.norm(expected)
        assert likeness > 0.995, (index, likeness)
        assert np.linalg.norm(got) == pytest.approx(np.linalg.norm(expected), rel=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"update": "mixed", "input_bits": 8},
        {"update": "nearest", "bias": "none", "scheme": "differential", "policy": "reset-only"},
        {"update": "stochastic", "activation": "relu", "rate": 0.3, "adc_bits": 10, "stuck_off": 0.02},
    ],
    ids=["mixed", "nearest", "stochastic"],
)
def test_compiled_and_plain_numpy_kernels_leave_the_same_trace(few, options):
    settings = small(images=32, **options)
    some = replace(few, test_images=few.test_images[:20], test_labels=few.test_labels[:20])
    kernels = {"kernels": reference, "crossbar_kernels": crossbar_reference}
    fast = train(settings, some)
    plain = train(settings, some, GoldenArray(settings.array_config, array_reference), **kernels)
    assert fast.progress.history == plain.progress.history
    assert (fast.counters(), fast.cost()) == (plain.counters(), plain.cost())
    assert fast.array.positions() == plain.array.positions()


class CutArray(GoldenArray):
    micro_batch_size = 5


def test_a_batch_that_is_cut_trains_to_the_same_trace(few):
    settings = small(batch=13, input_bits=8)
    cut = train(settings, few, CutArray(settings.array_config))
    whole = train(settings, few)
    assert cut.progress.history == whole.progress.history
    assert cut.counters() == whole.counters()


# -- runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("update", ["mixed", "stochastic", "nearest"])
def test_every_update_rule_learns(few, update):
    given = {"network": "10x10-4c3+1-p2-10", "images": 400, "batch": 4, "epochs": 4, "input_bits": 8}
    history = train(small(update=update, **given), few).progress.history
    assert history[-1].train_accuracy > {"mixed": 0.8, "stochastic": 0.7, "nearest": 0.5}[update], history


def test_shifted_images_are_trained_on(few):
    digests = {train(small(shift=shift), few).progress.history[-1].array_sha256 for shift in (0, 1)}
    assert len(digests) == 2


def test_classes_do_not_depend_on_how_many_images_are_classified_together(few, monkeypatch):
    whole = train(small(), few)
    monkeypatch.setattr(memory, "_CLASSIFIED", 1)
    one_by_one = train(small(), few)
    assert memory.images_at_once(small().layers()) == 1
    assert (whole.predictions == one_by_one.predictions).all()


def test_the_memory_of_patches_is_counted():
    settings = RunSettings(network="lenet-5")
    more = [memory.needed_bytes(replace(settings, batch=batch), 60_000) for batch in (20, 2020)]
    assert 150e3 < (more[1] - more[0]) / 2000 < 450e3  # 34,600 numbers of patches, 6,304 products
    assert 10 < memory.images_at_once(settings.layers()) < 200


@pytest.fixture(scope="module")
def source(few, tmp_path_factory):
    """Return the small images in a folder, as IDX files."""
    folder = tmp_path_factory.mktemp("small")
    for name, images, labels in (
        ("train", few.train_images, few.train_labels),
        ("t10k", few.test_images, few.test_labels),
    ):
        for kind, array, shape in (("images-idx3", images, (10, 10)), ("labels-idx1", labels, ())):
            sizes = (len(array), *shape)
            head = bytes([0, 0, 8, len(sizes)]) + b"".join(size.to_bytes(4, "big") for size in sizes)
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + array.tobytes())
    return folder


@pytest.fixture(scope="module")
def finished(source, tmp_path_factory):
    """Return the folder of a run of two epochs that was stopped in its first epoch, and resumed."""
    path, batches = tmp_path_factory.mktemp("runs") / "run", iter(range(100))
    told = {"directory": str(source), "transpose": False}
    with Run.create(path, small(epochs=2), builtin("A"), load_dataset(source), told) as run:
        run.train(stop=lambda: next(batches) == 1)
        assert (run.trainer.progress.epoch, run.trainer.progress.image) == (0, 32)
    with Run.open(path) as run:
        assert run.trainer.progress.image == 32
        run.train()
    return path


def test_a_run_that_is_stopped_in_mid_epoch_resumes_to_the_same_trace(finished, few):
    assert read_run(finished).history == train(small(epochs=2), few).progress.history


def test_commands_show_the_network_and_evaluate_it(run, finished):
    status, out, _ = run("eval", finished)
    assert status == 0 and SMALL in out
    assert f"test accuracy {100 * read_run(finished).history[-1].test_accuracy:.2f} % of 100 images" in out
    assert SMALL in run("info", finished)[1]


def test_the_report_has_the_layers_and_the_command_that_repeats_the_run(finished):
    state = read_run(finished)
    page = run_report(finished)
    for text in ("3 kernels of 3x3 on 10x10x1, padded by 1, pooled 2x2", "9 x 3", "5x5x3", "27 x 4", "3x3x4"):
        assert text in page
    assert "of a kernel, channel" in page or "layer 3" in page or "layer 4" in page
    words = " ".join(command_line(state.config))
    assert f"--network {SMALL}" in words and "--activation" not in words and "--batch 16" in words
