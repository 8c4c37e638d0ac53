"""The exercises' checks: the loss doctor names the mistake in a learner's code, and shows how it knows.

diagnose(kl=kl)                  # → Diagnosis: .ok, .faults, .effective_beta, .findings
check(kl=kl)                     # the same in words; in a notebook with buttons, and hints
check(lambda: judge(answer))     # a check of your own, with a button
"""

from vaekit.exercises.diagnosis import CODES, Diagnosis, Finding
from vaekit.exercises.doctor import Checked, check, diagnose

__all__ = ["CODES", "Checked", "Diagnosis", "Finding", "check", "diagnose"]
