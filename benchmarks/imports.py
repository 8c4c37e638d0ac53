"""What `import vaekit` costs beside `import torch`: processes of their own, taking turns, medians.

python benchmarks/imports.py [--rounds 15]
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("torch", "vaekit", "torchvision")


def seconds(module: str) -> float:
    """How long a fresh Python takes to start, import the module and end."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], env=environment, cwd=ROOT.parent, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Print one table; the last column is to stay at or below 1.03 for vaekit."""
    parser = argparse.ArgumentParser(description="Measure what `import vaekit` costs beside `import torch`.")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for module in MODULES:  # files into the cache: not counted
        seconds(module)
    taken = [{module: seconds(module) for module in MODULES} for _ in range(rounds)]
    print("| import | seconds | beside torch |")
    print("| --- | --- | --- |")
    for module in MODULES:
        ratio = median(turn[module] / turn["torch"] for turn in taken)
        print(f"| {module} | {median(turn[module] for turn in taken):.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
