"""What the host tests share: small settings and the real data, loaded once."""

import pytest

from qcloop.cli import main
from qcloop.data import load_dataset
from qcloop.device import builtin
from qcloop.training.settings import resolve


@pytest.fixture(scope="session")
def mnist():
    return load_dataset()


@pytest.fixture
def make_settings():
    """Return a maker of settings for a short run; options as on the command line, in Python's spelling."""

    def make(recipe=None, **given):
        small = {"images": 600, "epochs": 1, "batch": 32, "device": "A"}
        return resolve(recipe, {**small, **given})

    return make


@pytest.fixture
def profile_of():
    """Return the built-in profile that goes with settings."""
    return lambda settings: builtin(settings.device, settings.states or 32)


@pytest.fixture
def run(capsys):
    """Return a caller of the command line: (exit status, standard output, standard error)."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return call
