"""Many training runs, called points: each is run once, on the cores of a machine, a cluster or boards."""

from qcloop.callable import make_callable

# `qcloop.sweep(...)`, while the package stays what it is.
make_callable(__name__, "qcloop.experiment.sweeps", "sweep")
