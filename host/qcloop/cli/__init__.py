"""The command line ``qcloop``: a module for each group of commands; ``main`` collects them."""

from qcloop.cli.main import main

__all__ = ["main"]
