"""The run folder: everything that is needed to repeat a run, or to go on with it, bit for bit.

=================== ====================================================================================
``config.toml``     all settings, device profile, data and versions; written once, before anything else
``checkpoint.npz``  the state of the run; replaced as a whole, so it is never half written
``metrics.csv``     one row for each epoch
``counters.toml``   pulses, endurance, programming time and write energy
``confusion.csv``   true class by row, predicted class by column, after the last epoch
``*.png``           accuracy and loss, conductance histogram, confusion matrix
``age.csv``         accuracy over time, with the picture ``age.png``; only ``qcloop age`` writes them
``report.html``     all of this on one page; only ``qcloop report`` writes it
=================== ====================================================================================

The checkpoint decides: the other results are made from it, and ``resume`` makes them again.
"""

import csv
import hashlib
import io
import json
import platform
import tomllib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import Any

import filelock
import numpy as np
import tomli_w

from qcloop import __version__
from qcloop.array import Array, golden_model
from qcloop.data import Dataset, load_dataset
from qcloop.device import DeviceProfile, profile_from_dict, profile_to_dict
from qcloop.errors import ArrayResetError, CheckpointError, DataError, RunError
from qcloop.figure import to_png
from qcloop.files import explain, read_text, write_atomic
from qcloop.run import plots
from qcloop.run.checkpoint import Arrays, read_checkpoint, write_checkpoint
from qcloop.run.note import read_note, write_note
from qcloop.run.state import check_predictions, check_state, most_bytes
from qcloop.text import typed
from qcloop.training.progress import metrics_names
from qcloop.training.settings import Order, RunSettings
from qcloop.training.trainer import Trainer

#: Seconds between two checkpoints inside an epoch; one is written after each epoch in any case.
CHECKPOINT_SECONDS = 30.0
#: A run gives up after so many resets of its array without a checkpoint between them.
MOST_RESETS = 5
#: Most bytes of ``config.toml``: the largest device profile takes 10 kB.
_MOST_CONFIG_BYTES = 1 << 20

CONFIG, CHECKPOINT, METRICS, COUNTERS = "config.toml", "checkpoint.npz", "metrics.csv", "counters.toml"

ArrayFactory = Callable[[RunSettings], Array]


def golden_array(settings: RunSettings) -> Array:
    """Return the array of a run without a board: the golden model."""
    return golden_model(settings.array_config, settings.boards)


