from random import Random

import pytest

from qcloop.contract.seeding import STATE_BITS, _windows, seed_bytes
from qcloop.errors import ConfigError


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16, 32])
def test_seed_bits_have_full_rank(lanes):
    # The proof in tests/formal rests on this: a seed with a bit of 1 gives a state that is not zero.
    assert [pivot for pivot, _, _ in _windows(lanes)] == list(range(STATE_BITS))[::-1]


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16, 32])
def test_seed_bytes_are_one_to_one_and_linear(lanes):
    random = Random(lanes)
    states = [
        (random.randrange(1, 1 << 127), random.randrange(1, 1 << 89), random.randrange(1, 1 << 127))
        for _ in range(20)
    ]
    coded = {(a, b): int.from_bytes(seed_bytes(a, b, lanes), "little") for a, b, _ in states}
    assert len(set(coded.values())) == len(coded)
    for a, b, c in states:
        together = int.from_bytes(seed_bytes(a ^ c, b, lanes), "little")
        other = int.from_bytes(seed_bytes(c, b, lanes), "little")
        # The part of b alone is what the three have in common.
        assert together ^ coded[a, b] ^ other == part_of_b(b, lanes)


def part_of_b(b, lanes):
    one, two, three = (int.from_bytes(seed_bytes(a, b, lanes), "little") for a in (1, 2, 3))
    return one ^ two ^ three


@pytest.mark.parametrize(("a", "b", "name", "top"), [(0, 1, "A", "2^127-1"), (1, 1 << 89, "B", "2^89-1")])
def test_registers_that_no_seed_gives_are_refused(a, b, name, top):
    with pytest.raises(ConfigError) as error:
        seed_bytes(a, b, 4)
    for part in (f"register {name}", f"1 to {top}", f"not {a if name == 'A' else b}", "seed_state"):
        assert part in str(error.value)
