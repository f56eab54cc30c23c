"""Measured conductances fitted: from a file of cycles to a device profile that trains."""

from qcloop.callable import make_callable
from qcloop.fit.equation import DEFAULT_CONFIDENCE, FITTED_READINGS, EquationFit, Parameter, fit_equation
from qcloop.fit.plot import plot_fits
from qcloop.fit.profile import Fit, profile_name, source_of, to_profile
from qcloop.fit.states import TableFit, fit_table
from qcloop.fit.variation import VariationFit, fit_variation
from qcloop.measurements.curves import Branch, Curve, branch_of, not_monotone, outliers, without_outliers
from qcloop.measurements.file import Measurements, read_measurements
from qcloop.measurements.findings import Finding, listed
from qcloop.measurements.units import MEASURED_UNITS

__all__ = [
    "DEFAULT_CONFIDENCE",
    "FITTED_READINGS",
    "MEASURED_UNITS",
    "Branch",
    "Curve",
    "EquationFit",
    "Finding",
    "Fit",
    "Measurements",
    "Parameter",
    "TableFit",
    "VariationFit",
    "branch_of",
    "fit_equation",
    "fit_table",
    "fit_variation",
    "listed",
    "not_monotone",
    "outliers",
    "plot_fits",
    "profile_name",
    "read_measurements",
    "source_of",
    "to_profile",
    "without_outliers",
]

# `qcloop.fit(...)`, while the package stays what it is.
make_callable(__name__, "qcloop.experiment.fits", "fit")
