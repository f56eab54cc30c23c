"""Findings: what is odd about measurements, with one line for each."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that was left out, or that the user may want to look at."""

    #: What kind of trouble, such as ``negative`` or ``outlier``.
    kind: str
    #: What it is, where it is, and what was done about it.
    text: str
    #: Row and column of the file, from 1; None for a finding that concerns no single cell.
    row: int | None = None
    column: int | None = None


def listed(findings: Iterable[Finding], most: int | None = 10) -> list[str]:
    """Return findings as lines, kind by kind, at most ``most`` of a kind and then how many more."""
    kinds: dict[str, list[str]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding.text)
    lines = []
    for kind, texts in kinds.items():
        shown = texts if most is None else texts[:most]
        lines.append(f"{kind}: {len(texts)}")
        lines += [f"  {text}" for text in shown]
        if len(shown) < len(texts):
            lines.append(f"  ... and {len(texts) - len(shown)} more")
    return lines
