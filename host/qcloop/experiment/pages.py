"""The page on a run or a sweep, and its figures: what `qcloop report` and ``.report()`` have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from qcloop.errors import ConfigError, FileError, RunError
from qcloop.experiment.runs import run_folders
from qcloop.figure import FORMATS, Plot
from qcloop.files import explain, write_atomic
from qcloop.sweep.points import POINTS
from qcloop.sweep.results import RESULTS
from qcloop.text import typed


@dataclass(frozen=True)
class Page:
    """An HTML page that needs no other file. A notebook shows it in a frame."""

    html: str

    def save(self, path: Path | str) -> Path:
        """Write the page, and return its path; raises FileError if it cannot be written."""
        write_atomic(Path(path), self.html)
        return Path(path)

    def __repr__(self) -> str:
        return f"<Page of {len(self.html.encode()) / 1000:,.0f} kB: save(FILE) writes it>"

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.html)}" style="width: 100%; height: 640px"></iframe>'


def page_of(folder: Path) -> str:
    """Return an HTML page on the run, the runs of several seeds or the sweep in a folder, finished or not.

    Raises RunError if there is none, or if nothing of it is finished.
    """
    # These take long to import, so they are imported only here.
    from qcloop.report.run import run_report
    from qcloop.report.sweep import sweep_report

    return sweep_report(folder) if _is_sweep(folder) else run_report(folder)


def figures_of(folder: Path) -> Iterator[tuple[str, Plot]]:
    """Yield the name and the plot of each figure on that page; raises RunError as :func:`page_of`."""
    from qcloop.report.sweep import sweep_figures
    from qcloop.run.contents import read_run
    from qcloop.run.figures import run_figures

    yield from sweep_figures(folder) if _is_sweep(folder) else run_figures(read_run(folder))


def write_figures(folder: Path, target: Path, form: str = FORMATS[0]) -> list[Path]:
    """Write the figures of a run or a sweep into a folder, each with its numbers beside it.

    Parameters
    ----------
    target : Path
        Folder, which is made unless it is there.
    form : str
        One of :data:`qcloop.figure.FORMATS`.

    Returns
    -------
    list of Path
        The pictures.

    Raises
    ------
    ConfigError
        For another format.
    RunError
        As :func:`page_of`.
    FileError
        If a file cannot be written.
    """
    if form not in FORMATS:
        raise ConfigError(f"the format must be one of {', '.join(FORMATS)}, not '{form}'")
    written = []
    for name, plot in figures_of(folder):
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(explain("make", target, error, "the folder")) from error
        written.append(target / f"{name}.{form}")
        plot.save(written[-1])
    return written


def _is_sweep(folder: Path) -> bool:
    if (folder / RESULTS).exists() or (folder / POINTS).is_dir():
        return True
    runs = run_folders(folder)
    if runs != [folder]:
        raise RunError(
            f"none of the {len(runs)} runs in {folder} is finished yet: go on by `qcloop resume "
            f"{typed(folder)}`, or make a page of one, such as {typed(runs[0])}"
        )
    return False
