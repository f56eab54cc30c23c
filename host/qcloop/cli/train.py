"""``qcloop train``, ``resume`` and ``eval``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import Field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import click

from qcloop.array import Array
from qcloop.cli.progress import TrainingDisplay, describe_epoch
from qcloop.cli.stopping import Stopped, StopRequest
from qcloop.contract.images import ImageSet
from qcloop.contract.parts import ArrayPart
from qcloop.contract.types import Policy
from qcloop.data import load_dataset
from qcloop.device import READINGS, resolve_device
from qcloop.errors import ConfigError, FileError, LinkError
from qcloop.link.ports import BAUD, OpenedArray, open_array
from qcloop.link.remote import RemoteArray
from qcloop.run.folder import CONFIG, ArrayFactory, Run, golden_array, load_run_data, read_config
from qcloop.text import printable, typed
from qcloop.training.settings import RECIPES, Order, RunSettings, Step, resolve
from qcloop.training.trainer import Trainer, run_images

_FOLDER = click.Path(file_okay=False, path_type=Path)


def port_options(command: Any) -> Any:
    """Add the options that say on which port the array is."""
    command = click.option("--baud", default=BAUD, show_default=True, help="Bits a second of a serial port")(
        command
    )
    return click.option(
        "--port",
        help="Use the array on this port: a device, a pyserial URL, or sim for a virtual board "
        "[default: the golden model]",
    )(command)


@contextmanager
def _array_on(
    port: str | None, baud: int, parts: ArrayPart, images: ImageSet | None = None
) -> Iterator[OpenedArray | None]:
    """Open the array on a port and close it at the end; without a port there is None.

    A virtual board that is started for it has the parts, and keeps the images.
    """
    if port is None:
        yield None
        return
    array = open_array(port, baud, parts, images)
    try:
        yield array
        click.echo(_describe_link(array))
    finally:
        array.close()


def _needs_of(path: Path, port: str | None) -> tuple[ArrayPart, ImageSet | None]:
    """Return the parts and the images that the array of a run needs. Raises RunError if there is no run."""
    config = read_config(path)
    settings = RunSettings.from_dict(config["settings"])
    keeps = port is not None and settings.order is Order.BOARD
    return settings.array_config.parts, run_images(settings, load_run_data(config)) if keeps else None


def _factory(array: OpenedArray | None) -> ArrayFactory:
    """Return the function that gives a run its array.

    That function raises ConfigError if the run's read noise was drawn for another number of lanes.
    """
    if array is None:
        return golden_array

    def make(settings: RunSettings) -> Array:
        if settings.read_noise and settings.lanes != array.config.lanes:
            raise ConfigError(
                f"this run's read noise was drawn for {settings.lanes} lanes, but the array on "
                f"{array.link.name} has {array.config.lanes}: use a board of {settings.lanes} lanes"
            )
        return array

    return make


def _describe_link(array: OpenedArray) -> str:
    counts = array.link.counts
    overhead = (counts.bytes_out + counts.bytes_in) / max(1, counts.stream_out + counts.stream_in) - 1
    return (
        f"link: {counts.bytes_out:,} bytes out, {counts.bytes_in:,} in, {100 * overhead:.1f} % of them "
        f"framing; {counts.repeats:,} repeats, {counts.damaged:,} damaged frames"
    )


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
        kind = {"states": int, "sigma": float}[name]
    text = setting.metadata["help"] + ("" if default is None else f" [default: {default}]")
    return click.option(f"--{name.replace('_', '-')}", name, type=kind, default=None, help=text)


def setting_options(command: Any) -> Any:
    """Add an option for each setting of a run."""
    for setting in reversed(RunSettings.options()):
        command = _setting_option(setting)(command)
    return command


@click.command()
@click.option("--recipe", help=f"Named settings to start from: {', '.join(RECIPES)}")
@setting_options
@click.option("--data", type=_FOLDER, help="Folder with IDX files, raw or gz [default: the built-in MNIST]")
@click.option("--transpose", is_flag=True, help="Swap rows and columns of each image (automatic for EMNIST)")
@click.option("--out", type=_FOLDER, help="Run folder [default: runs/NETWORK-DEVICE-TIME]")
@port_options
def train(
    recipe: str | None,
    data: Path | None,
    transpose: bool,
    out: Path | None,
    port: str | None,
    baud: int,
    **given: Any,
) -> None:
    """Train a network on the emulated array, and write a run folder.

    Some defaults depend on the update rule: `nearest` uses rate 1.284, decay 0.909, weight-range 9.29 and
    batch 36, unless a recipe or an option gives other values. With `--step array` the array makes the whole
    training step by itself, with biases on devices, and with batch 1 and rate 0.025 except for `nearest`; a
    board needs the part `learning` for that.

    Ctrl-C, SIGTERM and SIGHUP end it after the present batch, with a checkpoint; `qcloop resume` goes on.
    """
    settings = resolve(recipe, {name: value for name, value in given.items() if value is not None})
    profile = resolve_device(settings.device, settings.states, settings.reading, settings.sigma)
    settings = replace(settings, states=profile.states, reading=profile.reading)
    dataset = load_dataset(data, transpose=transpose)
    source: dict[str, Any] = {"transpose": transpose}
    if data is not None:
        source["directory"] = str(data.resolve())
    if out is None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        out = Path("runs") / f"{settings.network}-{profile.name}-{stamp}"
    images = run_images(settings, dataset) if port and settings.order is Order.BOARD else None
    with StopRequest() as stop, _array_on(port, baud, settings.array_config.parts, images) as array:
        if array is not None:
            settings = _settings_of_board(settings, array, given)
        with (
            _saying_how_to_go_on(out),
            Run.create(out, settings, profile, dataset, source, _factory(array)) as run,
        ):
            train_to_the_end(run, stop)


@contextmanager
def _saying_how_to_go_on(path: Path) -> Iterator[None]:
    """Add to the error of a board or of a disk how the run goes on when that is mended, if it can."""
    try:
        yield
    except (LinkError, FileError) as error:
        if not (path / CONFIG).exists():  # the run was not begun, or its folder was deleted
            raise
        raise type(error)(f"{error}; then go on with `qcloop resume {typed(path)}`") from error


def _settings_of_board(settings: RunSettings, array: OpenedArray, given: dict[str, Any]) -> RunSettings:
    """Return settings with the shape of a board's array. Raises ConfigError if the user gave another one."""
    lanes, cells = array.config.lanes, array.config.cells
    for name, value in (("lanes", lanes), ("cells", cells)):
        if given.get(name) not in (None, value):
            raise ConfigError(
                f"the array on {array.link.name} has {value} {name}, not {given[name]}: leave --{name} out"
            )
    return replace(settings, lanes=lanes, cells=cells)


