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
faults_of_a_step()
print(faults_of_a_step())
"""


def faults(*, keeps: bool) -> int:
    """Pages that a fresh process had to ask the system for when it took 64 MiB for the second time."""
    script = FAULTS.format(keeps=keeps)
    return int(subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives large blocks back at once")
def test_a_second_step_finds_the_memory_of_the_first() -> None:
    assert 4 * faults(keeps=True) < faults(keeps=False)  # few even then where pages are huge


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("looked for mallopt"))
    keep_freed()
