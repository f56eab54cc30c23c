"""Clock, reset and lights of a board; each simulation has its cycle limit."""

from itertools import pairwise

import pytest
from amaranth import ClockDomain, Module
from amaranth.sim import Simulator

from qcloop.errors import ConfigError
from qcloop_firmware.boards import all_boards, find_board
from qcloop_firmware.build import design_files
from qcloop_firmware.clocking import OSCILLATORS, ResetHold, pll_setting, pll_settings
from qcloop_firmware.top import Lights
from qcloop_hdl.tools.synthesis import Family

CLOCKS = 360
#: A slow clock: the lights' times are shares of a second.
SLOW = 1 << 10


def simulate(design, bench, domain="sync"):
    m = Module()
    if domain == "por":
        m.domains.por = ClockDomain(reset_less=True)
    m.submodules.design = design
    simulator = Simulator(m)
    simulator.add_clock(1e-6, domain=domain)
    simulator.add_testbench(bench)
    simulator.run_until(20_000e-6)


def test_the_reset_is_held_long_enough_after_the_lock_and_comes_back_when_it_is_lost():
    hold = ResetHold(CLOCKS)
    held = []

    async def bench(ctx):
        for locked, clocks in ((0, 50), (1, 100), (0, 5), (1, 2000), (0, 20), (1, 2000)):
            ctx.set(hold.locked, locked)
            trace = []
            for _ in range(clocks):
                await ctx.tick("por")
                trace.append(ctx.get(hold.rst))
            held.append(trace)

    simulate(hold, bench, "por")
    unlocked, too_short, lost, good, gone, again = held
    assert all(unlocked), "reset must hold before the lock"
    assert all(too_short + lost), "a lock that is lost too soon must not release the reset"
    for trace in (good, again):
        clocks = trace.index(0)
        assert CLOCKS <= clocks <= 2 * CLOCKS + 8
        assert not any(trace[clocks:]), "reset must stay released"
    assert all(gone[4:]), "a lost lock must reset"


def test_a_board_holds_its_reset_for_15_microseconds_of_its_own_clock(monkeypatch):
    holds = []

    class Recorded(ResetHold):
        def __init__(self, clocks):
            holds.append(clocks)
            super().__init__(clocks)

    monkeypatch.setattr("qcloop_firmware.clocking.ResetHold", Recorded)
    board = find_board("icebreaker")
    design_files(board, board.bauds[0])
    assert [hold / board.clock for hold in holds] == [pytest.approx(15e-6)]


@pytest.mark.parametrize("board", all_boards().values(), ids=lambda board: board.name)
def test_the_clock_of_every_board_can_be_made(board):
    if board.source_clock == board.clock:
        return
    setting = pll_setting(board.family, board.source_clock, board.clock)
    assert setting.hertz == pytest.approx(board.clock, rel=1e-3)
    value = {name: getattr(number, "value", number) for name, number in setting.parameters.items()}
    # The clock, once more from what the PLL is told; and the oscillator within the limits of the data sheets.
    # All boards have clocks that their PLLs make exactly.
    source = board.source_clock
    if board.family is Family.ICE40:
        oscillator = source / (value["p_DIVR"] + 1) * (value["p_DIVF"] + 1)
        made, low, high = oscillator / 2 ** value["p_DIVQ"], 533e6, 1066e6
    elif board.family is Family.ECP5:
        oscillator = source / value["p_CLKI_DIV"] * value["p_CLKFB_DIV"] * value["p_CLKOP_DIV"]
        made, low, high = oscillator / value["p_CLKOS_DIV"], 400e6, 800e6
    else:
        made = source * (value["p_FBDIV_SEL"] + 1) / (value["p_IDIV_SEL"] + 1)
        oscillator, low, high = made * value["p_ODIV_SEL"], 500e6, 1200e6
    assert made == pytest.approx(setting.hertz, rel=1e-12)
    assert made == pytest.approx(board.clock, rel=1e-12)
    assert oscillator == pytest.approx(setting.oscillator, rel=1e-12)
    assert low <= oscillator <= high


def margin(family, setting):
    """Return the distance of the oscillator from the nearer limit, as a share of that limit."""
    low, high = OSCILLATORS[family]
    return min(setting.oscillator / low - 1, 1 - setting.oscillator / high)


