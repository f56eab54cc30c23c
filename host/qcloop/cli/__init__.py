"""The command line ``qcloop``: a module for each group of commands; ``main`` knows them all and loads one."""

from qcloop.cli import interrupts

interrupts.end_at_once()  # while this is imported, too
try:
    from qcloop.cli.main import main
finally:
    interrupts.raise_again()

__all__ = ["main"]
