"""Sheets of Excel workbooks as cells."""

import contextlib
import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from qcloop.errors import MeasurementError
from qcloop.measurements.grid import (
    COMMENTS,
    MOST_CELLS,
    MOST_EXPANDED,
    MOST_ROWS,
    Cell,
    Grid,
    Row,
    Size,
    Unclear,
    choose_table,
    first_line,
    not_used,
    shown,
)
from qcloop.measurements.numbers import DECIMALS, is_decisive, is_mark, number, unclear

#: Most XML tags. A cell has 4 of them, or 6 with a formula; each becomes an object of about 100 bytes.
_MOST_TAGS = 6 * MOST_CELLS


def read_workbook(content: bytes, path: object, sheet: str | None, decimal: str | None) -> Grid:
    """Return the cells of a sheet; ``sheet`` is needed if several sheets hold something.

    ``decimal`` is the decimal sign of numbers that were typed as text; it is recognised if not given. Chart
    sheets are passed over. A formula whose result is not stored becomes an unclear cell.

    Raises
    ------
    MeasurementError
        If the file is damaged or too large, or if there is no such sheet.
    """
    try:
        # openpyxl warns of styles and extensions that do not matter here, and prints a line at damaged ones.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            _check_parts(content, path)
            return _read_sheet(_open(content), path, sheet, decimal)
    except MeasurementError:
        raise
    except Exception as error:  # openpyxl, zipfile and zlib raise many classes for damaged files
        raise MeasurementError(
            f"{path} looks like an Excel file but cannot be read as one ({first_line(error)}): "
            "save it as .xlsx again, or as CSV"
        ) from error


