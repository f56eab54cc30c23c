"""Packages that can be called: ``qcloop.fit(...)`` beside ``from qcloop.fit import fit_table``."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def make_callable(package: str, home: str, name: str) -> None:
    """Let a package be called like a function of another module, which is loaded at the first call.

    Parameters
    ----------
    package : str
        Name of the package, which is being imported.
    home, name : str
        Module and name of the function.
    """

    class CallablePackage(ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return getattr(import_module(home), name)(*args, **kwargs)

        @property
        def __signature__(self) -> Any:
            from inspect import signature

            return signature(getattr(import_module(home), name))

    sys.modules[package].__class__ = CallablePackage
