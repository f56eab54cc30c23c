"""The test that a board gets before it is trusted: every answer beside the golden model's."""

from qcloop.selftest.bench import Findings
from qcloop.selftest.run import CHECKS, Check, CheckVerdict, Result, run_checks

__all__ = ["CHECKS", "Check", "CheckVerdict", "Findings", "Result", "run_checks"]
