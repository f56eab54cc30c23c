"""The command line ``qcloop``: one module a group of commands, collected in ``main``."""

from qcloop.cli.main import main

__all__ = ["main"]
