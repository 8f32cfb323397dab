"""What starts without what: the dream without ray and boto3, the help without torch."""

from __future__ import annotations

import subprocess
import sys

from typer.main import get_command

from dreamjobs.cli.app import app

_DREAM_ALONE = """
import sys

for name in ("ray", "boto3", "botocore", "pyarrow", "typer", "rich", "moto"):
    sys.modules[name] = None

import torch
import dreamjobs
import dreamjobs.errors, dreamjobs.params, dreamjobs.grid, dreamjobs.tiles, dreamjobs.images, dreamjobs.nets
import dreamjobs.objectives, dreamjobs.gradients, dreamjobs.octaves

torch.set_num_threads(1)
params = dreamjobs.DreamParams(net="tiny", objective="things", octaves=2, steps=1)
made = dreamjobs.dream(torch.rand(1, 3, 20, 30), dreamjobs.load_net("tiny"), params)
print(tuple(made.picture.shape))
"""

_HELP = """
import sys

from dreamjobs.cli import main

sys.argv = ["dreamjobs", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "torchvision", "ray", "pyarrow", "boto3", "numpy", "PIL"} & set(sys.modules)
print("heavy:", sorted(heavy))
"""


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_dream_needs_neither_ray_nor_boto3() -> None:
    """With ray, boto3, pyarrow and typer made unimportable, a picture is dreamed."""
    assert run_python(_DREAM_ALONE) == "(1, 3, 20, 30)\n"


def test_help_imports_nothing_heavy() -> None:
    """`dreamjobs --help` imports neither torch nor ray nor pyarrow, so that it comes at once."""
    out = run_python(_HELP)
    assert out.endswith("heavy: []\n")
    assert "manifest" in out


def test_every_command_and_option_has_help() -> None:
    """Each command has a line of help and an example, each of its options and arguments a help text."""
    group = get_command(app)
    commands = group.commands  # type: ignore[attr-defined]
    expected = {"manifest", "run", "dream", "layers", "status", "verify", "reproduce", "demo", "gallery"}
    assert expected <= set(commands)
    for name, command in commands.items():
        assert command.help, name
        assert "Example" in command.epilog, name
        for parameter in command.params:
            assert getattr(parameter, "help", None), (name, parameter.name)
