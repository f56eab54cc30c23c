"""The test that a board gets before it is trusted: every answer beside the golden model's."""

from qcloop.selftest.bench import Findings
from qcloop.selftest.run import CHECKS, Check, Result, Verdict, run_checks

__all__ = ["CHECKS", "Check", "Findings", "Result", "Verdict", "run_checks"]
