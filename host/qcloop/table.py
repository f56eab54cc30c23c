"""Tables of results: columns by name, as CSV, as text and for a notebook."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import isnan
from typing import Any

#: Most rows that are shown of a table; of a longer one, so many of its beginning and of its end.
_MOST_SHOWN, _ENDS = 24, 10


class ResultTable(dict[str, list[Any]]):
    """Columns by name, all of one length.

    ``pandas.DataFrame(table)``, ``polars.DataFrame(table)`` and ``pyarrow.table(table)`` take it as it is.
    """

    @classmethod
    def of(cls, names: Iterable[str], rows: Iterable[Sequence[Any]]) -> "ResultTable":
        """Return the table of rows; raises ValueError if a row is not as long as the names."""
        names, rows = list(names), list(rows)
        for row in rows:
            if len(row) != len(names):
                raise ValueError(f"a table of {len(names)} columns has a row of {len(row)}: {list(row)}")
        return cls({name: [row[index] for row in rows] for index, name in enumerate(names)})

    @property
    def tuples(self) -> Iterator[tuple[Any, ...]]:
        """The rows, one after the other, as tuples."""
        return zip(*self.values(), strict=True)

    @property
    def length(self) -> int:
        """Number of rows."""
        return len(next(iter(self.values()), ()))

    def to_csv(self) -> str:
        """Return the table as CSV. Floats are rounded to six digits; None and nan are empty."""
        return csv_text(list(self), self.tuples)

    def __repr__(self) -> str:
        texts = [tuple(self), *self._shown()]
        widths = [max(len(row[column]) for row in texts) for column in range(len(self))]
        lines = ("  ".join(cell.rjust(width) for cell, width in zip(r, widths, strict=True)) for r in texts)
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self._shown()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _shown(self) -> list[tuple[str, ...]]:
        rows = [tuple(map(_shown, row)) for row in self.tuples]
        if len(rows) <= _MOST_SHOWN:
            return rows
        return [*rows[:_ENDS], ("...",) * len(self), *rows[-_ENDS:]]


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV. Floats are rounded to six digits; None and nan are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_written(value) for value in row] for row in rows)
    return text.getvalue()


def _written(value: object) -> object:
    if isinstance(value, float):
        return "" if isnan(value) else f"{value:.6g}"
    return value


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 16 else f"{text[:12]}..."