@click.command()
@click.argument("run_folder", metavar="DIR", type=_FOLDER)
@click.option("--epochs", type=int, help="New total number of epochs [default: that of the run]")
@port_options
def resume(run_folder: Path, epochs: int | None, port: str | None, baud: int) -> None:
    """Go on with a run at its checkpoint. It ends with the same codes as a run without a break.

    Ctrl-C, SIGTERM and SIGHUP end it as they end `qcloop train`.
    """
    with (
        StopRequest() as stop,
        _array_on(port, baud, *_needs_of(run_folder, port)) as array,
        _saying_how_to_go_on(run_folder),
        Run.open(run_folder, epochs, _factory(array)) as run,
    ):
        for row in run.trainer.progress.history:
            click.echo(describe_epoch(row))
        train_to_the_end(run, stop)


def train_to_the_end(run: Run, stop: StopRequest, *, speeds: bool = True) -> None:
    """Train to the end. A signal ends it after the present batch, with a checkpoint."""
    trainer = run.trainer
    again = f"go on with `qcloop resume {typed(run.path)}`"
    stop.kept = f"; {again}"
    click.echo(_describe(trainer))
    try:
        with TrainingDisplay(trainer, speeds=speeds) as display:
            stop.waits = True
            run.train(display.update, display.say, stop)
    finally:
        stop.waits = False
    if stop.number is not None and trainer.ahead and isinstance(trainer.array, RemoteArray):
        port = typed(trainer.array.link.name)
        raise Stopped(
            stop.number, f"; the board goes on by itself: `qcloop attach {port}` takes the run over"
        )
    if stop.number is not None:
        progress = trainer.progress
        here = f", image {progress.image:,} of the next" if progress.image else ""
        raise Stopped(stop.number, f" after epoch {progress.epoch}{here}; {again}")
    cost = trainer.cost()
    click.echo(
        f"cost: {cost.set_pulses:,} SET and {cost.reset_pulses:,} RESET pulses"
        + (f", {cost.programming_time_s:,.0f} s one after the other" if cost.programming_time_s else "")
        + (f", {cost.write_energy_j:,.2f} J" if cost.write_energy_j else "")
        + (f"; most-written cell {cost.most_writes:,} times" if cost.most_writes is not None else "")
    )
    best = trainer.progress.history[-1]
    click.echo(
        f"test accuracy {100 * best.test_accuracy:.2f} % after epoch {best.epoch}; "
        f"results in {printable(run.path)}"
    )


def _describe(trainer: Trainer) -> str:
    s, profile = trainer.settings, trainer.profile
    reading = f", reading {printable(profile.reading)}" if profile.reading else ""
    step = "step of the array, " if s.step is Step.ARRAY else ""
    return (
        f"{s.network} on {profile.name}: {profile.states} states{reading}, {s.scheme}, {s.policy}; "
        f"{step}update {s.update}, batch {s.batch}, rate {s.rate:g} x {s.decay:g} an epoch, "
        f"{trainer.images:,} images, seed {s.seed}"
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
    with (
        _array_on(port, baud, *_needs_of(run_folder, port)) as array,
        Run.open(run_folder, None, _factory(array), only_read=True) as run,
    ):
        trainer = run.trainer
        if data is not None:
            trainer.use_test_set(load_dataset(data, transpose=transpose))
        accuracy = trainer.evaluate()
        counts = trainer.confusion()
        click.echo(_describe(trainer))
        click.echo(f"test accuracy {100 * accuracy:.2f} % of {counts.sum():,} images")
        for label, row in enumerate(counts):
            if row.sum():
                click.echo(f"  class {label}: {100 * row[label] / row.sum():6.2f} % of {row.sum():,}")
