"""The self-test of a board: every answer is compared with the golden model's."""

from qcloop.selftest.bench import Findings
from qcloop.selftest.run import CHECKS, Check, CheckVerdict, Result, run_checks

__all__ = ["CHECKS", "Check", "CheckVerdict", "Findings", "Result", "run_checks"]
