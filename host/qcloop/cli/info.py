"""``qcloop info``: about the installation, or about a run."""

import platform
import tomllib
from importlib.metadata import version
from pathlib import Path

import click

from qcloop import __version__
from qcloop.contract.types import ArrayConfig
from qcloop.device import BUILTIN_NAMES, READINGS
from qcloop.run.folder import CHECKPOINT, METRICS, read_config
from qcloop.training.settings import RECIPES


@click.command()
@click.argument(
    "run_folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path)
)
def info(run_folder: Path | None) -> None:
    """Print what is installed and built in, or the contents of the run folder DIR."""
    if run_folder is None:
        _installation()
    else:
        _run(run_folder)


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
    click.echo(f"run in {path}, made by qcloop {config['qcloop']['version']}")
    for part in ("settings", "data"):
        click.echo(f"[{part}]")
        for name, value in config[part].items():
            click.echo(f"  {name:18s}{value}")
    if (path / METRICS).exists():
        click.echo("[metrics]")
        for line in (path / METRICS).read_text().splitlines():
            epoch, loss, accuracy, digest, *_ = line.split(",")
            click.echo(f"  {epoch:>5s}  {loss:>10s}  {accuracy:>13s}  {digest[:16]}")
    if (path / "counters.toml").exists():
        click.echo("[cost]")
        for name, value in tomllib.loads((path / "counters.toml").read_text())["cost"].items():
            click.echo(f"  {name:24s}{value:,}")
    if not (path / CHECKPOINT).exists():
        click.echo("no checkpoint yet: `qcloop resume` starts from the beginning")
