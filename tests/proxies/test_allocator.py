from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource, torch
from proxies.allocator import keep_freed_memory
keep_freed_memory()
torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_memory_freed_is_used_again_without_page_faults() -> None:
    """64 MB have 16384 pages, which are otherwise faulted in again each time."""
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(answer.stdout) < 16384