def _check_parts(content: bytes, path: object) -> None:
    """Refuse a file that takes very long to read, or all memory: by its expanded size, tags and entities."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = [part for part in archive.infolist() if part.filename.endswith((".xml", ".rels"))]
        size = sum(part.file_size for part in parts)
        if size > MOST_EXPANDED:
            raise MeasurementError(
                f"{path} expands to {size >> 20} MiB: at most {MOST_EXPANDED >> 20} MiB can be read; save "
                "the table as a file of its own, or as CSV"
            )
        tags = 0
        for part in parts:
            data = archive.read(part)
            tags += data.count(b"<")
            if b"<!DOCTYPE" in data:  # no spreadsheet program writes one; its entities may expand to any size
                raise MeasurementError(
                    f"{path} has a document type in {part.filename}: save it as .xlsx again"
                )
        if tags > _MOST_TAGS:
            raise MeasurementError(
                f"{path} has more than {MOST_CELLS} cells ({tags} XML tags, at most {_MOST_TAGS} can be "
                "read): save the columns and rows that are needed as a file of their own, or as CSV"
            )


def _open(content: bytes) -> Any:
    # It takes long to import, so it is imported only if there is a file of this kind.
    from openpyxl.reader.excel import ExcelReader

    class SheetsOnly(ExcelReader):  # type: ignore[misc]
        """Reader that passes over chart sheets: openpyxl fails at one without a chart."""

        def read_chartsheet(self, sheet: object, rel: object) -> None:
            """Do nothing."""

    reader = SheetsOnly(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    reader.read()
    for page in reader.wb.worksheets:
        page.reset_dimensions()  # the stated ones may be wrong, and each row would be filled up to them
    return reader.wb


def _read_sheet(book: Any, path: object, sheet: str | None, decimal: str | None) -> Grid:
    pages = {page.title: page for page in book.worksheets}
    filled = [title for title, page in pages.items() if _is_filled(page)]
    name = choose_table(sheet, {title: f"'{shown(title)}'" for title in pages}, filled, path, "sheet")
    formulas: dict[int, dict[int, str]] = {}
    for row_number, column, text in _open_formulas(pages[name]):
        formulas.setdefault(row_number, {})[column] = text
    rows: list[Row] = []
    numbers = []
    size = Size(f"sheet '{shown(name)}' of {path}")
    for row_number, row in enumerate(_rows(pages[name], max(formulas, default=0)), 1):
        cells = _cells(row, formulas.get(row_number, {}))
        size.add(max(len(row), len(cells)))
        first = next((cell for cell in cells if cell is not None), None)
        comment = isinstance(first, str) and first.startswith(COMMENTS) and not is_mark(first)
        if cells and not comment:
            rows.append(cells)
            numbers.append(row_number)
    unused = not_used("sheet", (f"'{shown(title)}'" for title in filled if title != name))
    return Grid(f"Excel, sheet '{shown(name)}'", _with_numbers(rows, decimal), tuple(numbers), unused=unused)


def _is_filled(page: Any) -> bool:
    for count, row in enumerate(page.iter_rows(values_only=True)):
        if count > MOST_ROWS or any(value is not None for value in row):
            return True
    return next(_open_formulas(page), None) is not None


def _rows(page: Any, last: int) -> Iterator[tuple[Any, ...]]:
    """Return the values of each row, up to the last row with a value or formula."""
    count = 0
    for row in page.iter_rows(values_only=True):
        count += 1
        yield tuple(row)
    for _ in range(count, last):
        yield ()


def _open_formulas(page: Any) -> Iterator[tuple[int, int, str]]:
    """Return row, column (from 1) and text of each formula of a sheet whose result is not stored.

    A program that writes files without computing leaves none. An empty text is a result: its cell has the
    type ``str``.
    """
    from openpyxl.utils.cell import coordinate_to_tuple

    with page._get_source() as part:  # openpyxl has no public way to a formula and its stored result together
        if not re.search(rb"[<:]f[ />]", part.read()):
            return
    with page._get_source() as part:
        for _, element in ElementTree.iterparse(part):
            kind = element.tag.rpartition("}")[2]
            if kind == "c":
                children = {child.tag.rpartition("}")[2]: child.text for child in element}
                if "f" in children and not children.get("v") and element.get("t") != "str":
                    row, column = coordinate_to_tuple(element.get("r", ""))
                    yield row, column, f"={children['f'] or ''}"
            if kind in ("c", "row"):
                element.clear()


def _cells(values: tuple[Any, ...], formulas: dict[int, str]) -> Row:
    """Return the cells of a row, without the empty ones at its end."""
    cells = [_cell(value) for value in values]
    for column, text in formulas.items():
        cells += [None] * (column - len(cells))
        cells[column - 1] = Unclear(
            text,
            f"the formula '{shown(text)}' has no stored value: open the file in a spreadsheet program and "
            "save it, or paste the values over the formulas",
        )
    while cells and cells[-1] is None:
        cells.pop()
    return tuple(cells)


def _cell(value: Any) -> Cell:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None if value is None else str(value).strip()
    try:
        return float(value) if value == value else None
    except OverflowError:  # an integer of more than 308 digits
        return str(value)[:80]


def _with_numbers(rows: list[Row], decimal: str | None) -> tuple[Row, ...]:
    """Return rows in which numbers that were typed as text are numbers.

    If no decimal sign is given, other cells tell it; both are read if they do not.
    """
    if decimal is None:
        texts = [cell for row in rows for cell in row if isinstance(cell, str)]
        seen = [sign for sign in DECIMALS if any(is_decisive(text, sign) for text in texts)]
        decimal = seen[0] if len(seen) == 1 else None
    return tuple(
        tuple(
            _typed(cell, decimal) if isinstance(cell, str) and not isinstance(cell, Unclear) else cell
            for cell in row
        )
        for row in rows
    )


def _typed(text: str, decimal: str | None) -> Cell:
    if decimal is not None:
        return number(text, decimal, sure=True)
    point, comma = number(text, "."), number(text, ",")
    if isinstance(point, Unclear) or isinstance(comma, Unclear):
        return unclear(text)
    return comma if isinstance(point, str) else point
