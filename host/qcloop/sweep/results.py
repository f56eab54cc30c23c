"""The results of a sweep as one Parquet file. Each point has a row with its settings and its outcome."""

import io
import json
import platform
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcloop import __version__
from qcloop.crossbar.physics import Cost
from qcloop.crossbar.settings import TILE_SIDES
from qcloop.crossbar.sides import PerLayer
from qcloop.errors import RunError
from qcloop.files import write_atomic
from qcloop.sweep.plan import EXTRAS, Entry, Plan
from qcloop.sweep.points import Outcome, Point
from qcloop.training.settings import TYPES

if TYPE_CHECKING:
    import pyarrow

RESULTS = "results.parquet"
FINISHED, FAILED, MISSING = "finished", "failed", "missing"
#: Costs that are columns only where a run tells them: results of earlier versions have none.
RARE_COSTS = ("image_read_energy_j",)

#: Keys of the file's metadata.
_ABOUT, _FILE = b"qcloop", b"qcloop_sweep_file"


def write_results(
    path: Path, plan: Plan, outcomes: Mapping[Point, Outcome], failures: Mapping[Entry, str]
) -> None:
    """Write the results so far, as a whole. Raises RunError if the file cannot be written."""
    import pyarrow
    from pyarrow import parquet

    rows = result_rows(plan, outcomes, failures)
    about = {
        "version": __version__,
        "python": platform.python_version(),
        "name": plan.path.stem,
        "swept": plan.swept,
        "grid": plan.grid,
        "grid_points": plan.grid_entries,
    }
    texts = {name for name in rows[0] if any(isinstance(row[name], str) for row in rows)}
    columns = [each for each in _schema(texts) if each.name in rows[0]]
    schema = pyarrow.schema(columns, {_ABOUT: json.dumps(about), _FILE: plan.text.encode()})
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema), buffer, compression="zstd")
    write_atomic(path, buffer.getvalue(), RunError)


def result_rows(
    plan: Plan, outcomes: Mapping[Point, Outcome], failures: Mapping[Entry, str]
) -> list[dict[str, Any]]:
    """Return the rows of the table of results, one for each entry of the plan; missing values are None.

    A column of sides of tiles has integers, or texts where one row has a side for each layer.
    """
    found = [_row(number, entry, outcomes, failures) for number, entry in enumerate(plan.entries, 1)]
    for name in TILE_SIDES:
        _as_texts(found, name)
    rare = {name for name in RARE_COSTS if all(row.get(name) is None for row in found)}
    names = [name for name in _schema().names if name not in rare]
    return [{name: row.get(name) for name in names} for row in found]


def _as_texts(rows: list[dict[str, Any]], name: str) -> None:
    """Make texts of a column of sides of tiles unless all are integers or None."""
    if any(isinstance(row.get(name), str | PerLayer) for row in rows):
        for row in rows:
            if row.get(name) is not None:
                row[name] = str(row[name])


def _schema(texts: Collection[str] = ()) -> "pyarrow.Schema":
    """Return the types of all columns that there can be; ``texts`` are sides of tiles that are texts."""
    import pyarrow as pa

    types = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    types[PerLayer] = pa.int64()
    settings = [(name, types[str if name in texts else kind]) for name, kind in (EXTRAS | TYPES).items()]
    settings = [(name, pa.uint64() if name in ("seed", "chip") else kind) for name, kind in settings]
    costs = [
        (field.name, pa.int64() if field.type in (int, int | None) else pa.float64())
        for field in fields(Cost)
    ]
    return pa.schema(
        [
            ("point", pa.int64()),
            ("status", pa.string()),
            ("error", pa.string()),
            *settings,
            ("test_accuracy", pa.float64()),
            ("best_accuracy", pa.float64()),
            ("best_epoch", pa.int64()),
            ("train_accuracy", pa.float64()),
            ("train_loss", pa.float64()),
            *costs,
            ("array_sha256", pa.string()),
            ("seconds", pa.float64()),
            ("worker", pa.string()),
            ("test_accuracies", pa.list_(pa.float64())),
            ("train_losses", pa.list_(pa.float64())),
        ]
    )


def _row(
    number: int, entry: Entry, outcomes: Mapping[Point, Outcome], failures: Mapping[Entry, str]
) -> dict[str, Any]:
    settings = dict(entry.given) if entry.point is None else {**entry.given, **entry.point.settings.to_dict()}
    settings.setdefault("transpose", False)
    row = {"point": number, "status": MISSING, "error": failures.get(entry), **settings}
    if row["error"] is not None:
        return row | {"status": FAILED}
    outcome = None if entry.point is None else outcomes.get(entry.point)
    if outcome is None:
        return row
    last, best = outcome.history[-1], outcome.best
    return row | {
        "status": FINISHED,
        "test_accuracy": last.test_accuracy,
        "best_accuracy": best.test_accuracy,
        "best_epoch": best.epoch,
        "train_accuracy": last.train_accuracy,
        "train_loss": last.train_loss,
        **asdict(outcome.cost),
        "array_sha256": last.array_sha256,
        "seconds": outcome.seconds,
        "worker": outcome.worker,
        "test_accuracies": [each.test_accuracy for each in outcome.history],
        "train_losses": [each.train_loss for each in outcome.history],
    }


def read_results(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """Return rows, metadata and sweep file. Raises RunError if these are not the results of a sweep."""
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        missing = set(_schema().names) - {*EXTRAS, *TYPES, *RARE_COSTS} - set(table.schema.names)
        if missing:
            raise ValueError(f"it has no column {min(missing)}")
        metadata = table.schema.metadata or {}
        return table.to_pylist(), json.loads(metadata[_ABOUT]), metadata[_FILE].decode()
    except (OSError, pyarrow.ArrowException, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(f"{path} does not hold the results of a sweep: {reason}") from error
