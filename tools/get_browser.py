"""Get a browser for the tests where there is none: Debian's, or Playwright's own.

    python tools/get_browser.py

Ends well in any case: the tests themselves say what they have to do without.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser.jupyter import find_chromium  # noqa: E402

APT_GET = "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y chromium"


def ways() -> list[str]:
    """The commands that may bring a browser, the surest first."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    playwright = f"'{sys.executable}' -m playwright install chromium"
    return [APT_GET, playwright] if is_root and shutil.which("apt-get") else [playwright]


def main() -> None:
    if find_chromium():
        return
    for command in ways():
        print(f"vaekit: no browser for the tests; getting one: {command}", flush=True)
        subprocess.run(command, shell=True, stdin=subprocess.DEVNULL)
        if path := find_chromium():
            print(f"vaekit: the tests will drive {path}")
            return
    print("vaekit: no browser could be had")


if __name__ == "__main__":
    main()
