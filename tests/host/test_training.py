"""Training on the golden model: it learns, it repeats to the bit, and every option goes with every other."""

from dataclasses import replace

import numpy as np
import pytest

from qcloop.array import Array, ArrayConfig, GoldenArray, Policy, compiled, pulse_cost
from qcloop.array import reference as array_reference
from qcloop.array.generator import Grng16
from qcloop.contract.generator import Stream
from qcloop.crossbar import reference as crossbar_reference
from qcloop.crossbar.physics import array_settings, pulse_energies
from qcloop.data import Dataset
from qcloop.device import builtin
from qcloop.errors import ConfigError
from qcloop.training import reference
from qcloop.training.chain import interleave
from qcloop.training.settings import RECIPES, RULE_DEFAULTS, RunSettings, resolve
from qcloop.training.trainer import Trainer


def train(settings, data, array=None, **kernels):
    array = array or GoldenArray(settings.array_config)
    profile = builtin(settings.device, settings.states or 32)
    trainer = Trainer(settings, profile, data, array, **kernels)
    trainer.initialise()
    while not trainer.finished:
        for _ in trainer.run_epoch():
            pass
    return trainer


@pytest.mark.parametrize("update", ["mixed", "stochastic", "nearest"])
def test_every_update_rule_learns_from_real_images(update, make_settings, mnist):
    settings = make_settings(update=update, images=10000, epochs=2)
    trainer = train(settings, mnist)
    assert (
        trainer.progress.history[-1].test_accuracy
        > {"mixed": 0.85, "stochastic": 0.8, "nearest": 0.6}[update]
    )


@pytest.mark.parametrize(
    "options",
    [
        {"update": "mixed"},
        {"update": "nearest", "bias": "none", "scheme": "differential", "policy": "reset-only"},
        {"update": "stochastic", "input_bits": 8, "activation": "relu", "network": "784-12-10"},
        {
            "update": "mixed",
            "policy": "verify",
            "read_noise": 0.2,
            "adc_bits": 10,
            "stuck_off": 0.02,
            "stuck_on": 0.01,
        },
    ],
    ids=["mixed", "nearest", "stochastic", "all-at-once"],
)
def test_compiled_and_plain_numpy_kernels_leave_the_same_trace(options, make_settings, mnist):
    settings = make_settings(images=96, **options)
    few = replace(mnist, test_images=mnist.test_images[:100], test_labels=mnist.test_labels[:100])
    fast = train(settings, few)
    kernels = {"kernels": reference, "crossbar_kernels": crossbar_reference}
    plain = train(settings, few, GoldenArray(settings.array_config, array_reference), **kernels)
    assert fast.progress.history == plain.progress.history
    assert fast.counters() == plain.counters()
    assert fast.array.positions() == plain.array.positions()
    assert fast.cost() == plain.cost()


def test_the_training_code_knows_only_the_array_interface(make_settings, mnist):
    """A stranger that forwards the interface, and nothing else, trains to the same trace."""

    class Stranger(Array):
        def __init__(self, inner):
            super().__init__(inner.config)
            self.inner = inner

        def _configure(self, settings, positions):
            self.inner.configure(settings, positions)

        def _program(self, *arguments):
            self.inner.program(*arguments)

        def _program_block(self, *arguments):
            self.inner.program_block(*arguments)

        def _load(self, *arguments):
            self.inner.load(*arguments)

        def _start_forward(self, *arguments):
            return self.inner.start_forward(*arguments)

        def _start_backward(self, *arguments):
            return self.inner.start_backward(*arguments)

        def _read(self, region):
            return self.inner.read(region)

        def counters(self):
            return self.inner.counters()

        def positions(self):
            return self.inner.positions()

    settings = make_settings(images=300)
    there = train(settings, mnist, Stranger(GoldenArray(settings.array_config)))
    assert there.progress.history == train(settings, mnist).progress.history


