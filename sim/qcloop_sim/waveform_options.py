"""The options of a waveform."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from qcloop.cli.completion import among
from qcloop.errors import ConfigError
from qcloop_sim.waveform import WaveformFile, Window, request_names

_OPTIONS = (
    click.option(
        "--vcd",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write a waveform of all signals: FILE.vcd, or FILE.fst if GTKWave's vcd2fst is installed.",
    ),
    click.option("--vcd-from", metavar="CLOCK", default=0, help="Begin at this clock after the reset."),
    click.option("--vcd-clocks", metavar="N", default=0, help="Record so many clocks [default: all]."),
    click.option(
        "--vcd-trigger",
        metavar="REQUEST[:N]",
        shell_complete=among(request_names()),
        help="Begin when the engine takes the N-th request of this kind, as configure or forward1:3.",
    ),
    click.option(
        "--vcd-limit",
        metavar="MB",
        default=1000,
        show_default=True,
        help="End the waveform when the VCD file has this size.",
    ),
)


def waveform_options(command: Any) -> Any:
    """Add the options of a waveform to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def waveform_of(
    tell: Callable[[str], None],
    *,
    vcd: Path | None,
    vcd_from: int,
    vcd_clocks: int,
    vcd_trigger: str | None,
    vcd_limit: int,
) -> tuple[Window, WaveformFile] | tuple[None, None]:
    """Return what is recorded, and the file for it; None for both if no waveform is asked for.

    Raises ConfigError for values that cannot be, or if the file cannot be written.
    """
    if vcd is None:
        if vcd_from or vcd_clocks or vcd_trigger:
            raise ConfigError("--vcd-from, --vcd-clocks and --vcd-trigger are for a waveform: add --vcd FILE")
        return None, None
    if vcd_limit < 1:
        raise ConfigError(f"--vcd-limit must be 1 MB or more, not {vcd_limit}")
    operation, number = (None, 1) if vcd_trigger is None else Window.parse_request(vcd_trigger)
    window = Window(vcd_from, vcd_clocks, operation, number)
    return window, WaveformFile(vcd, vcd_limit * 1_000_000, tell)
