"""Checks of the board as a whole: its identity, what it must refuse, and its line."""

from dataclasses import replace
from time import perf_counter

import numpy as np

from qcloop.contract import frames, operations
from qcloop.contract.frames import Fault, Identity, describe_faults
from qcloop.contract.operations import Info, Operation, Status
from qcloop.contract.parts import ArrayPart
from qcloop.contract.types import AdcStage, Policy, Positions, Region
from qcloop.selftest.bench import Bench, Findings, settings_of

#: Largest value of a board's fault counter; it does not wrap around.
_FAULTS_MOST = 255
#: Bits of a byte on a serial line, with start and stop.
_BYTE_BITS = 10


def described_identity(identity: Identity) -> str:
    """Return what a board says of itself in a line."""
    array = identity.info.array
    return (
        f"link version {frames.VERSION}, operations version {identity.info.version}, {array.lanes} lanes, "
        f"{array.cells:,} cells, side {array.side}, operand buffer {identity.info.buffer}, "
        f"{array.describe_parts()}, configuration {identity.info.digest.hex()}, boot {identity.boots}; "
        f"faults so far: {describe_faults(identity.faults)}"
    )


def identity(bench: Bench, found: Findings) -> str:
    """Compare what the engine tells of itself with what the link told when it was opened."""
    expected, came = _facts(bench.opened.info), _facts(Info.decode(bench.ask(Operation.INFO)))
    for name, value in expected.items():
        found.equal(f"{name} as the link and as the engine tells it", value, came[name])
    return described_identity(bench.opened)


def _facts(info: Info) -> dict[str, int]:
    array = info.array
    return {
        "version": info.version,
        "lanes": array.lanes,
        "cells": array.cells,
        "side": array.side,
        "operand buffer": info.buffer,
        "parts": int(array.parts),
    }


def refusals(bench: Bench, found: Findings) -> str:
    """Check that operations are refused before the array is configured, and on cells never programmed.

    Settings that need a part which the board lacks must be refused as well.
    """
    lanes, level, code = bench.config.lanes, np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.int16)
    first, second = Region(0, 1, 1), Region(1, 1, 1)
    reading = [
        *operations.forward_requests(first, level, 1),
        *operations.forward_requests(first, level, 8),
        *operations.backward_requests(first, np.zeros((1, 1), np.int8)),
        *operations.read_requests(first, lanes),
        *operations.program_requests(first, np.zeros(1, np.int64), level[0], lanes, bench.opened.info.buffer),
    ]
    leaving_a_gap = [
        *operations.block_requests(second, level, lanes, bench.opened.info.buffer),
        *operations.load_requests(second, level, code, lanes),
    ]
    early = [*reading, *leaving_a_gap, operations.request(Operation.COUNTERS)]
    _refused(bench, found, "before it is configured", early, Status.CONFIGURED)
    bench.configure(settings_of(bench.seed, 512, 0))
    _refused(bench, found, "before anything is programmed", reading, Status.PROGRAMMED)
    _refused(bench, found, "behind the programmed words", leaving_a_gap, Status.CONTIGUOUS)
    _refused(bench, found, "with a part that this board lacks", _lacking(bench), Status.PART)
    bench.same_counters(found, "after refused requests")
    return "requests that must be refused before the array is configured and before a cell is programmed"


def _lacking(bench: Bench) -> list[bytes]:
    """Return requests, each of which needs a part that the board lacks: settings and operations."""
    needing: dict[ArrayPart, dict[str, object]] = {
        ArrayPart.READ_NOISE: {"read_spread": 256},
        ArrayPart.CONVERTER: {"adc": AdcStage(8, 0)},
        ArrayPart.VERIFY: {"policy": Policy.VERIFY},
    }
    settings = [
        operations.configure_request(
            settings_of(bench.seed, 512, 0, **needing[part]), Positions(), bench.config.lanes
        )
        for part in ~bench.config.parts
        if part in needing
    ]
    return settings + [
        operations.request(operation)
        for operation, part in operations.NEEDED.items()
        if part not in bench.config.parts
    ]


def _refused(bench: Bench, found: Findings, when: str, requests: list[bytes], reason: Status) -> None:
    for request, (status, _) in zip(requests, bench.exchange(requests), strict=True):
        name = Operation(request[0]).name
        came = Status(status).name if status in tuple(Status) else str(status)
        found.equal(f"status of {name} {when}", reason.name, came)


def line_rate(bench: Bench, found: Findings) -> str:
    """Measure the line in both directions; a slow line is not a failure."""
    region = bench.largest()
    if bench.quick:
        region = replace(region, rows=max(1, region.rows // 4))
    levels = np.zeros((region.rows, region.cols), np.uint8)
    counts, array = bench.link.counts, bench.array
    bench.configure(settings_of(bench.seed, 512, 0))
    out, start = counts.bytes_out, perf_counter()
    array.load(region, levels, levels.astype(np.int16))
    array.counters()  # waits for an answer, so the board has taken all that was sent
    loaded = perf_counter()
    came = counts.bytes_in
    array.read(region)
    read = perf_counter()
    return (
        f"to the board {_rate(counts.bytes_out - out, loaded - start, bench.baud)}; "
        f"from the board {_rate(counts.bytes_in - came, read - loaded, bench.baud)}"
    )


def _rate(size: int, seconds: float, baud: int | None) -> str:
    rate = size / max(seconds, 1e-9)
    share = "" if baud is None else f", {rate * _BYTE_BITS / baud:.0%} of {baud:,} baud"
    return f"{rate:,.0f} bytes/s ({size:,} bytes in {seconds:.2f} s{share})"


def link_errors(bench: Bench, found: Findings) -> str:
    """Tell what went wrong on the line since it was opened; the link has repaired it, so this only warns.

    The check opens a new session, so it must be the last one. The host also asks again when an answer takes
    long. Its repeats, and what the board sends again then, are therefore told without a warning.
    """
    counts, before = bench.link.counts, bench.opened
    bench.link.open()
    after = bench.link.identity
    found.equal("boot counter at the end", before.boots, after.boots)
    news = tuple(now - then for now, then in zip(after.faults, before.faults, strict=True))
    if any(news[fault] for fault in Fault if fault is not Fault.RESENT):
        found.warnings.append(f"the board counted {describe_faults(news)}")
    full = [fault.name.lower() for fault in Fault if before.faults[fault] == _FAULTS_MOST]
    if full:
        found.warnings.append(f"counters of the board that were full before: {', '.join(full)}")
    if counts.damaged:
        found.warnings.append(f"{counts.damaged:,} damaged frames came from the board")
    return (
        f"{counts.bytes_out:,} bytes out, {counts.bytes_in:,} in; the host: {counts.repeats:,} repeats, "
        f"{counts.damaged:,} damaged frames; new faults of the board: {describe_faults(news)}"
    )
