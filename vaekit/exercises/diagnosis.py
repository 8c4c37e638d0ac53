"""What the loss doctor found, in the words of `words.toml`: one text for the page and the terminal."""

import re
import tomllib
from dataclasses import dataclass
from html import escape
from importlib.resources import files

WORDS = tomllib.loads(files(__package__).joinpath("words.toml").read_text(encoding="utf-8"))
CODES = tuple(WORDS)  # in the order of `Diagnosis.faults`

# No colours of its own: the page's text colour is legible in a light theme and in a dark one.
BOX = "border-left: 4px solid currentColor; padding: 0.2em 0.8em; margin: 0.3em 0;"


def as_html(text: str) -> str:
    """A verdict as HTML: its first line is bold, the others keep their indent; what is between backticks is code."""
    first, *rest = (re.sub("`([^`]+)`", r"<code>\1</code>", escape(line)) for line in text.splitlines() or [""])
    lines = [f'<div style="padding-left: {len(line) - len(line.lstrip())}ch">{line.strip()}</div>' for line in rest]
    return f'<div style="{BOX}"><b>{first}</b>{"".join(lines)}</div>'


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
        return f"{WORDS[self.code]['fact']} {self.note}".strip()

    @property
    def evidence(self) -> str:
        """Input, what came out and what should have, on one line; "" when there is nothing to show."""
        parts = {"input": self.input, "came out": self.came, "should have": self.expected}
        return "; ".join(f"{name}: {text}" for name, text in parts.items() if text)


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
        found = {finding.code for finding in self.findings}
        return tuple(code for code in CODES if code in found)

    @property
    def summary(self) -> str:
        """The verdict in a few words."""
        if self.ok:
            return f"✓ {self.exercise}: right. {self.remark}".strip()
        if self.faults == ("not_started",):
            return f"○ {self.exercise}: not started yet."
        count = len(self.findings)
        return f"✗ {self.exercise}: {count} mistake{'s' if count > 1 else ''} found."

    def text(self, hints: int = 0) -> str:
        """The summary, each mistake with its evidence, and so many hints for each; a line for each of them."""
        lines = [self.summary]
        for finding in self.findings if self.faults != ("not_started",) else ():
            lines.append(f"  {finding.code}: {finding.words}")
            if finding.evidence and f"    {finding.evidence}" not in lines:
                lines.append(f"    {finding.evidence}")
        if self.effective_beta is not None and abs(self.effective_beta - 1) > 1e-3:
            meant = "where β = 1 was meant (5 images of 28 × 28 pixels, 3 latents)."
            lines.append(f"  Effective β: {self.effective_beta:.4g} {meant}")
        return "\n".join(lines + [f"  Hint: {hint}" for code in self.faults for hint in WORDS[code]["hints"][:hints]])

    def __repr__(self) -> str:
        return f"Diagnosis({self.exercise}: {', '.join(self.faults) or 'ok'})"

    def _repr_html_(self) -> str:
        return as_html(self.text())
