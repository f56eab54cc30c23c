"""Tables in text files: encoding, comments, delimiter and decimal sign."""

import csv
import re
from collections.abc import Iterator

from qcloop.errors import MeasurementError
from qcloop.measurements.grid import COMMENTS, MOST_ROWS, Grid, Row, Size
from qcloop.measurements.numbers import (
    DECIMALS,
    is_decisive,
    is_mark,
    is_one_group,
    number,
    unclear,
)

#: Delimiters in order of preference. None stands for any run of blanks.
_DELIMITERS = ("\t", ";", "|", ",", None)
_DELIMITER_NAMES = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", None: "blanks"}
_DECIMAL_NAMES = {".": "decimal points", ",": "decimal commas"}
#: Blanks that separate cells. A blank before a unit in brackets does not: ``G (uS)`` is one cell. A blank
#: that does not break, U+00A0, separates thousands.
_BLANKS = re.compile(r"[ \t\f\v]+(?![(\[{])")
#: A first line by which spreadsheet programs state the delimiter.
_STATED = re.compile(r"\"?sep=(.)\"?", re.IGNORECASE)
#: The delimiter is chosen by this many lines, as far as they have this many characters.
_SNIFFED, _SNIFFED_LENGTH = 200, 200_000
#: Longest line: 16,384 columns of 16 characters. All ways to divide it are tried, which takes seconds.
_LONGEST_LINE = 1 << 18
#: A quoted cell that does not end in its line.
_OPEN_QUOTE = re.compile(r'(?:^|[,;\t|])\s*"[^"]*$')
#: Most line breaks in a quoted cell.
_MOST_BREAKS = 5


def read_text(content: bytes, path: object, delimiter: str | None, decimal: str | None) -> Grid:
    """Return the cells of a text file; the delimiter and the decimal sign are recognised if not given.

    Raises
    ------
    MeasurementError
        If the content is no text, or the table is too large.
    """
    _check_option("delimiter", delimiter, (*(text for text in _DELIMITERS if text), " "))
    _check_option("decimal", decimal, DECIMALS)
    lines, comments, stated = _lines(_decode(content, path), path)
    delimiter = stated if delimiter is None and stated in _DELIMITERS else delimiter
    delimiters = _DELIMITERS if delimiter is None else (None if delimiter == " " else delimiter,)
    decimals = DECIMALS if decimal is None else (decimal,)
    chosen = _sniff(_sample(lines), delimiters, decimals)
    size = Size(str(path))
    texts = []
    for _, line in lines:
        texts.append(_split(line, chosen[0]))
        size.add(len(texts[-1]))
    rows = _cells(texts, chosen, decimal is not None)
    width = max((len(row) for row in rows), default=0)
    if chosen[0] is None:
        _check_blanks(rows, lines, path)
    heading: Row = ()
    if lines and (before := [text for number, text in comments if number < lines[0][0]]):
        cells = tuple(number(text, chosen[1]) for text in _split(before[-1], chosen[0]))
        heading = cells if len(cells) == width else ()
    kind = f"text, cells parted by {_DELIMITER_NAMES[chosen[0]]}" if width > 1 else "text, one column"
    kind += f", {_DECIMAL_NAMES[chosen[1]]}"
    if comments:
        kind += f", {len(comments)} comment line" + ("s" if len(comments) > 1 else "")
    return Grid(kind, rows, tuple(number for number, _ in lines), heading)


