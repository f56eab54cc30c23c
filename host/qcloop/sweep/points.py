"""Points: training runs of a sweep or a study. Each is run once, kept as a file, and read back later."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

from qcloop import __version__
from qcloop.array import Array, golden_model
from qcloop.contract.types import ArrayConfig
from qcloop.crossbar.chip import Chip
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.physics import Cost, array_settings
from qcloop.crossbar.settings import AS_BEFORE
from qcloop.crossbar.wiring import Wires
from qcloop.data import Dataset, load_dataset
from qcloop.device import DeviceProfile, profile_to_dict, resolve_device
from qcloop.errors import ConfigError, RunError
from qcloop.files import explain, write_atomic
from qcloop.run.folder import golden_array
from qcloop.training.checks import check_run
from qcloop.training.progress import EpochMetrics
from qcloop.training.settings import RunSettings, resolve
from qcloop.training.trainer import Trainer, make_network


@dataclass(frozen=True)
class Source:
    """Where the data of a point is: a directory of IDX files, or the built-in MNIST."""

    directory: str | None = None
    transpose: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the configuration of a run."""
        folder = {} if self.directory is None else {"directory": self.directory}
        return {"transpose": self.transpose, **folder}

    def load(self) -> Dataset:
        """Return the data, which is kept in memory. Raises what :func:`qcloop.data.load_dataset` raises."""
        return built_in_data() if self == Source() else _load(self)


@cache
def built_in_data() -> Dataset:
    """Return the built-in MNIST. A process loads it once."""
    return load_dataset(None)


@lru_cache(maxsize=4)
def _load(source: Source) -> Dataset:
    directory = None if source.directory is None else Path(source.directory)
    return load_dataset(directory, transpose=source.transpose)


@dataclass(frozen=True)
class Point:
    """A training run: its settings, the device that they name, and its data."""

    settings: RunSettings
    profile: DeviceProfile
    source: Source = Source()

    @classmethod
    def of(cls, recipe: str | None = None, **given: Any) -> "Point":
        """Return a point on the built-in data, by recipe and settings. Raises what `qcloop train` reports."""
        settings = resolve(recipe, given)
        profile = resolve_device(
            settings.device, settings.states, settings.reading, settings.sigma, settings.relaxation
        )
        return cls(settings.on(profile), profile)

    def check(self, config: ArrayConfig | None = None, boards: int = 1) -> None:
        """Raise the error that a run would raise at its start, if any.

        Parameters
        ----------
        config : ArrayConfig, optional
            Shape of the array of the board that is to run the point. If left out, the settings decide.
        boards : int
            Boards of this shape that are to run it together.

        Raises
        ------
        DataError
            If the data cannot be loaded.
        ConfigError
            If settings, device, data and array do not fit together.
        ArrayError
            If the settings need a part that the array lacks.
        """
        settings = self.settings
        check_run(settings, self.profile, self.source.load())
        if config is not None and settings.read_noise and settings.lanes != config.lanes:
            raise ConfigError(
                f"read noise is drawn for {settings.lanes} lanes, but the board has {config.lanes}: "
                f"set lanes = {config.lanes}"
            )
        if config is not None and settings.boards != boards:
            raise ConfigError(
                f"the point divides its layers over boards = {settings.boards}, but the port names {boards}: "
                f"set boards = {boards}"
            )
        array = golden_model(settings.array_config if config is None else config, settings.boards)
        array.configure(array_settings(settings, self.profile))
        chip = Chip.of(settings, self.profile)
        wires = Wires.of(settings, self.profile)
        make_network(settings, LayeredCrossbar(settings, array, chip=chip, wires=wires))

    def description(self) -> dict[str, Any]:
        """Return everything that decides the outcome, as plain values."""
        return {
            "qcloop": __version__,
            "data_sha256": self.source.load().sha256,
            "settings": self.settings.to_dict(),
            "profile": profile_to_dict(self.profile),
        }

    def path(self, folder: Path) -> Path:
        """Return the file for the point's outcome in a folder.

        Its name is a digest of the description, but for settings that do what was done before they came.
        """
        description = self.description()
        settings = description["settings"].items()
        description["settings"] = {name: value for name, value in settings if AS_BEFORE.get(name) != value}
        text = json.dumps(description, sort_keys=True)
        return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


@dataclass(frozen=True)
class Outcome:
    """The result of a point."""

    history: tuple[EpochMetrics, ...]
    cost: Cost
    #: How many seconds the run took, and which worker ran it. Only these two differ when a point is repeated.
    seconds: float | None = field(default=None, compare=False)
    worker: str | None = field(default=None, compare=False)

    @property
    def accuracy(self) -> float:
        """Test accuracy after the last epoch, 0..1."""
        return self.history[-1].test_accuracy

    @property
    def best(self) -> EpochMetrics:
        """The epoch with the best test accuracy; of several, the first."""
        return max(self.history, key=lambda row: row.test_accuracy)

    @classmethod
    def load(cls, path: Path) -> "Outcome":
        """Read the outcome in a file. Raises RunError if the file is damaged."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            history = tuple(EpochMetrics(**row) for row in values["history"])
            if not history:
                raise ValueError("no epoch")
            return cls(history, Cost(**values["cost"]), values.get("seconds"), values.get("worker"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path} is not the outcome of a run ({error}): delete it to run the point again"
            ) from error

    def save(self, point: Point, path: Path) -> None:
        """Write the outcome of a point, as a whole. Raises RunError if the file cannot be written."""
        values = asdict(self) | {"history": [row.values() for row in self.history]}
        write_atomic(path, json.dumps(point.description() | values, indent=1) + "\n", RunError)


def compute(
    point: Point, worker: str | None = None, make_array: Callable[[RunSettings], Array] = golden_array
) -> Outcome:
    """Run a point and return its outcome. Nothing is written."""
    start = perf_counter()
    trainer = Trainer(point.settings, point.profile, point.source.load(), make_array(point.settings))
    trainer.initialise()
    while not trainer.finished:
        for _ in trainer.run_epoch():
            pass
    return Outcome(tuple(trainer.progress.history), trainer.cost(), perf_counter() - start, worker)


#: Folder of the outcomes of finished points, in the folder of a sweep.
POINTS = "points"


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there. Raises RunError if it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(explain("make", folder, error, "the folder")) from error
