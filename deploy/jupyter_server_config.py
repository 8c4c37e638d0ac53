"""How a learner's server starts, on any hub and on Binder. README.md says where this file goes."""

import os
import subprocess
import sys
from pathlib import Path

c = get_config()  # noqa: F821

# The learner's copy of the lectures, renewed where it is untouched. In a process of its own: the server needs no torch.
subprocess.run([sys.executable, "-m", "vaekit", "copies", Path.home() / "vaekit-lectures"], check=False)

# What their kernels find in the environment. The digits, when they are installed for all:
if Path("/opt/vaekit/data").is_dir():
    os.environ.setdefault("VAEKIT_DATA", "/opt/vaekit/data")
# Each learner's answers in a folder with their name, to be collected:
learner = os.environ.get("JUPYTERHUB_USER", "learner")
os.environ.setdefault("VAEKIT_ANSWERS", str(Path.home() / "vaekit-answers" / learner))
# And one thread for each lab: where many labs share the cores, more threads would mostly wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# An hour after the last sign of life a kernel ends, though its tab may still be open, and then the server.
c.MappingKernelManager.cull_idle_timeout = 3600
c.MappingKernelManager.cull_interval = 300
c.MappingKernelManager.cull_connected = True
c.ServerApp.shutdown_no_activity_timeout = 3600
