"""One thread a process: two test workers share two cores, and threads that wait for each other there wait long."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
