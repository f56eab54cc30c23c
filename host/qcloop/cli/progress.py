"""Progress of training runs, as users see it."""

from time import monotonic

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qcloop.experiment.lines import describe_epoch
from qcloop.training.trainer import Trainer

#: Seconds between two updates of the bar, so that drawing it does not slow the training.
_REFRESH = 0.1
#: Seconds over which the time left is estimated. It is long, because one run may take minutes.
_LONG_RUNS = 24 * 3600.0


def _print_above(bar: Progress, line: str, *, err: bool = False) -> None:
    """Print a line, on a terminal above the bar: the bar is taken away before and drawn anew afterwards.

    What is printed beside a bar that is drawn would end up in its line.
    """
    shown = bar.live.is_started
    if shown:
        bar.stop()
    click.echo(line, err=err)
    if shown:
        bar.start()


class TrainingDisplay:
    """A progress bar (epoch, accuracy, images a second, time left), and one line for each epoch.

    Without ``speeds`` the lines do not tell images a second, as for epochs that were done before. If standard
    output is not a terminal, only the lines are printed.
    """

    def __init__(self, trainer: Trainer, *, speeds: bool = True) -> None:
        self._speeds = speeds
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn(
                "{task.percentage:3.0f} %  accuracy {task.fields[accuracy]}  {task.fields[speed]} images/s"
            ),
            TimeRemainingColumn(),
            console=Console(),
            transient=True,
            disable=not Console().is_terminal,
        )
        total = trainer.settings.epochs * trainer.images
        self._task = self._bar.add_task("train", total=total, epoch="", accuracy="-", speed="-")
        self._images = trainer.images
        self._seen = len(trainer.progress.history)
        self._first_image = trainer.progress.image
        self._epoch_start = self._last = monotonic()

    def __enter__(self) -> "TrainingDisplay":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, message: str) -> None:
        """Print a message above the bar, after which the present epoch begins again."""
        _print_above(self._bar, message, err=True)
        self._epoch_start, self._first_image = monotonic(), 0

    def update(self, trainer: Trainer) -> None:
        """Show the state after a batch or an epoch."""
        now = monotonic()
        progress = trainer.progress
        if len(progress.history) > self._seen:
            self._seen = len(progress.history)
            speed = self._speed if self._speeds else None
            _print_above(self._bar, describe_epoch(progress.history[-1], speed))
            self._epoch_start, self._first_image = now, 0
        elif progress.image == self._images:  # the last batch: evaluation and saving follow
            self._speed = (self._images - self._first_image) / max(now - self._epoch_start, 1e-9)
        elif now - self._last > _REFRESH:
            speed = (progress.image - self._first_image) / max(now - self._epoch_start, 1e-9)
            self._bar.update(
                self._task,
                completed=progress.epoch * self._images + progress.image,
                epoch=f"{progress.epoch + 1}/{trainer.settings.epochs}",
                accuracy="-" if trainer.ahead else f"{100 * progress.hits / progress.image:.2f} %",
                speed=f"{speed:,.0f}",
            )
            self._last = now

    _speed: float | None = None


class PointsDisplay:
    """Progress of many runs: a bar with the time left. Without a terminal, a line after each tenth of them.

    Parameters
    ----------
    found : int, optional
        How many were finished before; ``update`` is not called for these. Without this number, the lines do
        not say how much time is left.
    what : str
        What the runs are called.
    """

    def __init__(self, total: int, found: int | None = None, what: str = "training runs") -> None:
        self._total, self._done, self._found, self._what = total, found or 0, found, what
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(),
            transient=True,
            disable=not Console().is_terminal,
            speed_estimate_period=_LONG_RUNS,
        )
        self._task = self._bar.add_task(what, total=total, completed=self._done)

    def __enter__(self) -> "PointsDisplay":
        self._bar.start()
        self._start = monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, message: str) -> None:
        """Print a message above the bar."""
        _print_above(self._bar, message, err=True)

    def update(self, *_: object) -> None:
        """Count one finished run."""
        self._done += 1
        self._bar.update(self._task, completed=self._done)
        tenths = 10 * self._done // self._total
        if self._bar.disable and tenths > 10 * (self._done - 1) // self._total:
            click.echo(f"{self._done} of {self._total} {self._what}{self._left()}")

    def _left(self) -> str:
        if self._found is None:
            return ""
        seconds = (monotonic() - self._start) / (self._done - self._found) * (self._total - self._done)
        return f", about {spell_seconds(seconds)} left" if seconds >= 1 else ""


def spell_seconds(seconds: float) -> str:
    """Return a span of time in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours = minutes // 60
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