class Run:
    """A training run in its folder. The folder is locked against a second process until :meth:`close`.

    Use :meth:`create` for a new run and :meth:`open` for one that exists. As a context manager a run closes
    itself. A run that is only read is not locked.
    """

    def __init__(
        self, path: Path, config: dict[str, Any], trainer: Trainer, lock: filelock.BaseFileLock | None
    ) -> None:
        self.path, self.trainer = path, trainer
        self._config, self._lock = config, lock
        #: Boards on which the run was before, if it goes on on another number of them.
        self.boards_before: int | None = None
        self._saves = 0

    @classmethod
    def create(
        cls,
        path: Path,
        settings: RunSettings,
        profile: DeviceProfile,
        data: Dataset,
        data_source: dict[str, Any],
        make_array: ArrayFactory = golden_array,
    ) -> "Run":
        """Start a run in a new or empty folder.

        Parameters
        ----------
        data_source : dict
            How to load ``data`` again: ``transpose``, and ``directory`` unless it is the built-in data.

        Raises
        ------
        RunError
            If the folder holds a run or anything else, or if it cannot be made.
        ConfigError
            If settings, device, data and array do not fit together. Nothing is written in that case.
        """
        check_is_free(path)
        trainer = Trainer(settings, profile, data, make_array(settings))
        config = write_config(path, settings, profile, data, data_source)
        run = cls(path, config, trainer, lock_folder(path))
        try:
            trainer.initialise()
            run.save()
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def attach(cls, path: Path, array: Array, content: bytes, follow: Callable[[], None]) -> "Run":
        """Take over the run that a board works on, with a new or empty folder.

        Parameters
        ----------
        array : Array
            It takes everything that brings it to where the run began, but passes nothing on.
        content : bytes
            The note that the run's first host has left.
        follow : callable
            Lets the array pass on what comes from then on.

        Raises
        ------
        RunError
            If the folder holds a run or anything else, or if the board's note is none of this release.
        DataError
            If the data of the run are not on this machine.
        """
        check_is_free(path)
        note = read_note(content)
        settings = RunSettings.from_dict(note.config["settings"])
        profile = profile_from_dict(note.config["profile"])
        trainer = Trainer(settings, profile, load_run_data(note.config), array)
        trainer.restore(*note.state(trainer))
        _write_config(path, note.config)
        run = cls(path, note.config, trainer, lock_folder(path))
        follow()
        return run

    @classmethod
    def open(
        cls,
        path: Path,
        epochs: int | None = None,
        make_array: ArrayFactory = golden_array,
        *,
        only_read: bool = False,
    ) -> "Run":
        """Open a run at its checkpoint; ``epochs`` sets a new total number of epochs.

        With ``only_read`` nothing is written into the folder, which may be read-only, and which another
        process may use. Such a run can be evaluated, but not trained.

        Raises
        ------
        RunError
            If there is no run, if another process uses it, or if its data has changed.
        CheckpointError
            If the checkpoint is damaged or belongs to other settings.
        """
        config = read_config(path)
        lock = None if only_read else lock_folder(path)
        try:
            run = cls._open(path, config, epochs, make_array, lock)
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        return run

    @classmethod
    def _open(
        cls,
        path: Path,
        config: dict[str, Any],
        epochs: int | None,
        make_array: ArrayFactory,
        lock: filelock.BaseFileLock | None,
    ) -> "Run":
        settings = RunSettings.from_dict(config["settings"])
        if epochs is not None:
            settings = replace(settings, epochs=epochs)
            config["settings"]["epochs"] = epochs  # settings that are new since the run began stay left out
        array, before = make_array(settings), settings.boards
        if array.boards != before:
            settings = replace(settings, boards=array.boards)
            config["settings"]["boards"] = array.boards
        profile = profile_from_dict(config["profile"])
        run = cls(path, config, Trainer(settings, profile, load_run_data(config), array), lock)
        if (path / CHECKPOINT).exists():
            run._restore()
        else:  # the run was killed before its first checkpoint: it starts from the beginning
            run.trainer.initialise()
        if array.boards != before:
            run.boards_before = before
        if epochs is not None and epochs < run.trainer.progress.epoch:
            raise RunError(f"{path} has done {run.trainer.progress.epoch} epochs already, more than {epochs}")
        if lock is not None and (epochs is not None or array.boards != before):
            write_atomic(path / CONFIG, _to_toml(config))
        return run

    def _restore(self) -> None:
        arrays, values = read_state(self.path, self._config)
        check_predictions(arrays, values, self.trainer.test_images)
        self.trainer.restore(arrays, values)

    def close(self) -> None:
        """Unlock the folder for other processes."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- running --------------------------------------------------------------------------------

    def train(
        self,
        report: Callable[[Trainer], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train to the last epoch; ``report`` is called after each batch and each epoch.

        If ``stop`` returns True after a batch, the checkpoint is written and the run ends there.

        If the array loses its cells, because a board was reset, it is loaded again from the checkpoint.
        ``say`` is told so, and the trace goes on as if nothing had happened. If this happens
        :data:`MOST_RESETS` times without a checkpoint between, the ArrayResetError is raised.

        Raises
        ------
        FileError
            If the checkpoint cannot be written. The one before it is kept whole.
        """
        resets, saved = 0, self._saves
        while True:
            try:
                if self.trainer.settings.order is Order.BOARD and not self.trainer.finished:
                    self.trainer.array.note(write_note(self._config, self.trainer))
                self._train(report, stop)
                if self.trainer.finished:
                    self.write_results()
                return
            except ArrayResetError as error:
                resets = resets + 1 if self._saves == saved else 1
                saved = self._saves
                if resets >= MOST_RESETS:
                    raise
                self._restore()
                progress = self.trainer.progress
                say(f"{error}; on from epoch {progress.epoch + 1}, image {progress.image}")

    def _train(self, report: Callable[[Trainer], None], stop: Callable[[], bool]) -> None:
        last = monotonic()
        while not self.trainer.finished:
            for _ in self.trainer.run_epoch():
                if stop():  # before the report: the terminal that it is written to may be gone
                    self._save_unless_ahead()
                    return
                report(self.trainer)
                if monotonic() - last > CHECKPOINT_SECONDS:
                    self._save_unless_ahead()
                    last = monotonic()
            self._save_unless_ahead()
            last = monotonic()
            report(self.trainer)
            if stop():
                return

    def _save_unless_ahead(self) -> None:
        """Write the checkpoint; while the array is ahead of the host only the metrics, as far as they go."""
        if self.trainer.ahead:
            self._write_metrics()
        else:
            self.save()

    def save(self) -> None:
        """Write the checkpoint, then the tables that are made from it.

        Raises RunError if the run was opened to be read only, and FileError if a file cannot be written.
        """
        if self._lock is None:
            raise RunError(f"{self.path} was opened to be read only: open it without only_read to train it")
        arrays, values = self.trainer.state()
        write_checkpoint(self.path / CHECKPOINT, arrays, {**values, "config": _config_digest(self._config)})
        self._saves += 1
        self.write_tables()

    def write_tables(self) -> None:
        """Write ``metrics.csv`` and ``counters.toml``."""
        self._write_metrics()
        counters = {
            "cost": self.trainer.cost().to_dict(),
            "array": asdict(self.trainer.counters()),
        }
        write_atomic(self.path / COUNTERS, tomli_w.dumps(counters))

    def _write_metrics(self) -> None:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(metrics_names(self.trainer.settings))
        for row in self.trainer.progress.history:
            writer.writerow(f"{v:.6f}" if isinstance(v, float) else v for v in row.values().values())
        write_atomic(self.path / METRICS, table.getvalue())

    def write_results(self) -> None:
        """Write tables and pictures of a run that has finished an epoch."""
        self.write_tables()
        trainer = self.trainer
        confusion = trainer.confusion()
        table = "\n".join(",".join(map(str, row)) for row in confusion) + "\n"
        write_atomic(self.path / "confusion.csv", table)
        title = f"{trainer.settings.network}, {trainer.profile.name}, {trainer.profile.states} states"
        cells = trainer.array.read_all(trainer.network.crossbar.regions)
        pictures = {
            "accuracy": plots.curves(trainer.progress.history, title),
            "conductance": plots.conductance(trainer.profile, cells, title),
            "confusion": plots.confusion(confusion, title),
        }
        for name, figure in pictures.items():
            write_atomic(self.path / f"{name}.png", to_png(figure))


