"""Accuracy of trained runs over time: the command line's ``age`` as a function."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from qcloop.array import Array, golden_model
from qcloop.contract.parts import ArrayPart
from qcloop.contract.types import ArraySettings
from qcloop.crossbar.ageing import AgeingSteps
from qcloop.device import DeviceProfile, Relaxation, resolve_relaxation, rising_times, shown_time
from qcloop.errors import ConfigError, DeviceError, FileError
from qcloop.experiment.boards import array_on, factory_of
from qcloop.experiment.results import ResultFolder
from qcloop.experiment.runs import needs_of, run_folders
from qcloop.figure import Plot
from qcloop.files import explain
from qcloop.link.ports import BAUD
from qcloop.run.ageing import age_lines, age_plot, age_summary, age_table, write_age
from qcloop.run.folder import ArrayFactory, Run
from qcloop.table import ResultTable
from qcloop.text import printable, shown_unit
from qcloop.training.rescaling import Rescaling
from qcloop.training.settings import RunSettings
from qcloop.training.trainer import Trainer

#: Times at which a run is evaluated, and how often it is aged, unless others are asked for.
DEFAULT_TIMES, DEFAULT_REPEATS = "1s,1h,1d,1y,10y", 5
MOST_REPEATS = 1000
#: Training images from which the factors of the products are found.
CALIBRATION_IMAGES = 500
#: Distance of the seeds with which repeats age: far from those of other runs, which people count from 1.
_SEED_STEP = 1 << 32
_Row = tuple[Any, ...]


@dataclass(frozen=True, repr=False)
class AgeResult:
    """Test accuracy over the time after training."""

    #: A row for each time of each repeat: see :func:`qcloop.run.ageing.age_table`.
    table: ResultTable
    #: Folders in which this was written.
    folders: tuple[Path, ...]

    @cached_property
    def summary(self) -> ResultTable:
        """Mean and standard deviation over the repeats, a row for each time."""
        return age_summary(self.table)

    def plot(self) -> Plot:
        """Return the picture of ``qcloop age``: accuracy over time, with and without rescaled products."""
        return age_plot(self.table)

    def __repr__(self) -> str:
        return "\n".join(age_lines(self.summary))

    def _repr_png_(self) -> bytes:
        return self.plot()._repr_png_()


def age(
    folder: Path | str | ResultFolder,
    times: str | Iterable[str | float] = DEFAULT_TIMES,
    *,
    relaxation: str | Path | Relaxation | None = None,
    repeats: int = DEFAULT_REPEATS,
    port: str | None = None,
    baud: int = BAUD,
    out: Path | str | None = None,
    quiet: bool = False,
) -> AgeResult:
    """Let the devices of trained runs age, and classify the test images time and again, as ``qcloop age``.

    The run itself is not changed. What was found is written beside it.

    Parameters
    ----------
    folder : path or result of qcloop.train
    times : text or list
        Rising times after training, such as ``"1s,1h,10y"`` or seconds.
    relaxation : str, path or Relaxation, optional
        What time does to the device: a name in :data:`qcloop.device.RELAXATIONS` or a TOML file [default:
        that of the run's device].
    repeats : int
        How often the devices are aged from the beginning, each time with other random numbers.
    port, baud
        Where the array is; the golden model if ``port`` is None.
    out : path, optional
        Folder for table and picture [default: that of the run].
    quiet : bool
        Print nothing.

    Returns
    -------
    AgeResult

    Raises
    ------
    QcloopError
        For times that do not rise, a relaxation that does not fit the device, or whatever ``eval`` refuses.
    """
    path = folder.path if isinstance(folder, ResultFolder) else Path(folder)
    seconds = rising_times(times)
    if not 1 <= repeats <= MOST_REPEATS:
        raise ConfigError(f"repeats must be 1..{MOST_REPEATS}, not {repeats}")
    say: Callable[[str], None] = (lambda _: None) if quiet else print
    folders, tables = run_folders(path), []
    parts, images = needs_of(path, port)
    with array_on(port, baud, parts | ArrayPart.RELAXATION, images, say) as array:
        make_array = _ageing(factory_of(array)) if array is not None else _golden
        targets = [_target(one, path, out) for one in folders]
        for one, target in zip(folders, targets, strict=True):
            with Run.open(one, None, make_array, only_read=True) as run:
                chosen, name = _relaxation_of(run.trainer.profile, relaxation)
                say(_describe(run.trainer, chosen, name))
                tables.append(_age(run.trainer, chosen, name, seconds, repeats, say))
            write_age(target, tables[-1])
    together = ResultTable({name: [v for table in tables for v in table[name]] for name in tables[0]})
    return AgeResult(together, tuple(targets))


def _golden(settings: RunSettings) -> Array:
    config = settings.array_config
    return golden_model(replace(config, parts=config.parts | ArrayPart.RELAXATION), settings.boards)


def _ageing(make: ArrayFactory) -> ArrayFactory:
    """Return what gives each run its array, and refuses one that cannot age."""

    def make_ageing(settings: RunSettings) -> Array:
        array = make(settings)
        if ArrayPart.RELAXATION not in array.config.parts:
            raise ConfigError(
                "this board cannot age its devices: use a build --with relaxation, or no --port"
            )
        return array

    return make_ageing


def _target(folder: Path, path: Path, out: Path | str | None) -> Path:
    """Return the folder for what was found of a run, which is made unless it is there."""
    if out is None:
        return folder
    target = Path(out) if folder == path else Path(out) / folder.name
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(explain("make", target, error, "the folder")) from error
    return target


def _relaxation_of(profile: DeviceProfile, given: str | Path | Relaxation | None) -> tuple[Relaxation, str]:
    """Return the relaxation of a run's device, and its name."""
    if isinstance(given, Relaxation):
        return given, given.source.partition(":")[0] or "relaxation"
    if given is not None:
        return resolve_relaxation(str(given)), printable(Path(given).stem)
    if profile.relaxation is None:
        raise DeviceError(
            f"device {profile.name} has no [relaxation]: say what time does to it by --relaxation cmo-hfox, "
            "wan-2022 or a TOML file"
        )
    return profile.relaxation, profile.name


def _describe(trainer: Trainer, relaxation: Relaxation, name: str) -> str:
    settings, profile = trainer.settings, trainer.profile
    scaled = ""
    if relaxation.range is not None:
        own = f"{max(profile.mean) - min(profile.mean):.4g} {shown_unit(profile.unit)}"
        scaled = f"; shares of the range, which is {relaxation.range:g} there and {own} here"
    return (
        f"{settings.network} on {profile.name}: {profile.states} states, seed {settings.seed}, epoch "
        f"{trainer.progress.epoch}\nrelaxation {name}: {printable(relaxation.source) or 'no source'}{scaled}"
    )


def _age(
    trainer: Trainer,
    relaxation: Relaxation,
    name: str,
    seconds: tuple[float, ...],
    repeats: int,
    say: Callable[[str], None],
) -> ResultTable:
    """Return the table of ageing of one run."""
    ageing = AgeingSteps(trainer.profile, relaxation)
    steps = [(time, ageing.step(time)) for time in seconds]
    state = trainer.state()
    rescaling = Rescaling(trainer.network, trainer.training_inputs(CALIBRATION_IMAGES))
    configured, first = trainer.array.settings, (trainer.settings.seed, trainer.progress.epoch, name)
    rows: list[_Row] = []
    for repeat in range(1, repeats + 1):
        _restore(trainer, state, configured, repeat)
        accuracy = trainer.evaluate()
        rows.append((*first, 0.0, repeat, accuracy, accuracy, *[1.0] * len(trainer.network.layers)))
        for time, tables in steps:
            trainer.network.crossbar.age(*tables)
            accuracy, factors = trainer.evaluate(), rescaling.factors()
            with rescaling.applied(factors):
                rows.append((*first, time, repeat, accuracy, trainer.evaluate(), *factors))
        shown = ", ".join(f"{shown_time(row[3])} {100 * row[5]:.2f}" for row in rows[-len(steps) :])
        say(f"repeat {repeat} of {repeats}: {shown} %")
    return age_table(rows, len(trainer.network.layers))


def _restore(trainer: Trainer, state: tuple[Any, Any], settings: ArraySettings, repeat: int) -> None:
    """Bring the devices back to where they were trained; they age by the seed of a repeat from there on."""
    seed = (settings.seed + (repeat - 1) * _SEED_STEP) % (1 << 64)
    trainer.array.configure(replace(settings, seed=seed))
    trainer.restore(*state)
