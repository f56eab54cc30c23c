"""``qcloop train``, ``resume`` and ``eval``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import Field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import click

from qcloop.cli import completion
from qcloop.cli.device import COMPLETE_DEVICE, COMPLETE_RELAXATION
from qcloop.cli.progress import TrainingDisplay
from qcloop.cli.sections import SectionedCommand
from qcloop.cli.stopping import Stopped, StopRequest
from qcloop.contract.types import Policy
from qcloop.data import Dataset, load_dataset
from qcloop.device import READINGS
from qcloop.errors import FileError, LinkError
from qcloop.experiment.boards import array_on, factory_of
from qcloop.experiment.lines import describe_epoch
from qcloop.experiment.points import describe_point, points_of
from qcloop.experiment.runs import needs_of, resume_runs, run_folders, train_points
from qcloop.link.ports import BAUD
from qcloop.link.remote import RemoteArray
from qcloop.run.contents import read_run
from qcloop.run.folder import CONFIG, Run
from qcloop.statistic import SeedStatistic
from qcloop.text import printable, quantity, shown_unit, typed
from qcloop.training.conversions import describe_tiles
from qcloop.training.settings import RECIPES, RunSettings, Step
from qcloop.training.trainer import Trainer

_FOLDER = click.Path(file_okay=False, path_type=Path)
#: The sections of the help of `qcloop train`, and the options in them.
_SECTIONS = {
    "Network": ("network", "activation", "bias", "weight_range", "input_bits"),
    "Devices": (
        "device",
        "states",
        "reading",
        "sigma",
        "relaxation",
        "scheme",
        "variation_gain",
        "variation_offset",
        "chip",
        "cells_per_weight",
        "ratio",
        "tile_rows",
        "tile_cols",
        "wire_resistance",
        "wire_model",
        "stuck_off",
        "stuck_on",
        "endurance",
        "endurance_spread",
    ),
    "Training": (
        "recipe",
        "update",
        "threshold",
        "step",
        "batch",
        "epochs",
        "rate",
        "decay",
        "age_per_epoch",
        "seed",
        "seeds",
    ),
    "Images": ("data", "transpose", "images", "shift", "order"),
    "Programming and reading": (
        "policy",
        "verify_tolerance",
        "verify_tries",
        "read_noise",
        "input_encoding",
        "adc_bits",
        "adc_range",
    ),
    "Array and board": ("port", "baud", "lanes", "cells", "boards"),
    "Run folder": ("out",),
}


def port_options(command: Any) -> Any:
    """Add the options that say on which port the array is."""
    command = click.option("--baud", default=BAUD, show_default=True, help="Bits a second of a serial port")(
        command
    )
    return click.option(
        "--port",
        shell_complete=completion.PORT,
        help="Use the array on this port: a device, a pyserial URL, or sim for a virtual board; or several "
        "boards as one, with commas between their ports [default: the golden model]",
    )(command)


def _setting_option(setting: Field[Any]) -> Callable[[Any], Any]:
    """Return the option of a setting. Its spelling, type, help and default come from the setting's field."""
    name, default = setting.name, setting.default
    kind: Any = type(default)
    if isinstance(default, StrEnum):
        kind = click.Choice([str(value) for value in type(default)])
    elif name == "policy":
        kind = click.Choice([policy.label for policy in Policy])
    elif name == "reading":
        kind = click.Choice(list(READINGS))
    elif default is None:
        kind = RunSettings.types()[name]
        kind = kind if kind in (int, float) else str  # the settings read the sides of tiles
    text = setting.metadata["help"] + ("" if default is None else f" [default: {default}]")
    complete = {"device": COMPLETE_DEVICE, "relaxation": COMPLETE_RELAXATION}.get(name)
    return click.option(
        f"--{name.replace('_', '-')}", name, type=kind, default=None, help=text, shell_complete=complete
    )


def setting_options(command: Any) -> Any:
    """Add an option for each setting of a run."""
    for setting in reversed(RunSettings.options()):
        command = _setting_option(setting)(command)
    return command


