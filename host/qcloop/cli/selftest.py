"""``qcloop selftest``: whether a board computes what it should."""

import platform
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from qcloop import __version__
from qcloop.cli import completion
from qcloop.contract.generator import SEED_MAX
from qcloop.errors import ConfigError, FileError, SelfTestError
from qcloop.files import explain
from qcloop.link.ports import BAUD, open_array
from qcloop.selftest import CheckVerdict, run_checks

#: How names of ports begin that have no baud rate: sockets, and pseudo-terminals of Linux and macOS.
_NO_BAUD = ("socket://", "loop://", "/dev/pts/", "/dev/ttys")


@click.command()
@click.option(
    "--port",
    shell_complete=completion.PORT,
    required=True,
    help="A device, a pyserial URL, or sim for a virtual board",
)
@click.option("--baud", default=BAUD, show_default=True, help="Bits a second of a serial port")
@click.option(
    "--seed",
    type=click.IntRange(0, SEED_MAX),
    default=1,
    show_default=True,
    help="Seed of random regions and vectors",
)
@click.option("--quick", is_flag=True, help="Test only some of the memory, and fewer regions")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a report, to attach to an issue",
)
def selftest(port: str, baud: int, seed: int, quick: bool, output: Path | None) -> None:
    """Compare everything that a board computes with the golden model, and test its memory.

    All cells are overwritten. Exits with 1 if a check failed, with 3 if there is no board or it was lost.
    """
    array = open_array(port, baud)
    try:
        with _report(output) as say:
            for line in _heading(array.link.name, baud, seed, quick):
                say(line)
            line_baud = None if array.link.name.startswith(_NO_BAUD) else baud
            verdicts: dict[str, CheckVerdict] = {}
            for result in run_checks(array, seed=seed, quick=quick, baud=line_baud):
                verdicts[result.name] = result.verdict
                for line in result.lines():
                    say(line)
            say(_summary(verdicts))
    finally:
        array.close()
    failed = [name for name, verdict in verdicts.items() if verdict is CheckVerdict.FAILED]
    if failed:
        raise SelfTestError(f"{len(failed)} of {len(verdicts)} checks failed: {', '.join(failed)}")


@contextmanager
def _report(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Yield a function that prints a line and, if there is a file, writes it there at once."""
    if path is None:
        yield click.echo
        return
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise ConfigError(f"cannot write the report to {path}: {error.strerror}") from error
    with file:

        def say(line: str) -> None:
            click.echo(line)
            try:
                file.write(f"{line}\n".encode())
            except OSError as error:
                raise FileError(explain("write", path, error, "the report to")) from error

        yield say


def _heading(port: str, baud: int, seed: int, quick: bool) -> list[str]:
    return [
        f"qcloop {__version__} selftest, Python {platform.python_version()} on {platform.platform()}",
        f"port {port}, baud {baud:,}, seed {seed}, {'quick' if quick else 'full'}",
    ]


def _summary(verdicts: dict[str, CheckVerdict]) -> str:
    counts = Counter(verdicts.values())
    return f"{len(verdicts)} checks: " + ", ".join(
        f"{counts[verdict]} {verdict}"
        for verdict in CheckVerdict
        if counts[verdict] or verdict is CheckVerdict.OK
    )