def test_two_steps_of_running_passes_go_before_each_pass_that_begins():
    steps = []

    def a_pass(name):
        steps.append(name)
        for number in "123":
            yield lambda number=number: steps.append(name.lower() + number)

    interleave(map(a_pass, "ABC"))
    assert " ".join(steps) == "A B a1 b1 C a2 b2 c1 a3 b3 c2 c3"


class CutArray(GoldenArray):
    """Cuts batches as an array behind a link does, and notes how many products were asked for and fetched."""

    micro_batch_size = 5

    def __init__(self, config):
        super().__init__(config)
        self.in_flight, self.most, self.sizes = 0, 0, []

    def _noted(self, products, n):
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        self.sizes.append(n)

        def fetch():
            self.in_flight -= 1
            return products()

        return fetch

    def _start_forward(self, region, x, bits):
        return self._noted(super()._start_forward(region, x, bits), len(x))

    def _start_backward(self, region, d):
        return self._noted(super()._start_backward(region, d), len(d))


@pytest.mark.parametrize(
    "options",
    [
        {"update": "mixed"},
        {"update": "nearest", "scheme": "differential", "network": "784-10"},
        {"update": "stochastic", "input_bits": 8, "activation": "relu", "adc_bits": 6},
    ],
    ids=["mixed", "nearest", "stochastic"],
)
def test_a_batch_that_is_cut_trains_to_the_same_trace(options, make_settings, mnist):
    settings = make_settings(images=299, batch=13, **options)
    few = replace(mnist, test_images=mnist.test_images[:100], test_labels=mnist.test_labels[:100])
    array = CutArray(settings.array_config)
    cut, whole = train(settings, few, array), train(settings, few)
    assert cut.progress.history == whole.progress.history
    assert cut.counters() == whole.counters()
    assert cut.array.positions() == whole.array.positions()
    assert set(array.sizes) == {4, 5}, "13 images are 4, 4 and 5"
    assert array.most > 1 and array.in_flight == 0


def test_a_batch_with_read_noise_is_not_cut(make_settings, mnist):
    """Its samples go by the order of the vectors, which must be that of the golden model."""
    settings = make_settings(images=60, batch=13, read_noise=0.1)
    few = replace(mnist, test_images=mnist.test_images[:100], test_labels=mnist.test_labels[:100])
    array = CutArray(settings.array_config)
    assert train(settings, few, array).progress.history == train(settings, few).progress.history
    assert set(array.sizes) == {13, 60 % 13, 100} and array.most == 1


def test_another_seed_is_another_run(make_settings, mnist):
    digests = {
        train(make_settings(seed=seed, images=64), mnist).progress.history[-1].array_sha256
        for seed in (1, 2, 3)
    }
    assert len(digests) == 3


def test_forward_and_backward_see_the_devices_not_a_float_copy(make_settings, mnist):
    """Breaking the devices behind the host's back must show in the products."""
    settings = make_settings(images=600)
    trainer = train(settings, mnist)
    before = trainer.evaluate()
    for region in trainer.network.crossbar.regions:
        levels, codes = trainer.array.read(region)
        trainer.array.load(region, levels, np.full_like(codes, 264))
    assert trainer.evaluate() < 0.5 * before


@pytest.mark.parametrize("batches", [1, 7, 18])
def test_case_22_a_state_taken_anywhere_goes_on_to_the_same_bits(batches, make_settings, mnist):
    options = {"policy": "verify", "read_noise": 0.1, "stuck_off": 0.01, "update": "stochastic", "epochs": 2}
    options["shift"] = 2
    settings = make_settings(images=300, **options)
    whole = train(settings, mnist)
    profile = builtin("A")
    first = Trainer(settings, profile, mnist, GoldenArray(settings.array_config))
    first.initialise()
    done = 0
    while done < batches:
        for _ in first.run_epoch():
            done += 1
            if done == batches:
                break
    arrays, values = first.state()
    arrays = {name: array.copy() for name, array in arrays.items()}
    second = Trainer(settings, profile, mnist, GoldenArray(settings.array_config))
    second.restore(arrays, values)
    while not second.finished:
        for _ in second.run_epoch():
            pass
    assert second.progress.history == whole.progress.history
    assert second.counters() == whole.counters()
    assert second.cost() == whole.cost()


