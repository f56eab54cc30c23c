"""The clock of a board, made by a PLL of its family, and a reset that waits until memory can be read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

from amaranth import ClockDomain, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from qcloop.errors import ConfigError
from qcloop_hdl.tools.synthesis import Family

#: Seconds for which the reset is held. The block RAM of an iCE40 reads zero for some 3 us after
#: configuration, by the chip's own oscillator. Five times that is what Amaranth waits, too, but Amaranth does
#: so only if the clock comes from no PLL.
RESET_SECONDS = 15e-6
#: Largest relative error of a PLL's clock.
_MAX_ERROR = 1e-3
#: Relative error of a clock below which it is one of rounding.
_ROUNDING = 1e-9
#: Share of a limit that an oscillator keeps from it where it can.
_MARGIN = 0.05
#: Lowest and highest frequency, Hz, of the oscillator in the PLL of a family: Lattice FPGA-TN-02052 (iCE40)
#: and FPGA-DS-02012 (ECP5), Gowin DS117 and DS226, of these two the narrower limits.
OSCILLATORS: dict[Family, tuple[float, float]] = {
    Family.ICE40: (533e6, 1066e6),
    Family.ECP5: (400e6, 800e6),
    Family.GOWIN: (500e6, 1200e6),
}


@dataclass(frozen=True)
class PllSetting:
    """Parameters of a PLL, and the clock that they make."""

    hertz: float
    #: Frequency at which the PLL compares phases, Hz: the higher, the less the clock jitters.
    detector: float
    #: Frequency of the PLL's oscillator, from which the clock is divided, Hz.
    oscillator: float
    #: Parameters of the family's primitive.
    parameters: dict[str, Any]


def pll_setting(family: Family, source: float, hertz: float) -> PllSetting:
    """Return the setting of a family's PLL that makes a clock of ``hertz``, within 0.1 %, from another.

    Of the settings with the smallest error, and whose oscillator is not near a limit, it is the one that
    divides the source least, and of several such the one whose oscillator is nearest to the middle of its
    range. Raises ConfigError, which names the nearest clock, if the error is larger.
    """
    settings = list(pll_settings(family, source))
    nearest = min(settings, key=lambda setting: abs(setting.hertz - hertz), default=None)
    if nearest is None or abs(nearest.hertz / hertz - 1) > _MAX_ERROR:
        near = f"{nearest.hertz / 1e6:g} MHz is the nearest" if nearest else "it makes no clock at all"
        raise ConfigError(
            f"the PLL of {family.name} makes no {hertz / 1e6:g} MHz of {source / 1e6:g} MHz: {near}"
        )
    error = abs(nearest.hertz - hertz) + _ROUNDING * hertz
    best = (setting for setting in settings if abs(setting.hertz - hertz) <= error)
    low, high = OSCILLATORS[family]

    def rank(setting: PllSetting) -> tuple[bool, float, float]:
        near = not low * (1 + _MARGIN) <= setting.oscillator <= high * (1 - _MARGIN)
        return near, -setting.detector, abs(setting.oscillator - (low + high) / 2)

    return min(best, key=rank)


def pll_settings(family: Family, source: float) -> Iterator[PllSetting]:
    """Yield the settings of a family's PLL for a source, Hz; the least division of the source comes first."""
    return _SETTINGS[family](source)


def _ice40(source: float) -> Iterator[PllSetting]:
    """Lattice FPGA-TN-02052: reference 10 to 133 MHz at the detector."""
    low, high = OSCILLATORS[Family.ICE40]
    for reference in range(1, 17):
        detector = source / reference
        if not 10e6 <= detector <= 133e6:
            continue
        limits = (17e6, 26e6, 44e6, 66e6, 101e6, 133e6)
        choice = next(number for number, limit in enumerate(limits, 1) if detector <= limit)
        for feedback in range(1, 129):
            oscillator = detector * feedback
            if not low <= oscillator <= high:
                continue
            for power in range(1, 7):
                yield PllSetting(
                    oscillator / 2**power,
                    detector,
                    oscillator,
                    {
                        "p_FEEDBACK_PATH": "SIMPLE",
                        "p_DIVR": Const(reference - 1, 4),
                        "p_DIVF": Const(feedback - 1, 7),
                        "p_DIVQ": Const(power, 3),
                        "p_FILTER_RANGE": Const(choice, 3),
                    },
                )