@click.command(cls=SectionedCommand, sections=_SECTIONS)
@click.option(
    "--recipe",
    help=f"Named settings to start from: {', '.join(RECIPES)}",
    shell_complete=completion.among(RECIPES),
)
@setting_options
@click.option(
    "--seeds", type=int, help="Runs with seeds 1, 2, ..., each in a folder of its own, and their mean"
)
@click.option("--data", type=_FOLDER, help="Folder with IDX files, raw or gz [default: the built-in MNIST]")
@click.option("--transpose", is_flag=True, help="Swap rows and columns of each image (automatic for EMNIST)")
@click.option("--out", type=_FOLDER, help="Run folder [default: runs/NETWORK-DEVICE-TIME]")
@port_options
def train(
    recipe: str | None,
    seeds: int | None,
    data: Path | None,
    transpose: bool,
    out: Path | None,
    port: str | None,
    baud: int,
    **given: Any,
) -> None:
    """Train a network on the emulated array, and write a run folder.

    A network is layer sizes such as 784-16-16-10; or lenet-5; or the items that an image passes, such as
    28x28-6c5-p2-16c5-p2-120-84-10: image, kernels (6 of 5 x 5), max pooling (2 x 2), ..., plain layers.

    Some defaults depend on the update rule: `nearest` uses rate 1.284, decay 0.909, weight-range 9.29 and
    batch 36, unless a recipe or an option gives other values. With `--step array` the array makes the whole
    training step by itself, with biases on devices, and with batch 1 and rate 0.025 except for `nearest`; a
    board needs the part `learning` for that. A network with kernels has activation relu,
    weight-range 3, and rate 0.2 (0.3 for `nearest`, 0.1 for `stochastic`), also with a recipe.

    With `--seeds N` there are N runs in DIR/seed-1, DIR/seed-2, ... one after the other, and beside them the
    mean and the standard deviation of their accuracy, in summary.csv and summary.tex.

    Ctrl-C, SIGTERM and SIGHUP end it after the present batch, with a checkpoint; `qcloop resume` goes on.
    """
    points = points_of(recipe, seeds=seeds, data=data, transpose=transpose, **given)
    if out is None:
        out = Path("runs") / f"{describe_point(points[0])}-{datetime.now():%Y%m%d-%H%M%S}"
    with StopRequest() as stop, _saying_how_to_go_on(out):
        train = _trainer_of(out, stop)
        train_points(points, out, train, port=port, baud=baud, given=given, say=click.echo)
    _conclude(out)


@contextmanager
def _saying_how_to_go_on(path: Path) -> Iterator[None]:
    """Add to the error of a board or of a disk how the run goes on when that is mended, if it can."""
    try:
        yield
    except (LinkError, FileError) as error:
        if not (run_folders(path)[0] / CONFIG).exists():  # the run was not begun, or its folder was deleted
            raise
        raise type(error)(f"{error}; then go on with `qcloop resume {typed(path)}`") from error


@click.command()
@click.argument("run_folder", metavar="DIR", type=_FOLDER)
@click.option("--epochs", type=int, help="New total number of epochs [default: that of the run]")
@port_options
def resume(run_folder: Path, epochs: int | None, port: str | None, baud: int) -> None:
    """Go on with a run at its checkpoint. It ends with the same codes as a run without a break.

    Ctrl-C, SIGTERM and SIGHUP end it as they end `qcloop train`.
    """
    with StopRequest() as stop, _saying_how_to_go_on(run_folder):
        train = _trainer_of(run_folder, stop)
        resume_runs(run_folder, train, epochs=epochs, port=port, baud=baud, say=click.echo)
    _conclude(run_folder)


def _conclude(path: Path) -> None:
    """Print what the runs of several seeds came to."""
    folders = run_folders(path)
    if folders == [path]:
        return
    runs = [read_run(folder) for folder in folders]
    accuracy = SeedStatistic.of([run.history[-1].test_accuracy for run in runs])
    click.echo(
        f"test accuracy {accuracy.percent()} % after epoch {runs[-1].history[-1].epoch} ({accuracy.basis}); "
        f"results in {printable(path)}"
    )


def _trainer_of(path: Path, stop: StopRequest) -> Callable[[Run], None]:
    """Return what trains a run in a folder, and shows how far it is, until a signal asks for the end."""
    again = f"go on with `qcloop resume {typed(path)}`"
    stop.kept = f"; {again}"

    def train(run: Run) -> None:
        for row in run.trainer.progress.history:
            click.echo(describe_epoch(row))
        train_to_the_end(run, stop, again)

    return train