def test_case_17_the_number_of_states_changes_the_result(make_settings, mnist):
    accuracies = [
        train(make_settings("paper", states=states, device="ideal", images=3000), mnist).progress.history[-1]
        for states in (2, 4, 16, 64)
    ]
    assert len({row.test_accuracy for row in accuracies}) == 4


@pytest.mark.parametrize("policy", list(Policy))
def test_the_ledger_and_the_array_count_the_same_pulses(policy, make_settings, mnist):
    settings = make_settings(policy=policy.label, images=300, stuck_on=0.01)
    trainer = train(settings, mnist)
    ledger, counters = trainer.network.crossbar.ledger, trainer.counters()
    sets = resets = 0
    for old, new in np.argwhere(ledger.transitions):
        pulses = pulse_cost(None if old == 64 else int(old), int(new), 32, policy)
        sets += int(ledger.transitions[old, new]) * pulses[0]
        resets += int(ledger.transitions[old, new]) * pulses[1]
    retries = np.array(counters.attempts[:32]) - ledger.transitions[:, :32].sum(axis=0)
    sets += int(retries.sum())
    resets += int(retries @ (32 - np.arange(32)))
    assert (retries >= 0).all()
    assert bool(retries.any()) == (policy is Policy.VERIFY)
    assert (sets, resets) == (counters.set_pulses, counters.reset_pulses)
    assert ledger.transitions.sum() == counters.programmed == sum(int(w.sum()) for w in ledger.writes)


def test_energy_of_a_pulse_is_that_of_the_papers_amplitudes():
    profile = builtin("A")
    set_energy, reset = pulse_energies(profile, profile.pulses)
    assert set_energy == pytest.approx(25e-6)  # 0 to 1 V at 5 mA for 10 ms
    assert reset[0] == pytest.approx(0.60**2 / 300 * 10e-3)  # pulse 1 meets the ON state
    assert reset[1] == pytest.approx(0.62**2 * 16 * 77.5e-6 * 10e-3)  # pulse 2 meets stage 1, 16 G0
    assert reset[31] == pytest.approx(1.60**2 * 1.0 * 77.5e-6 * 10e-3)  # pulse 32 meets stage 31, 1 G0


@pytest.mark.parametrize("policy", list(Policy))
def test_energy_of_a_run_is_the_sum_over_its_pulses(policy, make_settings, mnist):
    trainer = train(make_settings(policy=policy.label, images=64), mnist)
    ledger, counters = trainer.network.crossbar.ledger, trainer.counters()
    set_energy, reset = pulse_energies(trainer.profile, trainer.profile.pulses)

    def sequence(new):  # SET to ON, then RESET pulses 1 .. stage
        return set_energy + sum(reset[n - 1] for n in range(1, 33 - new))

    def attempt(old, new):
        if old == 64 or (policy is not Policy.DIRECT and new >= old):
            return sequence(new)
        high, low = max(old, new), min(old, new)  # stages 32 - high .. 32 - low
        if high == low:
            return reset[32 - low - 1]
        return sum(reset[n - 1] for n in range(32 - high + 1, 32 - low + 1))

    total = sum(
        int(ledger.transitions[o, n]) * attempt(int(o), int(n)) for o, n in np.argwhere(ledger.transitions)
    )
    retries = np.array(counters.attempts[:32]) - ledger.transitions[:, :32].sum(axis=0)
    total += sum(int(count) * sequence(level) for level, count in enumerate(retries))
    cost = trainer.cost()
    assert cost.write_energy_j == pytest.approx(total)
    assert cost.programming_time_s == pytest.approx(0.01 * (counters.set_pulses + counters.reset_pulses))
    worst = trainer.network.crossbar.ledger.writes[cost.most_written_layer].reshape(
        trainer.network.crossbar.ledger.shape(cost.most_written_layer)
    )
    assert worst[cost.most_written_row, cost.most_written_column] == cost.most_writes == worst.max()


