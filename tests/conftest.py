import atexit
import os
import shutil
import tempfile

from hypothesis import settings

# Machines that run CI are slow and noisy; what takes how long is a matter for `rao-envs bench`.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

# Workers share the cores already; threads of torch on top of them only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests leave the user's cache alone. Workers inherit the folder, so that what takes long is built once.
if "RAO_ENVS_CACHE" not in os.environ:
    os.environ["RAO_ENVS_CACHE"] = tempfile.mkdtemp(prefix="rao-envs-cache-")
    atexit.register(shutil.rmtree, os.environ["RAO_ENVS_CACHE"], ignore_errors=True)
