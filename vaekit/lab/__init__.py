"""The live lab: an engine without widgets, the widgets, and the page's own code in `static/`."""

from vaekit.lab.lab import LatentLab

__all__ = ["LatentLab"]