def test_initial_weights_and_order_come_from_their_own_streams(make_settings, mnist):
    settings = make_settings(images=64, batch=16)
    trainer = Trainer(settings, builtin("ideal"), mnist, GoldenArray())
    trainer.initialise()
    layer = trainer.network.layers[0]
    normal = Grng16(1, Stream.INITIAL).take(784 * 16).reshape(784, 16) / 32
    weights = trainer.network.crossbar.weights
    got = (weights.means[layer.levels] + layer.rule.memory) / weights.half_range
    assert np.allclose(got, np.clip(normal / 3, -1, 1), atol=1e-4)
    order = trainer._order(0)
    assert sorted(order) == list(range(64))
    assert (order != trainer._order(1)).any()


def test_shifts_come_from_their_own_stream_and_are_even(make_settings, mnist):
    settings = make_settings(shift=2, images=5000)
    trainer = Trainer(settings, builtin("A"), mnist, GoldenArray(settings.array_config))
    first, second = trainer._offsets(0), trainer._offsets(1)
    words = Grng16(settings.seed, Stream.SHIFTS).take_words(2 * 10000)
    expected = [(int(word) * 5 >> 16) - 2 for word in words]
    assert np.concatenate([first, second]).reshape(-1).tolist() == expected
    counts = np.bincount(first.reshape(-1) + 2)
    assert len(counts) == 5 and counts.min() > 1800


def test_a_run_with_shifts_sees_other_images(make_settings, mnist):
    same, shifted = (train(make_settings(images=300, shift=shift), mnist) for shift in (0, 1))
    assert same.progress.history != shifted.progress.history
    assert same._order(0).tolist() == shifted._order(0).tolist()


def test_physical_settings_become_codes():
    settings = resolve(None, {"read_noise": 0.5, "adc_bits": 8, "adc_range": 64.0, "verify_tolerance": 0.25})
    got = array_settings(settings, builtin("A"))
    assert got.read_spread == 256  # 0.5 G0 = 16 codes, in sixteenths
    assert got.adc.shift == 4  # 64 G0 = 2048 codes on 128 steps
    assert got.verify_tolerance == 8
    assert got.reference == 264


def test_read_noise_beyond_its_format_is_named():
    with pytest.raises(ConfigError, match=r"read-noise must be at most 7.998\d+ G0 for this device, not 8"):
        array_settings(resolve(None, {"read_noise": 8.0}), builtin("A"))


def test_64_states_and_stuck_cells_exclude_each_other(make_settings, mnist):
    with pytest.raises(ConfigError, match="64 states leave no room for stuck cells"):
        train(make_settings(states=64, stuck_on=0.1, images=10), mnist)


