"""What the proofs of the gateware share: registers inside a component, mutants, and rules of ports."""

import inspect
from types import ModuleType, SimpleNamespace

from amaranth import Cat, Signal, Value
from amaranth.hdl import Assert, Assume, Elaboratable, Fragment

from qcloop_hdl.array.counters import bank


class Inside:
    """A circuit with the components in it, and its own signals by name, for registers that no port shows."""

    def __init__(self, fragment):
        self._fragment = fragment
        self._signals = {}
        for statements in fragment.statements.values():
            for signal in statements._lhs_signals():
                self._signals.setdefault(signal.name, []).append(signal)

    def __getitem__(self, key):
        """Return the one signal of that name, or name and width, that the circuit itself drives."""
        name, width = key if isinstance(key, tuple) else (key, None)
        (signal,) = (one for one in self._signals[name] if width in (None, len(one)))
        return signal

    @property
    def component(self):
        """The component that this is the circuit of: it has the ports."""
        return self._fragment.origins[0]

    def inside(self, name):
        """Return the circuit of the submodule of that name."""
        ((fragment, *_),) = (entry for entry in self._fragment.subfragments if entry[1] == name)
        return Inside(fragment)

    def state(self, *names):
        """Return whether the circuit's state machine is in one of the states."""
        machine = self._fragment.generated["fsm"]
        unknown = set(names) - set(machine.encoding)
        if unknown:
            raise KeyError(f"no states of the machine: {unknown}")
        return Cat(machine.ongoing(name) for name in names).any()


class Opened(Inside, Elaboratable):
    """A component that can be looked into before it is made a submodule."""

    def __init__(self, component):
        super().__init__(Fragment.get(component, None))

    def elaborate(self, platform):
        return self._fragment


def mutant(module: ModuleType, faults: dict[str, str]) -> SimpleNamespace:
    """Return a copy of a module with a deliberate fault, which the proof of what is in it must not pass.

    ``faults`` maps texts of its source, each of which must occur exactly once, to what stands there instead.
    """
    source = inspect.getsource(module)
    for old, new in faults.items():
        if source.count(old) != 1:
            raise ValueError(f"{old!r} occurs {source.count(old)} times in {module.__name__}")
        source = source.replace(old, new)
    space = {"__name__": module.__name__}
    exec(compile(source, module.__file__, "exec"), space)
    return SimpleNamespace(**space)


def assert_contract(m, port, withdrawn=0):
    """Assert that what is offered stays until it is taken, or until the end of a clock with ``withdrawn``.

    Return whether something was offered before.
    """
    offered, payload = _offered(m, port, withdrawn)
    with m.If(offered):
        m.d.comb += [Assert(port.valid), Assert(_bits(port) == payload)]
    return offered


def assume_contract(m, port):
    """Assume the same of a port that is driven from outside."""
    offered, payload = _offered(m, port)
    with m.If(offered):
        m.d.comb += [Assume(port.valid), Assume(_bits(port) == payload)]


def assume_stable(m, value, while_):
    """Assume that a value does not change at the end of a clock with ``while_``."""
    before, held = Signal.like(value), Signal()
    m.d.sync += [before.eq(value), held.eq(while_)]
    with m.If(held):
        m.d.comb += Assume(value == before)


def assert_counted(m, event, registered, clear=0):
    """Assert that events come in an order that EventCounters takes."""
    counted = [(event.enable | clear, event.index)]
    for clock in range(3 if registered else 1):
        enable, index = (Signal.like(value, name=f"{clock}_before") for value in counted[-1])
        m.d.sync += [enable.eq(counted[-1][0]), index.eq(counted[-1][1])]
        counted.append((enable, index))
    for enable, index in counted[1:]:
        with m.If(event.enable & enable):
            m.d.comb += Assert(event.index != index)
    with m.If(event.enable & counted[-1][0]):
        m.d.comb += Assert(bank(event.index) != bank(counted[-1][1]))


def _bits(port):
    return Value.cast(port.payload).as_unsigned()


def _offered(m, port, withdrawn=0):
    offered, payload = Signal(), Signal(len(_bits(port)))
    m.d.sync += [offered.eq(port.valid & ~port.ready & ~withdrawn), payload.eq(_bits(port))]
    return offered, payload
