"""Training runs as points of a study: each is run once, kept as a file, and read back the next time."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from qcloop import __version__
from qcloop.data import Dataset, load_dataset
from qcloop.device import DeviceProfile, profile_to_dict, resolve_device
from qcloop.errors import RunError
from qcloop.run.files import write_atomic
from qcloop.run.folder import golden_array
from qcloop.training.physics import Cost
from qcloop.training.settings import RunSettings, resolve
from qcloop.training.trainer import EpochMetrics, Trainer


@dataclass(frozen=True)
class Point:
    """A training run on the golden model and the built-in MNIST: its settings, and the device they name."""

    settings: RunSettings
    profile: DeviceProfile

    @classmethod
    def of(cls, recipe: str | None = None, **given: Any) -> "Point":
        """Return the point of a recipe and settings; errors as those of `qcloop train`."""
        settings = resolve(recipe, given)
        profile = resolve_device(settings.device, settings.states, settings.reading, settings.sigma)
        return cls(replace(settings, states=profile.states, reading=profile.reading), profile)

    def description(self) -> dict[str, Any]:
        """Return all that decides the outcome, as plain values."""
        return {
            "qcloop": __version__,
            "data_sha256": built_in_data().sha256,
            "settings": self.settings.to_dict(),
            "profile": profile_to_dict(self.profile),
        }

    def path(self, folder: Path) -> Path:
        """Return the file of the point's outcome in a folder; its name is a digest of the description."""
        text = json.dumps(self.description(), sort_keys=True)
        return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


@dataclass(frozen=True)
class Outcome:
    """What a point came to."""

    history: tuple[EpochMetrics, ...]
    cost: Cost

    @property
    def accuracy(self) -> float:
        """Test accuracy after the last epoch, 0..1."""
        return self.history[-1].test_accuracy

    @classmethod
    def load(cls, path: Path) -> "Outcome":
        """Read the outcome in a file; raises RunError if it is damaged."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(EpochMetrics(**row) for row in values["history"]), Cost(**values["cost"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path} is not the outcome of a run ({error}): delete it to run it anew"
            ) from error


@cache
def built_in_data() -> Dataset:
    """Return the built-in MNIST, loaded once a process."""
    return load_dataset(None)


def run_point(point: Point, folder: Path) -> Outcome:
    """Return the outcome of a point: from its file, or by running it and writing the file as a whole."""
    path = point.path(folder)
    if path.exists():
        return Outcome.load(path)
    trainer = Trainer(point.settings, point.profile, built_in_data(), golden_array(point.settings))
    trainer.initialise()
    while not trainer.finished:
        for _ in trainer.run_epoch():
            pass
    outcome = Outcome(tuple(trainer.progress.history), trainer.cost())
    write_atomic(path, json.dumps(point.description() | asdict(outcome), indent=1) + "\n")
    return outcome


def run_points(
    points: Sequence[Point], folder: Path, jobs: int, done: Callable[[Point, Outcome], None]
) -> dict[Point, Outcome]:
    """Run points in parallel; what is finished is kept in ``folder`` whatever happens to the rest.

    Parameters
    ----------
    points : sequence of Point
        A point that stands in it twice is run once.
    jobs : int
        Processes, 1 or more; each takes about 400 MB.
    done : callable
        Told of each point as it is finished or found.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {folder}: {error.strerror}") from error
    outcomes: dict[Point, Outcome] = {}
    for point, outcome in _run(list(dict.fromkeys(points)), folder, jobs):
        outcomes[point] = outcome
        done(point, outcome)
    return outcomes


def _run(points: list[Point], folder: Path, jobs: int) -> Iterator[tuple[Point, Outcome]]:
    missing = []
    for point in points:
        if point.path(folder).exists():
            yield point, Outcome.load(point.path(folder))
        else:
            missing.append(point)
    if jobs == 1 or len(missing) < 2:
        yield from ((point, run_point(point, folder)) for point in missing)
        return
    from joblib import Parallel, delayed, parallel_config  # heavy: only where processes are started

    with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1):
        yield from Parallel(return_as="generator_unordered")(
            delayed(_labelled)(point, folder) for point in missing
        )


def _labelled(point: Point, folder: Path) -> tuple[Point, Outcome]:
    return point, run_point(point, folder)