def test_stuck_cells_are_as_many_as_asked_for(make_settings, mnist):
    trainer = train(make_settings(stuck_off=0.1, stuck_on=0.05, images=10), mnist)
    levels, codes = trainer.array.read(trainer.network.crossbar.regions[0])
    stuck = levels == 63
    assert stuck.mean() == pytest.approx(0.15, abs=0.02)
    assert (codes[stuck] == 16).sum() == pytest.approx(2 * (codes[stuck] == 512).sum(), rel=0.15)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"network": "784"}, "two or more layer sizes such as 784-16-16-10, not '784'"),
        ({"network": "784-x-10"}, "not '784-x-10'"),
        ({"network": "784-0-10"}, "not '784-0-10'"),
        ({"batch": 0}, "batch must be 1..65536, not 0"),
        ({"epochs": 0}, "epochs must be 1..1000000, not 0"),
        ({"epochs": 1_000_001}, "epochs must be 1..1000000, not 1000001"),
        ({"images": -1}, r"images must be 0 \(all\) or more, not -1"),
        ({"seed": -1}, r"seed must be 0..2\^64-1, not -1"),
        ({"shift": 9}, "shift must be 0..8 pixels, not 9"),
        ({"shift": -1}, "shift must be 0..8 pixels, not -1"),
        ({"input_bits": 4}, "input-bits must be 1 or 8, not 4"),
        ({"rate": 0.0}, r"rate must be 1e-06..1e\+06, not 0"),
        ({"rate": 1e308}, r"rate must be 1e-06..1e\+06, not 1e\+308"),
        ({"rate": 10**400}, "rate must be a finite number, not inf"),
        ({"rate": float("nan")}, "rate must be a finite number, not nan"),
        ({"decay": 1.5}, "decay must be 1e-06..1, not 1.5"),
        ({"decay": 5e-324}, "decay must be 1e-06..1, not 4.94066e-324"),
        ({"weight_range": -1.0}, r"weight-range must be 1e-06..1e\+06, not -1"),
        ({"weight_range": 1e300}, r"weight-range must be 1e-06..1e\+06, not 1e\+300"),
        ({"weight_range": 5e-324}, r"weight-range must be 1e-06..1e\+06, not 4.94066e-324"),
        ({"read_noise": -0.1}, "read-noise must be 0 or more, not -0.1"),
        ({"adc_bits": 17}, r"adc-bits must be 0 \(none\) or 2..16, not 17"),
        ({"stuck_on": 1.5}, "stuck-on must be a share of 0..1, not 1.5"),
        ({"stuck_on": 0.6, "stuck_off": 0.6}, r"stuck-off \+ stuck-on must be at most 1, not 1.2"),
        ({"verify_tries": 0}, "verify-tries must be 1..255, not 0"),
        ({"policy": "set-only"}, "unknown policy 'set-only'"),
        ({"threshold": -0.5}, "threshold must be 0 to below 64 levels, not -0.5"),
        ({"threshold": 64}, "threshold must be 0 to below 64 levels, not 64.0"),
        ({"threshold": float("inf")}, "threshold must be a finite number, not inf"),
        ({"threshold": 2, "update": "nearest"}, "threshold must be 0 with update nearest, which .*, not 2$"),
        ({"threshold": 2, "update": "stochastic", "step": "array"}, "threshold must be 0 with update stoch"),
        ({"update": "best"}, "update must be one of nearest, stochastic, mixed, carry, not 'best'"),
        ({"cells": 1001}, "cells must be a multiple of 16 lanes up to 1073741824, not 1001"),
        (
            {"cells": 100_000_000_000},
            "cells must be a multiple of 16 lanes up to 1073741824, not 100000000000",
        ),
        ({"cells": 0}, "cells must be a multiple of 16 lanes up to 1073741824, not 0"),
        ({"batch": 2.5}, "batch must be an integer, not 2.5"),
        ({"states": "32"}, "states must be an integer, not '32'"),
        ({"rate": "fast"}, "rate must be a number, not 'fast'"),
        ({"sigma": None, "decay": None}, "decay must be a number, not None"),
        ({"lanes": 3}, "lanes must be a power of two from 1 to 64, not 3"),
        ({"network": "784-\n10"}, r"such as 784-16-16-10, not '784-\\n10'"),
        ({"network": " 784-10"}, "such as 784-16-16-10, not ' 784-10'"),
        ({"network": "784-1_0"}, "such as 784-16-16-10, not '784-1_0'"),
        ({"network": "784-٣"}, "such as 784-16-16-10, not '784-٣'"),
        ({"network": "784-10\n"}, r"such as 784-16-16-10, not '784-10\\n'"),
        ({"network": "784-" + "9" * 5000}, f"such as 784-16-16-10, not '784-{'9' * 76}'$"),
        (
            {"network": "784-8193-10"},
            "network 784-8193-10 has a layer of 8193, but the largest is 8192: use a",
        ),
        ({"network": "10000-10"}, "a layer of 10000, but the largest is 8192: .* or smaller images"),
        ({"network": "784" + "-1" * 32}, "network must have at most 32 layer sizes, not 33"),
    ],
)
def test_settings_out_of_range_are_named(given, message):
    with pytest.raises(ConfigError, match=message):
        resolve(None, given)


