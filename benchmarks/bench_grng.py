"""Speed of the fluctuation generator beside NumPy's own, measured one after another in each round.

Run: ``python benchmarks/bench_grng.py``
"""

import random
import statistics
import timeit
from collections.abc import Callable
from time import perf_counter

import numpy as np

from qcloop.array.generator import Grng16
from qcloop.contract.generator import POSITION_MAX

COUNT = 1 << 20
REPETITIONS = 31
ACCESSES = 200


def rates(sources: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median samples a second of each source. All are measured in each round: a slow spell hits all."""
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    for source in sources.values():
        source()
    for _ in range(REPETITIONS):
        for name, source in sources.items():
            start = perf_counter()
            source()
            seconds[name].append(perf_counter() - start)
    return {name: COUNT / statistics.median(times) for name, times in seconds.items()}


def small_request(n: int, requests: int = 100_000) -> float:
    """Seconds of one ``take(n)``, refills included."""
    generator = Grng16(1)
    times = timeit.repeat("take(n)", globals={"take": generator.take, "n": n}, number=requests, repeat=7)
    return statistics.median(times) / requests


def random_access() -> float:
    """Seconds of a seek to a random position and 16 samples there."""
    generator, draw = Grng16(1), random.Random(1)
    times = []
    for _ in range(ACCESSES):
        position = draw.randrange(POSITION_MAX - 16)
        start = perf_counter()
        generator.seek(position)
        generator.take(16)
        times.append(perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    z, words, plain = Grng16(1), Grng16(1), Grng16(1, compiled=False)
    pcg = np.random.Generator(np.random.PCG64(1))
    philox = np.random.Generator(np.random.Philox(1))
    measured = rates(
        {
            "GRNG16 z, take": lambda: z.take(COUNT),
            "GRNG16 u16, take_words": lambda: words.take_words(COUNT),
            "GRNG16 z, plain NumPy twin": lambda: plain.take(COUNT),
            "PCG64 standard_normal float32": lambda: pcg.standard_normal(COUNT, np.float32),
            "Philox standard_normal float32": lambda: philox.standard_normal(COUNT, np.float32),
            "PCG64 integers int16": lambda: pcg.integers(-32768, 32768, COUNT, np.int16),
            "Philox integers int16": lambda: philox.integers(-32768, 32768, COUNT, np.int16),
        }
    )
    reference = measured["GRNG16 z, take"]
    print(f"{COUNT} samples a request, one core, median of {REPETITIONS} rounds")
    print(f"{'source':32}{'million/s':>10}{'z rate / its rate':>20}")
    for name, rate in measured.items():
        print(f"{name:32}{rate / 1e6:10.0f}{reference / rate:20.2f}")
    print()
    for n in (16, 32, 64, 256):
        print(f"{f'take({n})':32}{small_request(n) * 1e6:10.2f} us")
    print(f"{'random access, 16 samples':32}{random_access() * 1e6:10.0f} us")


if __name__ == "__main__":
    main()
