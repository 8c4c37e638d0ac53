"""The live lab: an engine without widgets, the widgets, and the page's own code in `static/`."""

from vaekit.lab.lab import LatentLab
from vaekit.lab.tasks import Task

__all__ = ["LatentLab", "Task"]