def test_recipes_and_rules_give_what_is_left_open_and_the_user_has_the_last_word():
    paper = resolve("paper", {})
    assert (paper.network, paper.update, paper.bias, paper.batch) == ("784-16-16-10", "nearest", "none", 36)
    assert (paper.rate, paper.decay, paper.weight_range, paper.epochs) == (1.131, 0.868, 7.96, 10)
    assert paper.reading == "measured" and resolve("paper", {"reading": "spread"}).reading == "spread"
    assert (
        resolve("paper", {"device": "mine.toml"}).reading is None
        and resolve("paper", {"sigma": 2.0}).reading is None
    )
    assert resolve("best", {"batch": 7}).batch == 7
    gentle, plain = resolve("gentle", {}).to_dict(), resolve(None, {}).to_dict()
    assert {name: v for name, v in gentle.items() if plain[name] != v} == {"threshold": 2.5}
    assert resolve(None, {"update": "nearest"}).rate == RULE_DEFAULTS["nearest"]["rate"]
    assert resolve(None, {"update": "nearest", "rate": 0.1}).rate == 0.1
    with pytest.raises(ConfigError, match="unknown recipe 'x': expected one of paper, best, gentle"):
        resolve("x", {})
    assert set(RECIPES) == {"paper", "best", "gentle"}


def test_settings_survive_a_file_and_typos_are_named():
    settings = resolve("best", {"states": 16})
    assert RunSettings.from_dict(settings.to_dict()) == settings
    with pytest.raises(ConfigError, match="unknown setting 'batchsize'"):
        RunSettings.from_dict({"batchsize": 3})
    with pytest.raises(ConfigError, match="setting batch must be of type int, not '3'"):
        RunSettings.from_dict({"batch": "3"})


def test_networks_that_do_not_fit_are_named_with_the_numbers(make_settings, mnist):
    with pytest.raises(ConfigError, match="starts at 100, but the images of mnist have 784 pixels"):
        train(make_settings(network="100-10"), mnist)
    with pytest.raises(ConfigError, match="ends at 9, but mnist has 10 classes"):
        train(make_settings(network="784-9"), mnist)
    with pytest.raises(ConfigError, match=r"needs 12960 cells .* but the array has 1024"):
        train(make_settings(network="784-16-16-10", cells=1024, lanes=2), mnist)
    with pytest.raises(ConfigError, match="images must be at most 60000, the training set, not 60001"):
        train(make_settings(images=60001), mnist)


def test_a_batch_larger_than_the_images_and_a_small_last_batch_work(make_settings, mnist):
    assert train(make_settings(images=10, batch=100), mnist).finished
    assert train(make_settings(images=33, batch=32), mnist).progress.history[-1].epoch == 1


def test_8_bit_gradients_of_a_large_batch_cannot_overflow(make_settings, mnist):
    white = Dataset(
        "white",
        np.full((2000, 784), 255, np.uint8),
        np.zeros(2000, np.uint8),
        np.full((10, 784), 255, np.uint8),
        np.arange(10, dtype=np.uint8),
        (28, 28),
    )
    settings = make_settings(images=0, batch=2000, input_bits=8, network="784-10")
    fast = train(settings, white)
    plain = train(
        settings,
        white,
        GoldenArray(ArrayConfig(), compiled),
        kernels=reference,
        crossbar_kernels=crossbar_reference,
    )
    assert fast.progress.history == plain.progress.history
    assert fast.progress.history[0].programmed > 7840