def write_config(
    path: Path,
    settings: RunSettings,
    profile: DeviceProfile,
    data: Dataset,
    data_source: dict[str, Any],
) -> dict[str, Any]:
    """Make the folder of a run, and write the configuration with which :meth:`Run.open` begins it.

    Parameters are those of :meth:`Run.create`. Returns the configuration. Raises RunError if the folder
    cannot be made, and FileError if the file cannot be written.
    """
    config = {
        "qcloop": {"version": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "data": {"name": data.name, "sha256": data.sha256, **data_source},
        "settings": settings.to_dict(),
        "profile": profile_to_dict(profile),
    }
    _write_config(path, config)
    return config


def _write_config(path: Path, config: dict[str, Any]) -> None:
    """Make the folder of a run, and write its configuration."""
    text = _to_toml(config)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(explain("make", path, error, "the run folder")) from error
    write_atomic(path / CONFIG, text)


def _to_toml(config: dict[str, Any]) -> str:
    """Return a configuration as text. Raises RunError if a name in it cannot be written as text."""
    text = tomli_w.dumps(config)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        name = next(line for line in text.splitlines() if text[error.start] in line)
        raise RunError(
            f"config.toml must be UTF-8 text, but a name is not: {name}: rename the file or folder"
        ) from error
    return text


def check_is_free(path: Path) -> None:
    """Raise RunError unless a folder is empty, hidden files apart, or does not exist."""
    try:
        names = [entry.name for entry in path.iterdir()]
    except FileNotFoundError:
        return
    except NotADirectoryError:
        names = [path.name]
    except OSError as error:
        raise RunError(f"{explain('look into', path, error)}, or choose another --out") from error
    if CONFIG in names:
        raise RunError(
            f"{path} already holds a run: go on with it by `qcloop resume {typed(path)}`, "
            "or choose another --out"
        )
    if any(not name.startswith(".") for name in names):
        raise RunError(f"{path} is not an empty folder: choose another --out")


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration of a run folder. Raises RunError if there is none, or if it is damaged."""
    file = path / CONFIG
    try:
        config = tomllib.loads(read_text(file, _MOST_CONFIG_BYTES))
    except FileNotFoundError:
        raise RunError(f"{path} holds no run: expected a folder with {CONFIG}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    for part in ("settings", "profile", "data", "qcloop"):
        if not isinstance(config.get(part), dict):
            raise RunError(f"{file} has no [{part}]: it is not the configuration of a run")
    for part, name, kind, needed in _CHECKED:
        value = config[part].get(name)
        if not isinstance(value, kind) and (needed or value is not None):
            wanted = "true or false" if kind is bool else "a text"
            raise RunError(f"{file}: {name} of [{part}] must be {wanted}, not {value!r:.60}")
    return config


#: Values of ``config.toml`` besides settings and profile, which have checks of their own: the table, the key,
#: the type, and whether it must be there.
_CHECKED = (
    ("data", "sha256", str, True),
    ("data", "directory", str, False),
    ("data", "name", str, False),
    ("data", "transpose", bool, False),
    ("qcloop", "version", str, False),
    ("qcloop", "python", str, False),
    ("qcloop", "numpy", str, False),
)


def read_state(path: Path, config: dict[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    """Return the arrays and values of a run's checkpoint. It may be read while the run goes on.

    Raises CheckpointError if the checkpoint is damaged, belongs to other settings than ``config``, or holds
    what such a run cannot have reached.
    """
    settings, profile = RunSettings.from_dict(config["settings"]), profile_from_dict(config["profile"])
    arrays, values = read_checkpoint(path / CHECKPOINT, most_bytes(settings, profile))
    if values.get("config") != _config_digest(config):
        raise CheckpointError(
            f"checkpoint {path / CHECKPOINT} belongs to other settings than {CONFIG} beside it: "
            f"undo the edit of {CONFIG}, or start a new run"
        )
    check_state(arrays, values, settings, profile)
    return arrays, values


def load_run_data(config: dict[str, Any]) -> Dataset:
    """Return the data of a run. Raises DataError if it is not the data with which the run was made."""
    source = config["data"]
    directory = source.get("directory")
    data = load_dataset(Path(directory) if directory else None, transpose=bool(source.get("transpose")))
    if data.sha256 != source.get("sha256"):
        raise DataError(
            f"the data in {directory or 'the package'} has SHA-256 {data.sha256[:16]}..., but the run was "
            f"made with {str(source.get('sha256'))[:16]}...: put the original data back"
        )
    return data


def _config_digest(config: dict[str, Any]) -> str:
    """Return a digest of all that decides a run.

    The number of epochs does not, as a run may be prolonged, nor that of boards: it may go on with others.
    """
    settings = {name: value for name, value in config["settings"].items() if name != "boards"}
    settings["epochs"] = None
    decisive = [settings, config["profile"], config["data"]["sha256"]]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def lock_folder(path: Path) -> filelock.BaseFileLock:
    """Lock a folder against other processes until the lock is released.

    Raises RunError if another process has it, or if the folder cannot be written.
    """
    lock = filelock.FileLock(path / ".lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise RunError(f"{path} is in use by another process: wait for it to end") from None
    except OSError as error:
        raise RunError(explain("lock", path, error, "the folder")) from error
    except NotImplementedError as error:  # a file system without locks
        raise RunError(f"cannot lock the folder {path}: {error}: choose a folder on another disk") from error
    return lock
