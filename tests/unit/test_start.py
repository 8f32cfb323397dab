"""What starts without what: the dream without ray, boto3, yaml and pillow-heif, the help without torch."""

from __future__ import annotations

import subprocess
import sys

from typer.main import get_command

from dreamjobs.cli.app import app

_DREAM_ALONE = """
import sys

for name in ("ray", "boto3", "botocore", "pyarrow", "typer", "rich", "moto", "yaml", "pillow_heif"):
    sys.modules[name] = None

import numpy
import torch
import dreamjobs
import dreamjobs.errors, dreamjobs.params, dreamjobs.grid, dreamjobs.tiles, dreamjobs.images, dreamjobs.nets
import dreamjobs.objectives, dreamjobs.gradients, dreamjobs.octaves

from dreamjobs.errors import ImageError

torch.set_num_threads(1)
blank = dreamjobs.images.Photo(numpy.full((20, 30, 3), 0.5, numpy.float32), None, None, "jpeg")
jpeg = dreamjobs.images.encode(blank, format="jpeg", quality=95, recipe={})
photo = dreamjobs.images.decode(jpeg)
params = dreamjobs.DreamParams(net="tiny", weights="random", objective="things", octaves=2, steps=1)
picture = torch.from_numpy(photo.pixels).permute(2, 0, 1)[None]
made = dreamjobs.dream(picture, dreamjobs.load_net("tiny", "random"), params)
print(tuple(made.picture.shape))
for heic in (
    lambda: dreamjobs.images.decode(b"\\0\\0\\0\\x18ftypheic" + bytes(100)),
    lambda: dreamjobs.images.encode(blank, format="heic", quality=95, recipe={}),
):
    try:
        heic()
    except ImageError as error:
        print(error)
"""

_HELP = """
import sys

from dreamjobs.cli import main

sys.argv = ["dreamjobs", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
import gc

print("collects after", gc.get_threshold()[0])
heavy = {"torch", "torchvision", "ray", "pyarrow", "boto3", "numpy", "PIL"} & set(sys.modules)
print("heavy:", sorted(heavy))
"""


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_dream_needs_few_packages() -> None:
    """Without ray, boto3, pyarrow, typer, yaml and pillow-heif a JPEG is dreamed, and HEIC says what it needs."""
    heic = "HEIC takes the package pillow-heif, which is not installed: `pip install pillow-heif`\n"
    assert run_python(_DREAM_ALONE) == "(1, 3, 20, 30)\n" + heic * 2


def test_help_imports_nothing_heavy() -> None:
    """`dreamjobs --help` imports neither torch nor ray nor pyarrow, so that it comes at once."""
    out = run_python(_HELP)
    assert out.endswith("heavy: []\n")
    assert "manifest" in out


def test_garbage_is_collected_seldom_by_the_program_alone() -> None:
    """The command line has Python look for cycles seldom; a program that imports the package decides for itself."""
    assert "collects after 50000\n" in run_python(_HELP)
    assert (
        run_python("import gc; before = gc.get_threshold(); import dreamjobs; print(gc.get_threshold() == before)")
        == "True\n"
    )


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