def _ecp5(source: float) -> Iterator[PllSetting]:
    """Lattice FPGA-DS-02012: detector 10 to 400 MHz.

    CLKOP closes the loop at the detector's frequency. CLKOS is the clock: it has a divider of its own.
    """
    low, high = OSCILLATORS[Family.ECP5]
    for reference in range(1, 129):
        detector = source / reference
        if not 10e6 <= detector <= 400e6:
            continue
        for multiple in range(1, 81):
            oscillator = detector * multiple
            if not low <= oscillator <= high:
                continue
            for divider in range(2, 81):
                yield PllSetting(
                    oscillator / divider,
                    detector,
                    oscillator,
                    {
                        "p_CLKI_DIV": reference,
                        "p_CLKFB_DIV": 1,
                        "p_CLKOP_DIV": multiple,
                        "p_CLKOP_CPHASE": multiple - 1,
                        "p_CLKOS_DIV": divider,
                        "p_CLKOS_CPHASE": divider - 1,
                    },
                )


def _gowin(source: float) -> Iterator[PllSetting]:
    """Gowin UG286, DS117 and DS226, narrower limits: detector 3 to 400 MHz."""
    low, high = OSCILLATORS[Family.GOWIN]
    for reference in range(1, 65):
        detector = source / reference
        if not 3e6 <= detector <= 400e6:
            continue
        for feedback in range(1, 65):
            for divider in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128):
                oscillator = detector * feedback * divider
                if low <= oscillator <= high:
                    yield PllSetting(
                        detector * feedback,
                        detector,
                        oscillator,
                        {
                            "p_FCLKIN": f"{source / 1e6:g}",
                            "p_IDIV_SEL": reference - 1,
                            "p_FBDIV_SEL": feedback - 1,
                            "p_ODIV_SEL": divider,
                        },
                    )


_SETTINGS: dict[Family, Callable[[float], Iterator[PllSetting]]] = {
    Family.ICE40: _ice40,
    Family.ECP5: _ecp5,
    Family.GOWIN: _gowin,
}


class Clocking(wiring.Component):
    """The clock of a board, and a reset for it.

    The reset is released :data:`RESET_SECONDS` after the PLL has locked, synchronously to the clock, and held
    again if the PLL loses its lock. Without a PLL it is released so long after configuration.

    Parameters
    ----------
    family : Family
    hertz : float
        The clock to make, Hz.
    """

    #: The clock.
    clk: Out(1)
    #: Its reset.
    rst: Out(1)

    def __init__(self, family: Family, hertz: float) -> None:
        self._family, self._hertz = family, hertz
        super().__init__()

    @property
    def family(self) -> Family:
        """Family of the chip, which decides on the PLL."""
        return self._family

    @property
    def hertz(self) -> float:
        """The clock, Hz."""
        return self._hertz

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        source = platform.default_clk_frequency
        pin = platform.request(platform.default_clk, dir="-")
        locked = Signal()
        if source == self.hertz:
            m.submodules.buffer = buffer = io.Buffer("i", pin)
            m.d.comb += [self.clk.eq(buffer.i), locked.eq(1)]
        else:
            setting = pll_setting(self.family, source, self.hertz)
            _PLLS[self.family](m, pin, self.clk, locked, setting.parameters, platform)
        m.domains.por = ClockDomain(reset_less=True)
        m.submodules.hold = hold = ResetHold(ceil(RESET_SECONDS * self.hertz))
        m.d.comb += [ClockSignal("por").eq(self.clk), hold.locked.eq(locked), self.rst.eq(hold.rst)]
        return m


