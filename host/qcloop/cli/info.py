"""``qcloop info``: about the installation, or about a run."""

import csv
import platform
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import click

from qcloop import __version__
from qcloop.contract.types import ArrayConfig
from qcloop.device import BUILTIN_NAMES, READINGS
from qcloop.errors import RunError
from qcloop.experiment.runs import run_folders
from qcloop.files import read_text
from qcloop.run.folder import CHECKPOINT, COUNTERS, METRICS, read_config
from qcloop.text import printable, typed
from qcloop.training.progress import EpochMetrics
from qcloop.training.settings import RECIPES

#: Most bytes of a table: metrics.csv has some 150 for each epoch.
_MOST_BYTES = 1 << 26


@click.command()
@click.argument(
    "run_folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path)
)
def info(run_folder: Path | None) -> None:
    """Print what is installed and built in, or the contents of the run folder DIR."""
    if run_folder is None:
        _installation()
    else:
        for folder in run_folders(run_folder):
            _run(folder)


def _installation() -> None:
    array = ArrayConfig()
    rows = {
        "qcloop": __version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "matplotlib")),
        "devices": ", ".join(BUILTIN_NAMES),
        "readings": ", ".join(READINGS),
        "recipes": ", ".join(RECIPES),
        "golden model": f"{array.cells:,} cells in words of {array.lanes} lanes",
    }
    for name, value in rows.items():
        click.echo(f"{name:14s}{value}")


def _run(path: Path) -> None:
    config = read_config(path)
    metrics = _table(path / METRICS, _metrics)
    cost = _table(path / COUNTERS, _cost)
    click.echo(f"run in {printable(path)}, made by qcloop {printable(config['qcloop'].get('version'))}")
    settings = config["settings"]
    if settings.get("variation_gain") or settings.get("variation_offset"):
        settings.setdefault("chip", settings.get("seed"))
    for part in ("settings", "data"):
        click.echo(f"[{part}]")
        for name, value in config[part].items():
            click.echo(f"  {printable(name):18s}{printable(value)}")
    for title, lines in (("metrics", metrics), ("cost", cost)):
        if lines is not None:
            click.echo("\n".join([f"[{title}]", *lines]))
    if not (path / CHECKPOINT).exists():
        click.echo("no checkpoint yet: `qcloop resume` starts from the beginning")


def _table(path: Path, show: Callable[[str], Iterable[str]]) -> list[str] | None:
    """Return the lines that ``show`` makes of a file's text; None if there is no file.

    Raises RunError if the file is damaged.
    """
    try:
        return list(show(read_text(path, _MOST_BYTES)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise RunError(
            f"{path} is damaged ({error}): `qcloop resume {typed(path.parent)}` makes it anew from the "
            "checkpoint"
        ) from error


def _metrics(text: str) -> Iterable[str]:
    *names, stuck = [field.name for field in fields(EpochMetrics)]
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        if number == 1 and row == [*names, stuck]:  # a run with endurance
            names = row
        if len(row) != len(names) or (number == 1 and row != names):
            raise ValueError(f"line {number} has not the {len(names)} values {names[0]} to {names[-1]}")
        epoch, loss, accuracy, digest, *others = row
        if number > 1:
            for value in (epoch, loss, accuracy, *others):
                float(value)
        yield f"  {epoch:>5s}  {loss:>10s}  {accuracy:>13s}  {printable(digest[:16])}"


def _cost(text: str) -> Iterable[str]:
    values = tomllib.loads(text).get("cost")
    if not isinstance(values, dict):
        raise ValueError("it has no [cost]")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} is no number: {value!r:.40}")
        number = f"{value:,}" if isinstance(value, int) else f"{value:,.8g}"  # a float has 17 digits
        yield f"  {printable(name):24s}{number}"
