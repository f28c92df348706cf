from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource, torch
from proxies.allocator import keep_freed_memory

def page_faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(2**24) + torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

default = page_faults(5)
keep_freed_memory()
page_faults(15)
print(default, page_faults(5))
"""


def test_memory_freed_is_used_again_without_page_faults() -> None:
    """Five rounds of three tensors of 64 MB, which are 16384 pages each."""
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    default, kept = (int(count) for count in answer.stdout.split())
    assert default > 5 * 3 * 16384 / 2
    assert kept < 100
