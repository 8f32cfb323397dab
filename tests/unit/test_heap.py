"""Memory that a step frees is there for the next one."""

import platform
import subprocess
import sys

import pytest

from dreamjobs.heap import keep_freed

FAULTS = """
import resource, torch
from dreamjobs.heap import keep_freed

def faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64 * 2**20 // 4).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {keeps}:
    keep_freed()
print(sum(faults_of_a_step() for _ in range(20)))
"""


def faults(*, keeps: bool) -> int:
    """Pages that a fresh process asks the system for when it takes and frees 64 MiB twenty times."""
    script = FAULTS.format(keeps=keeps)
    return int(subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives large blocks back at once")
def test_steps_find_the_memory_of_those_before() -> None:
    assert 2 * faults(keeps=True) < faults(keeps=False)  # the first few blocks leave gaps that are just too small


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("looked for mallopt"))
    keep_freed()
