"""What a run is made of: a seed, the settings it began with, and what was turned at which step."""

from dataclasses import dataclass, field


@dataclass
class Recording:
    """The seed and settings of a run, and its events: (number of the first step it acted on, changes).

    Settings are beta, prior, lr, kind and data. The same seed, settings and events give the same weights to
    the bit, on the same machine with the same number of threads.
    """

    seed: int
    settings: dict
    events: list[tuple[int, dict]] = field(default_factory=list)

    def note(self, step: int, changes: dict) -> None:
        """Record `changes` that act from `step` on; changes before the first step are simply how it begins."""
        if step <= 1:
            self.settings.update(changes)
        elif self.events and self.events[-1][0] == step:
            self.events[-1][1].update(changes)
        else:
            self.events.append((step, dict(changes)))

    def at(self, step: int) -> dict:
        """The settings that act on step number `step`."""
        now = dict(self.settings)
        for number, changes in self.events:
            if number > step:
                break
            now.update(changes)
        return now

    def changes_at(self, step: int) -> dict:
        """What was turned just before step number `step`."""
        return next((changes for number, changes in self.events if number == step), {})

    def cut(self, step: int) -> None:
        """Forget the events that act after step number `step`."""
        self.events = [event for event in self.events if event[0] <= step]