@pytest.mark.parametrize("board", all_boards().values(), ids=lambda board: board.name)
def test_no_oscillator_is_at_a_limit_if_another_setting_makes_the_same_clock(board):
    for clock in {board.clock, board.learning_clock or board.clock} - {board.source_clock}:
        chosen = pll_setting(board.family, board.source_clock, clock)
        others = [
            margin(board.family, setting)
            for setting in pll_settings(board.family, board.source_clock)
            if setting.hertz == pytest.approx(chosen.hertz, rel=1e-9)
        ]
        assert margin(board.family, chosen) >= min(0.05, max(others))


@pytest.mark.parametrize(
    ("family", "source", "clock", "oscillator", "divisions"),
    [
        # Colorlight; of the settings with 600 MHz it is the one that does not divide the source.
        (Family.ECP5, 25e6, 50e6, 600e6, {"p_CLKI_DIV": 1, "p_CLKOP_DIV": 24, "p_CLKOS_DIV": 12}),
        # OrangeCrab 25F: 660 MHz would be nearer to the middle, but with a source that is divided by 4.
        (Family.ECP5, 48e6, 66e6, 528e6, {"p_CLKI_DIV": 1, "p_CLKOP_DIV": 11, "p_CLKOS_DIV": 8}),
        # Tang Nano 9K: 576 and 1,152 MHz are possible.
        (Family.GOWIN, 27e6, 36e6, 576e6, {"p_IDIV_SEL": 2, "p_FBDIV_SEL": 3, "p_ODIV_SEL": 16}),
    ],
)
def test_of_settings_with_the_same_error_the_detector_decides_and_then_the_middle_of_the_range(
    family, source, clock, oscillator, divisions
):
    setting = pll_setting(family, source, clock)
    assert (setting.hertz, setting.oscillator) == (clock, oscillator)
    assert divisions.items() <= setting.parameters.items()


def test_a_smaller_error_comes_before_the_middle_of_the_range():
    # No setting makes exactly 48.1 MHz of 25 MHz.
    setting = pll_setting(Family.ECP5, 25e6, 48.1e6)
    errors = [abs(each.hertz - 48.1e6) for each in pll_settings(Family.ECP5, 25e6)]
    assert abs(setting.hertz - 48.1e6) == pytest.approx(min(errors))
    assert min(errors) > 0


def test_a_clock_that_cannot_be_made_is_refused_with_what_is_near():
    with pytest.raises(ConfigError, match=r"no 7 MHz of 12 MHz: [\d.]+ MHz is the nearest"):
        pll_setting(Family.ICE40, 12e6, 7e6)
    with pytest.raises(ConfigError, match="no clock at all"):
        pll_setting(Family.ICE40, 1e6, 24e6)


def lights_after(open_, strobes, clocks):
    """Return the traces of (heartbeat, activity, error); strobes: clocks at which seen and wrong are high."""
    lights = Lights(SLOW)
    traces = ([], [], [])

    async def bench(ctx):
        ctx.set(lights.open, open_)
        for clock in range(clocks):
            ctx.set(lights.seen, clock in strobes)
            ctx.set(lights.wrong, clock in strobes)
            await ctx.tick()
            for trace, light in zip(traces, (lights.heartbeat, lights.activity, lights.error), strict=True):
                trace.append(ctx.get(light))

    simulate(lights, bench)
    return traces


@pytest.mark.parametrize(("open_", "edges"), [(0, 2), (1, 8)])
def test_the_heartbeat_is_once_a_second_and_four_times_while_a_session_is_open(open_, edges):
    heartbeat, *others = lights_after(open_, (), SLOW + 1)
    assert sum(a != b for a, b in pairwise(heartbeat)) == edges
    assert not any(map(any, others))


def test_a_strobe_lights_long_enough_to_be_seen_and_no_longer():
    _, activity, error = lights_after(0, (100, 1500), 3 * SLOW)
    for trace, shortest in ((activity, SLOW // 16), (error, SLOW // 8)):
        assert trace[100]
        first = trace.index(0, 100) - 100
        assert shortest <= first <= 2 * shortest + 1
        assert sum(trace) <= 4 * shortest
        assert trace[1500]
        assert not trace[-1]
