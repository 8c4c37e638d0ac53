"""What the loss doctor found: codes, evidence, and how they are shown."""

import re
from dataclasses import dataclass
from html import escape

from vaekit.exercises.words import CODES, FACTS

# No colours of its own: the page's text colour is legible in a light theme and in a dark one.
BOX = "border-left: 4px solid currentColor; padding: 0.2em 0.8em; margin: 0.3em 0;"


def as_html(words: str) -> str:
    """Words as HTML: what stands between backticks is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(words))


@dataclass(frozen=True)
class Finding:
    """One mistake and its evidence, in words: the input, what came out, what should have; a note where there is one."""

    code: str
    input: str = ""
    came: str = ""
    expected: str = ""
    note: str = ""

    @property
    def words(self) -> str:
        """The mistake in one or two sentences."""
        return f"{FACTS[self.code]} {self.note}".strip()

    @property
    def evidence(self) -> str:
        """Input, what came out and what should have, on one line; "" when there is nothing to show."""
        parts = [("input", self.input), ("came out", self.came), ("should have", self.expected)]
        return "; ".join(f"{name}: {text}" for name, text in parts if text)


@dataclass(frozen=True)
class Diagnosis:
    """The loss doctor's verdict on one exercise.

    findings: one `Finding` a mistake. effective_beta: what the KL is weighed by beside the reconstruction when
    you ask for β = 1; at the probe's sizes: 5 images of 28 × 28, 3 latents. None where that makes no sense.
    remark: what else is to be said of a right answer.
    """

    exercise: str
    findings: tuple[Finding, ...] = ()
    effective_beta: float | None = None
    remark: str = ""

    @property
    def ok(self) -> bool:
        """No mistake found."""
        return not self.findings

    @property
    def faults(self) -> tuple[str, ...]:
        """The codes of the mistakes, each once, in the order of `vaekit.exercises.CODES`."""
        return tuple(code for code in CODES if any(finding.code == code for finding in self.findings))

    @property
    def evidence(self) -> tuple[str, ...]:
        """Each finding's evidence, "" where it repeats the one before."""
        said = [finding.evidence for finding in self.findings]
        return tuple(now if now != before else "" for before, now in zip(["", *said], said, strict=False))

    @property
    def summary(self) -> str:
        """The verdict in a few words."""
        if self.ok:
            return f"✓ {self.exercise}: right. {self.remark}".strip()
        if self.faults == ("not_started",):
            return f"○ {self.exercise}: not started yet."
        count = len(self.findings)
        return f"✗ {self.exercise}: {count} mistake{'s' if count > 1 else ''} found."

    def __repr__(self) -> str:
        return f"Diagnosis({self.exercise}: {', '.join(self.faults) or 'ok'})"

    def _repr_html_(self) -> str:
        items = "".join(
            f"<li>{as_html(finding.words)} <code>{escape(finding.code)}</code>"
            f"{f'<br><small>{escape(evidence)}</small>' if evidence else ''}</li>"
            for finding, evidence in zip(self.findings, self.evidence, strict=True)
        )
        beta = f"<p>{escape(self.beta_words)}</p>" if self.beta_words else ""
        return f'<div style="{BOX}"><b>{escape(self.summary)}</b>{f"<ul>{items}</ul>" if items else ""}{beta}</div>'

    @property
    def beta_words(self) -> str:
        """The effective β in words; "" when there is none, or it is 1."""
        if self.effective_beta is None or abs(self.effective_beta - 1) < 1e-3:
            return ""
        return f"Effective β: {self.effective_beta:.4g} where β = 1 was meant (5 images of 28 × 28 pixels, 3 latents)."
