"""The exceptions that qcloop raises for what a user can get wrong.

Every message tells what was expected, what came, and what to do. The command line prints it as one line
and exits with :attr:`QcloopError.exit_code`.
"""


class QcloopError(Exception):
    """Base of every error that a user can do something about."""

    #: Status with which the command line exits.
    exit_code = 2


class DeviceError(QcloopError):
    """A device profile is unknown, unreadable or out of range."""


class MeasurementError(QcloopError):
    """A file of measurements cannot be read as asked, or does not have what is to be fitted."""


class DataError(QcloopError):
    """A data set is missing, damaged or not what its name says."""


class ArrayError(QcloopError):
    """An operation on the array was refused; the array is unchanged."""


class ConfigError(QcloopError):
    """A setting of a run is unknown, out of range or contradicts another."""


class FileError(QcloopError):
    """A file cannot be written: the disk is full or read-only, or a folder or a right is missing."""


class RunError(QcloopError):
    """A run folder cannot be used as asked."""


class CheckpointError(RunError):
    """A checkpoint is damaged or belongs to something else."""


class DivergenceError(QcloopError):
    """Training came to a number that is not finite. The checkpoint before it is kept."""


class SweepError(QcloopError):
    """Points of a sweep are missing: they failed, or no worker was left to run them."""

    exit_code = 4


class SelfTestError(QcloopError):
    """A board does not do what it should."""

    exit_code = 1


class LinkError(QcloopError):
    """A board cannot be reached, or not any more. The checkpoint of a run is kept."""

    exit_code = 3


class ArrayResetError(LinkError):
    """The board was reset: the array has lost cells and settings, and can be configured and loaded again."""


class ClusterError(QcloopError):
    """A cluster cannot be reached, or not any more. Finished points are kept."""

    exit_code = 3
