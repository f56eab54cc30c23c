"""The command line ``qcloop``: a module for each group of commands; ``main`` knows them all and loads one."""

import sys

try:
    from qcloop.cli import interrupts

    interrupts.end_at_once()  # while this is imported, too
    try:
        from qcloop.cli.main import main
    finally:
        interrupts.raise_again()
except KeyboardInterrupt:  # in the first instants, before there was a handler
    print("qcloop: error: interrupted", file=sys.stderr)
    sys.exit(130)

__all__ = ["main"]
