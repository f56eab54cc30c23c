"""Results of slow tools, kept between runs of the tests and shared by the processes of one run.

A result belongs to a digest of all that it depends on: what goes into the tool, its options and its version.
The folder is ``tests`` in that of the compiled designs, ``$QCLOOP_CACHE`` or the platform's cache; it may be
deleted at any time. On a clean machine everything is made once.
"""

import json
import os
import subprocess
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from time import time
from typing import Any

from filelock import FileLock

from qcloop.files import write_atomic
from qcloop_sim.cxxrtl import cache_folder

#: Seconds after which a result that nobody asked for is deleted: a change of the gateware leaves many behind.
_UNUSED = 30 * 24 * 3600


def kept(make: Callable[[], Any], *inputs: str, worth: Callable[[Any], bool] = lambda result: True) -> Any:
    """Return what ``make`` returned for the same inputs before, or call it.

    Parameters
    ----------
    make : function
        Returns something that JSON can hold.
    inputs : str
        All that the result depends on.
    worth : function
        Says whether a result is to be kept: not one that may have come about by chance.
    """
    key = sha256(json.dumps(inputs).encode()).hexdigest()
    folder = cache_folder() / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.json"
    # Whoever else wants the same result waits for it.
    with FileLock(folder / f"{key}.lock"):
        if path.exists():
            os.utime(path)
            return json.loads(path.read_text())
        result = make()
        if worth(result):
            write_atomic(path, json.dumps(result))
            for other in folder.iterdir():
                if other.stat().st_mtime < time() - _UNUSED:
                    other.unlink(missing_ok=True)
    return result


@cache
def tool_version(*command: str) -> str:
    """Return what a tool says when it is asked for its version."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # What a YoWASP tool says on its first start, while it is compiled, goes to the standard error.
    return done.stdout