def _check_option(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        spelled = ", ".join(repr(choice) for choice in choices)
        raise MeasurementError(f"--{name} must be one of {spelled}, not {value!r}")


def _decode(content: bytes, path: object) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise MeasurementError(
            f"{path} is neither text nor an Excel or MATLAB file (byte 0 at {content.index(0)}): "
            "save it as CSV, TSV, XLSX or MAT"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:  # CSV from a spreadsheet on Windows, whose code page has µ and Ω
        return content.decode("cp1252", errors="replace")


def _lines(text: str, path: object) -> tuple[list[tuple[int, str]], list[tuple[int, str]], str | None]:
    """Return the numbered lines, the numbered comments, and the delimiter that the first line states."""
    ends = text.count("\n") + text.count("\r")
    if ends > 2 * MOST_ROWS:
        raise MeasurementError(f"{path} has more than {MOST_ROWS} rows: divide it, or delete rows")
    lines: list[tuple[int, str]] = []
    comments: list[tuple[int, str]] = []
    stated = None
    for number_, line in _whole_lines(re.split(r"\r\n|\n|\r", text)):
        if len(line) > _LONGEST_LINE:
            raise MeasurementError(
                f"row {number_} of {path} has {len(line)} characters: at most {_LONGEST_LINE} can be read"
            )
        shown = line.strip(" \r")
        if number_ == 1 and (found := _STATED.fullmatch(shown)):
            stated = found[1]
        elif shown.startswith(COMMENTS) and not is_mark(re.split(r"[\t;|,]", shown, maxsplit=1)[0]):
            comments.append((number_, shown.lstrip("".join(COMMENTS)).strip()))
        elif shown.strip():
            lines.append((number_, shown))
    return lines, comments, stated


def _whole_lines(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Return the lines with their numbers; one that ends within a quoted cell goes on with the next ones."""
    index = 0
    while index < len(lines):
        line, number_ = lines[index], index + 1
        index += 1
        if _OPEN_QUOTE.search(line):  # a heading such as "G<line break>(uS)"
            for more in range(index, min(index + _MOST_BREAKS, len(lines))):
                if lines[more].count('"') % 2:
                    line, index = " ".join(lines[number_ - 1 : more + 1]), more + 1
                    break
        yield number_, line


def _sample(lines: list[tuple[int, str]]) -> list[str]:
    """Return the first lines, by which the delimiter is chosen: at least two."""
    sample: list[str] = []
    length = 0
    for _, line in lines[:_SNIFFED]:
        length += len(line)
        if length > _SNIFFED_LENGTH and len(sample) > 1:
            break
        sample.append(line)
    return sample


def _sniff(
    sample: list[str], delimiters: tuple[str | None, ...], decimals: tuple[str, ...]
) -> tuple[str | None, str]:
    """Return the delimiter and decimal sign with which most cells are numbers and the lines are alike.

    If several are equally good, the first delimiter that separates anything is taken, and the decimal point
    before the decimal comma.
    """

    def score(choice: tuple[str | None, str]) -> tuple[float, bool, bool, float]:
        rows = [_split(line, choice[0]) for line in sample]
        cells = [number(text, choice[1]) for row in rows[1:] or rows for text in row]
        readable = sum(not isinstance(cell, str) for cell in cells) / max(1, len(cells))
        widths = [len(row) for row in rows]
        usual = max(widths, key=widths.count, default=0)
        heading_suits = usual in _heading_widths(rows, choice[1])
        return round(readable, 2), heading_suits, usual > 1, widths.count(usual) / max(1, len(rows))

    # Of equal scores `max` returns the first.
    return max(((delimiter, sign) for delimiter in delimiters for sign in decimals), key=score)


def _heading_widths(rows: list[list[str]], decimal: str) -> set[int]:
    """Return how many cells the rows of words have that stand above numbers, or the first row."""
    figures = [any(isinstance(number(text, decimal), float) for text in row) for row in rows]
    last = max((index for index, has in enumerate(figures) if has), default=0)
    return {len(row) for row, has in zip(rows[:last], figures, strict=False) if not has} or {
        len(row) for row in rows[:1]
    }


def _split(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return _BLANKS.split(line.strip())
    try:
        return [text.strip() for text in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
    except csv.Error:  # the csv module refuses cells of more than 128 KiB
        return line.split(delimiter)


def _cells(texts: list[list[str]], chosen: tuple[str | None, str], given: bool) -> tuple[Row, ...]:
    """Return the texts as cells. Where nothing tells a decimal sign from a separator, the cell is unclear."""
    delimiter, decimal = chosen
    rows = [[number(text, decimal, sure=given) for text in row] for row in texts]
    certain = given or delimiter == "," or any(is_decisive(text, decimal) for row in texts for text in row)
    if not certain:
        doubtful = _doubtful_columns(texts, decimal)
        for written, row in zip(texts, rows, strict=True):
            for column in doubtful:
                if column < len(row) and is_one_group(written[column]):
                    row[column] = unclear(written[column])
    return tuple(tuple(row) for row in rows)


def _doubtful_columns(texts: list[list[str]], decimal: str) -> set[int]:
    """Return the columns that mix whole numbers with some that may have decimals or separated thousands.

    So it is with ``1.242`` and ``942``: with a fixed number of decimals the second would be ``942.000``.
    """
    groups, wholes = set(), set()
    for row in texts:
        for column, text in enumerate(row):
            if text.isdecimal():
                wholes.add(column)
            elif decimal in text and is_one_group(text):
                groups.add(column)
    return groups & wholes


def _check_blanks(rows: tuple[Row, ...], lines: list[tuple[int, str]], path: object) -> None:
    """Refuse a heading whose words would be taken as more cells than there are columns."""
    widest = max((len(row) for row in rows[1:]), default=0)
    if len(rows) > 1 and len(rows[0]) > widest and any(isinstance(cell, float) for cell in rows[1]):
        raise MeasurementError(
            f"row {lines[0][0]} of {path} has {len(rows[0])} cells parted by blanks, but no other row has so "
            "many: write each heading as one word, or part the cells by commas, semicolons or tabs"
        )