class ResetHold(wiring.Component):
    """A reset that is held while ``locked`` is low, and for a number of clocks of domain ``por`` after that.

    It works from configuration on, because its registers start at 0. ``locked`` may change at any time.

    Parameters
    ----------
    clocks : int
        Clocks for which the reset is held at least.
    """

    #: The clock is good. This input need not be synchronous: it is synchronised here.
    locked: In(1)
    #: Hold everything reset.
    rst: Out(1)

    def __init__(self, clocks: int) -> None:
        self._clocks = clocks
        super().__init__()

    @property
    def clocks(self) -> int:
        """Clocks for which the reset is held at least."""
        return self._clocks

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        locked, running = Signal(), Signal()
        m.submodules.synchronizer = FFSynchronizer(self.locked, locked, o_domain="por")
        # The count ends at a power of two, so that its highest bit alone tells that it has ended.
        count = Signal((self.clocks - 1).bit_length() + 1)
        m.d.comb += self.rst.eq(~running)
        with m.If(~locked):
            m.d.por += [count.eq(0), running.eq(0)]
        with m.Elif(~count[-1]):
            m.d.por += count.eq(count + 1)
        with m.Else():
            m.d.por += running.eq(1)
        return m


def _ice40_pll(m: Module, pin: Any, clk: Any, locked: Any, parameters: dict[str, Any], _: Any) -> None:
    m.submodules.pll = Instance(
        "SB_PLL40_PAD",
        i_PACKAGEPIN=pin.io,
        i_RESETB=Const(1),
        i_BYPASS=Const(0),
        o_PLLOUTGLOBAL=clk,
        o_LOCK=locked,
        **parameters,
    )


def _ecp5_pll(m: Module, pin: Any, clk: Any, locked: Any, parameters: dict[str, Any], _: Any) -> None:
    m.submodules.buffer = buffer = io.Buffer("i", pin)
    loop = Signal()
    m.submodules.pll = Instance(
        "EHXPLLL",
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA",
        p_OUTDIVIDER_MUXB="DIVB",
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_FPHASE=0,
        p_CLKOS_ENABLE="ENABLED",
        p_CLKOS_FPHASE=0,
        p_FEEDBK_PATH="CLKOP",
        i_CLKI=buffer.i,
        i_CLKFB=loop,
        i_RST=Const(0),
        i_STDBY=Const(0),
        i_PHASESEL0=Const(0),
        i_PHASESEL1=Const(0),
        i_PHASEDIR=Const(1),
        i_PHASESTEP=Const(1),
        i_PHASELOADREG=Const(1),
        i_PLLWAKESYNC=Const(0),
        i_ENCLKOP=Const(0),
        i_ENCLKOS=Const(0),
        o_CLKOP=loop,
        o_CLKOS=clk,
        o_LOCK=locked,
        **parameters,
    )


def _gowin_pll(m: Module, pin: Any, clk: Any, locked: Any, parameters: dict[str, Any], platform: Any) -> None:
    m.submodules.buffer = buffer = io.Buffer("i", pin)
    m.submodules.pll = Instance(
        "rPLL",
        p_DEVICE=platform.family,
        p_DYN_IDIV_SEL="false",
        p_DYN_FBDIV_SEL="false",
        p_DYN_ODIV_SEL="false",
        p_DYN_DA_EN="false",
        p_PSDA_SEL="0000",
        p_DUTYDA_SEL="1000",
        p_DYN_SDIV_SEL=2,
        p_CLKFB_SEL="internal",
        p_CLKOUT_BYPASS="false",
        p_CLKOUTP_BYPASS="false",
        p_CLKOUTD_BYPASS="false",
        p_CLKOUTD_SRC="CLKOUT",
        p_CLKOUTD3_SRC="CLKOUT",
        i_CLKIN=buffer.i,
        i_CLKFB=Const(0),
        i_RESET=Const(0),
        i_RESET_P=Const(0),
        i_FBDSEL=Const(0, 6),
        i_IDSEL=Const(0, 6),
        i_ODSEL=Const(0, 6),
        i_PSDA=Const(0, 4),
        i_DUTYDA=Const(0, 4),
        i_FDLY=Const(0, 4),
        o_CLKOUT=clk,
        o_LOCK=locked,
        **parameters,
    )


_PLLS: dict[Family, Callable[[Module, Any, Any, Any, dict[str, Any], Any], None]] = {
    Family.ICE40: _ice40_pll,
    Family.ECP5: _ecp5_pll,
    Family.GOWIN: _gowin_pll,
}
