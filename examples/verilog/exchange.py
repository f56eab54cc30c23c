"""The requests for the engine, and the check of its answers.

python exchange.py write   writes requests.hex for bench.v, with one byte on each line
python exchange.py check   compares answers.hex, which bench.v wrote, with the golden model
"""

import sys
from pathlib import Path

import numpy as np

from qcloop.array import ArrayConfig, GoldenArray, Positions, Region
from qcloop.contract import operations
from qcloop.contract.operations import HEADER, Operation
from qcloop.device import builtin
from qcloop.errors import QcloopError

#: Shape of the array and operand buffer, as `qcloop hdl verilog --size small` prints them.
CONFIG, BUFFER = ArrayConfig(lanes=4, cells=1 << 16, side=1024), 1024
REGION = Region(base=0, rows=8, cols=6)
SETTINGS = builtin("A").array_settings(seed=1)

values = np.random.default_rng(1)
LEVELS = values.integers(0, 32, (REGION.rows, REGION.cols), np.uint8)
X = values.integers(0, 256, (3, REGION.rows), np.uint8)


def requests() -> list[bytes]:
    """Return INFO, CONFIGURE, PROGRAM_BLOCK, FORWARD8, READ as bytes."""
    return [
        operations.request(Operation.INFO),
        operations.configure_request(SETTINGS, Positions(), CONFIG.lanes),
        *operations.block_requests(REGION, LEVELS, CONFIG.lanes, BUFFER),
        *operations.forward_requests(REGION, X, bits=8),
        *operations.read_requests(REGION, CONFIG.lanes),
    ]


def answers(content: bytes) -> list[bytes]:
    """Return the results of each answer. Raises ArrayError if a request was refused."""
    results, offset = [], 0
    for request in requests():
        if len(content) < offset + HEADER.size:
            sys.exit(f"{len(requests())} answers were expected, {len(results)} came: did the bench time out?")
        status, length = HEADER.unpack(content, offset)
        operations.check_status(status, Operation(request[0]))
        results.append(content[offset + HEADER.size : offset + HEADER.size + length])
        offset += HEADER.size + length
    return results


def check(content: bytes) -> None:
    """Compare the answers with those of the golden model. Exits if they differ."""
    info, _, _, products, cells = answers(content)
    print(f"the engine: {operations.Info.decode(info).array}")
    golden = GoldenArray(CONFIG)
    golden.configure(SETTINGS)
    golden.program_block(REGION, LEVELS)
    for what, came, expected in (
        ("codes", operations.decode_cells(cells, REGION)[1], golden.read(REGION)[1]),
        (
            "products",
            operations.decode_products(products, Operation.FORWARD8, REGION),
            golden.forward(REGION, X, bits=8),
        ),
    ):
        if not np.array_equal(came, expected):
            sys.exit(f"{what} differ: expected\n{expected}\ncame\n{came}")
        print(f"{what}: {came.size} equal\n{came}")


def main(what: str = "") -> None:
    """Write the requests, or check the answers."""
    if what == "write":
        Path("requests.hex").write_text("".join(f"{byte:02x}\n" for byte in b"".join(requests())))
    elif what == "check":
        lines = Path("answers.hex").read_text().split()
        if unknown := [index for index, line in enumerate(lines) if "x" in line]:
            sys.exit(f"byte {unknown[0]} of {len(lines)} answered has unknown bits, {lines[unknown[0]]}")
        check(bytes(int(line, 16) for line in lines))
    else:
        sys.exit(f"write or check, not '{what}'")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except QcloopError as error:
        sys.exit(f"error: {error}")