def train_to_the_end(run: Run, stop: StopRequest, again: str, *, speeds: bool = True) -> None:
    """Train to the end. A signal ends it after the present batch, with a checkpoint.

    ``again`` is how the run goes on; ``speeds`` as for :class:`TrainingDisplay`.
    """
    trainer = run.trainer
    click.echo(_describe(trainer))
    try:
        with TrainingDisplay(trainer, speeds=speeds) as display:
            stop.waits = True
            run.train(display.update, display.say, stop)
    finally:
        stop.waits = False
    if stop.number is not None and trainer.ahead and isinstance(trainer.array, RemoteArray):
        takes = f"`qcloop attach {typed(trainer.array.link.name)}` takes the run over"
        raise Stopped(stop.number, f"; the board goes on by itself: {takes}")
    if stop.number is not None:
        progress = trainer.progress
        here = f", image {progress.image:,} of the next" if progress.image else ""
        raise Stopped(stop.number, f" after epoch {progress.epoch}{here}; {again}")
    cost = trainer.cost()
    reading = cost.image_read_energy_j
    click.echo(
        f"cost: {cost.set_pulses:,} SET and {cost.reset_pulses:,} RESET pulses"
        + (f", {cost.programming_time_s:,.0f} s one after the other" if cost.programming_time_s else "")
        + (f", {cost.write_energy_j:,.2f} J" if cost.write_energy_j else "")
        + (f"; most-written cell {cost.most_writes:,} times" if cost.most_writes is not None else "")
        + (f"; reading an image {quantity(reading, 'J')}" if reading is not None else "")
    )
    last = trainer.progress.history[-1]
    accuracy = SeedStatistic.of([last.test_accuracy])
    click.echo(
        f"test accuracy {accuracy.percent()} % after epoch {last.epoch} ({accuracy.basis}); "
        f"results in {printable(run.path)}"
    )


def _describe(trainer: Trainer) -> str:
    s, profile = trainer.settings, trainer.profile
    reading = f", reading {printable(profile.reading)}" if profile.reading else ""
    step = "step of the array, " if s.step is Step.ARRAY else ""
    varied = s.describe_variation(shown_unit(profile.unit))
    chip = f", variation: {varied}" if varied else ""
    tiles = f", {tiled}" if (tiled := describe_tiles(s)) else ""
    wires = f", {wired}" if (wired := s.describe_wires()) else ""
    cells = f", {s.cells_per_weight} cells a weight in ratio {s.ratio}" if s.cells_per_weight > 1 else ""
    return (
        f"{s.network} on {profile.name}: {profile.states} states{reading}, {s.scheme}{cells}, "
        f"{s.policy}{chip}{tiles}{wires}; {step}update {s.update}, batch {s.batch}, "
        f"rate {s.rate:g} x {s.decay:g} an epoch, {trainer.images:,} images, seed {s.seed}"
    )


@click.command("eval")
@click.argument("run_folder", metavar="DIR", type=_FOLDER)
@click.option("--data", type=_FOLDER, help="Classify the test images of another data set")
@click.option("--transpose", is_flag=True, help="Swap rows and columns of each image (automatic for EMNIST)")
@port_options
def evaluate(run_folder: Path, data: Path | None, transpose: bool, port: str | None, baud: int) -> None:
    """Classify the test images with the devices of a run as they are now. The run is not changed.

    Nothing is written, so DIR may be read-only, and the run may go on meanwhile.
    """
    with array_on(port, baud, *needs_of(run_folder, port), click.echo) as array:
        test_set = None if data is None else load_dataset(data, transpose=transpose)
        make_array = factory_of(array)
        accuracies = []
        for folder in run_folders(run_folder):
            with Run.open(folder, None, make_array, only_read=True) as run:
                accuracies.append(_evaluate(run.trainer, test_set))
    if len(accuracies) > 1:
        accuracy = SeedStatistic.of(accuracies)
        click.echo(f"test accuracy {accuracy.percent()} % ({accuracy.basis})")


def _evaluate(trainer: Trainer, test_set: Dataset | None) -> float:
    """Classify the test images, print the accuracy and that of each class, and return the accuracy."""
    if test_set is not None:
        trainer.use_test_set(test_set)
    accuracy = trainer.evaluate()
    counts = trainer.confusion()
    click.echo(_describe(trainer))
    click.echo(f"test accuracy {100 * accuracy:.2f} % of {counts.sum():,} images")
    for label, row in enumerate(counts):
        if row.sum():
            click.echo(f"  class {label}: {100 * row[label] / row.sum():6.2f} % of {row.sum():,}")
    return accuracy
