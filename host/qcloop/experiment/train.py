"""Training runs in Python: the command line's ``train`` and ``resume`` as functions."""

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any

from qcloop.device import DeviceProfile
from qcloop.experiment.lines import describe_epoch
from qcloop.experiment.points import points_of
from qcloop.experiment.results import ResultFolder, SweepResult, TemporaryFolder, TrainResult
from qcloop.experiment.runs import resume_runs, run_folders, train_points
from qcloop.link.ports import BAUD
from qcloop.run.folder import Run, read_config
from qcloop.statistic import SeedStatistic
from qcloop.sweep.results import RESULTS
from qcloop.training.settings import RunSettings
from qcloop.training.trainer import Trainer


def train(
    recipe: str | None = None,
    *,
    device: str | Path | DeviceProfile | None = None,
    seeds: int | Sequence[int] | None = None,
    data: Path | str | None = None,
    transpose: bool = False,
    out: Path | str | None = None,
    port: str | None = None,
    baud: int = BAUD,
    quiet: bool = False,
    **settings: Any,
) -> TrainResult:
    """Train a network on the emulated array, as ``qcloop train`` does with options of the same names.

    Parameters
    ----------
    recipe : str, optional
        Named settings to start from: ``paper``, ``best`` or ``gentle``.
    device : str, path, DeviceProfile or result of qcloop.fit, optional
        Built-in device (ideal, A, B), a TOML file, or a profile.
    seeds : int or sequence of int, optional
        How many runs, with seeds 1, 2, ..., or which seeds. If left out, one run with the setting ``seed``.
    data : path, optional
        Folder with IDX files; the built-in MNIST if left out.
    transpose : bool
        Swap rows and columns of each image.
    out : path, optional
        Folder to write; if left out, a temporary one, which ``.save(DIR)`` keeps.
    port, baud
        Where the array is; the golden model if ``port`` is None.
    quiet : bool
        Print nothing while it trains.
    **settings
        The other settings of a run, listed below with their defaults. Some defaults depend on the update rule
        and on ``step``, as for ``qcloop train``.

    Returns
    -------
    TrainResult

    Raises
    ------
    QcloopError
        What the command line would print as one line: an unknown or contradictory setting, a device, data or
        a board that is not there, a folder in use.
    """
    points = points_of(recipe, seeds=seeds, data=data, transpose=transpose, device=device, **settings)
    kept = TemporaryFolder() if out is None else None
    path = Path(out or "") if kept is None else kept.path / "run"
    say = _silent if quiet else print
    show = _shown(say, len(points) > 1)
    train_points(points, path, show, port=port, baud=baud, given=settings, say=say)
    return TrainResult(path, kept)


def resume(
    folder: Path | str,
    *,
    epochs: int | None = None,
    port: str | None = None,
    baud: int = BAUD,
    quiet: bool = False,
) -> TrainResult:
    """Go on with the runs in a folder, as ``qcloop resume`` does.

    Parameters
    ----------
    folder : path
        A folder of ``qcloop train``, or of :func:`train` with ``out``.
    epochs : int, optional
        New total number of epochs.
    port, baud, quiet
        As for :func:`train`.

    Raises
    ------
    QcloopError
        If there is no run, another process uses it, or its checkpoint is damaged.
    """
    path = Path(folder)
    say = _silent if quiet else print
    show = _shown(say, run_folders(path) != [path])
    resume_runs(path, show, epochs=epochs, port=port, baud=baud, say=say)
    return TrainResult(path)


def load(folder: Path | str) -> ResultFolder:
    """Return the result in a folder that ``qcloop train`` or ``qcloop sweep`` has written.

    Returns
    -------
    TrainResult or SweepResult

    Raises
    ------
    RunError
        If there is none.
    """
    path = Path(folder)
    if run_folders(path) == [path] and (path / RESULTS).exists():
        return SweepResult(path)
    read_config(run_folders(path)[0])
    return TrainResult(path)


def _silent(_: str) -> None:
    pass


def _shown(say: Callable[[str], None], several: bool) -> Callable[[Run], None]:
    """Return what trains a run and tells of it: a line for each epoch, or for each run of several."""

    def train_shown(run: Run) -> None:
        seen = len(run.trainer.progress.history)

        def report(trainer: Trainer) -> None:
            nonlocal seen
            if len(trainer.progress.history) > seen:
                seen = len(trainer.progress.history)
                if not several:
                    say(describe_epoch(trainer.progress.history[-1]))

        run.train(report, say)
        if several:
            last = run.trainer.progress.history[-1]
            accuracy = SeedStatistic.of([last.test_accuracy]).percent()
            say(f"seed {run.trainer.settings.seed}: test accuracy {accuracy} % after epoch {last.epoch}")

    return train_shown


def _with_settings(function: Any) -> None:
    """Give a function that takes settings their names, defaults and help texts, as they are defined."""
    own = [p for p in signature(function).parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    known = {parameter.name for parameter in own}
    others = [setting for setting in RunSettings.options() if setting.name not in known]
    function.__signature__ = Signature(
        [*own, *(Parameter(s.name, Parameter.KEYWORD_ONLY, default=s.default) for s in others)]
    )
    function.__doc__ += "\n\n    Notes\n    -----\n    Settings and their defaults:\n\n" + "\n".join(
        f"    - ``{s.name}={s.default!s}``: {s.metadata['help']}" for s in others
    )


_with_settings(train)
