"""Nets: names, weights, readers, and what a layer sees."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from dreamjobs.errors import NetError
from dreamjobs.nets import Net, Weights, fetch_weights, known_nets, load_net
from dreamjobs.nets.load import build, preprocessing
from dreamjobs.nets.net import Precision
from dreamjobs.octaves import dream
from dreamjobs.params import DEFAULT_OBJECTIVE, make_params

pytestmark = pytest.mark.usefixtures("one_thread")


class Stack(nn.Module):
    """Windows of every kind: dilated, even, unpadded, overlapping, ceil-mode, unequal along y and x."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 4, (3, 5), padding=(2, 4), dilation=2)
        self.even = nn.Conv2d(4, 4, 4, stride=(2, 1), padding=1)
        self.peak = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.branch_a = nn.Conv2d(4, 2, 1)
        self.branch_b = nn.Conv2d(4, 2, (5, 3), padding=(2, 1))
        self.flat = nn.AvgPool2d(2, ceil_mode=True)
        self.valid = nn.Conv2d(4, 3, 3, stride=2)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.peak(self.even(self.wide(x)))
        x = self.flat(torch.cat([self.branch_a(x), self.branch_b(x)], 1))
        return self.head(self.valid(x).mean((2, 3)))


class Attentive(nn.Module):
    """A squeeze-excitation gate, behind which every position sees the whole picture."""

    mean, std = (0.0, 0.0, 0.0), (1.0, 0.5, 0.25)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.gate = torchvision.ops.SqueezeExcitation(4, 2)
        self.auxiliary = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.auxiliary(self.gate(self.conv(x)))


class Tied(nn.Module):
    """Its normalisation is tensors, two convolutions share their weights, and making it reads a value."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.std = torch.zeros(1, 3, 1, 1), torch.tensor([1.0, 0.5, 0.25])
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.again = nn.Conv2d(3, 3, 3, padding=1)
        self.again.weight = self.conv.weight
        self.gain = float(self.std.sum())

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.conv(x)) * self.gain


class NamedParts(nn.Module):
    """Its parts are called as the attributes of its normalisation might be."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.AvgPool2d(2)
        self.std = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.std(self.mean(x))


def broken() -> nn.Module:
    """Code of one's own that fails."""
    raise ZeroDivisionError("no luck")


class InPlace(nn.Module):
    """Steps that overwrite what the step before made."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        y = self.second(x)
        y += x
        return y.mul_(2.0)


class ChannelsLast(nn.Module):
    """Maps (N, rows, columns, channels), one of them overwritten, one that sees all; at last one with x before y."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 5, 4, stride=4)
        self.norm = nn.LayerNorm(5)
        self.dense = nn.Linear(5, 6)
        self.relu = nn.ReLU(inplace=True)
        self.all = nn.Identity()
        self.sideways = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.dense(self.norm(self.patches(x).permute(0, 2, 3, 1))))
        x = self.all(x - x.mean((1, 2), keepdim=True))
        return self.sideways(x.permute(0, 3, 2, 1))


def not_a_net() -> int:
    return 3


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height * 1000 + width))


def plain(net: str, layers: tuple[str, ...], pixels: Tensor, weights: Weights) -> dict[str, Tensor]:
    """Activations of the module as it is, unfolded, by hooks that copy."""
    module = build(net, weights)
    found: dict[str, Tensor] = {}
    for name in layers:
        module.get_submodule(name).register_forward_hook(
            lambda _module, _input, out, name=name: found.__setitem__(name, out.clone())
        )
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in preprocessing(module))
    with torch.no_grad():
        module((pixels - mean) / std)
    return found


def assert_reads_as_plain(net: str, layers: tuple[str, ...], weights: Weights, pixels: Tensor) -> None:
    found = Net(net, weights).reader(layers)(pixels)
    expected = plain(net, layers, pixels, weights)
    assert list(found) == list(layers)
    for name in layers:
        assert expected[name].abs().max() > 0
        assert (found[name] - expected[name]).abs().max() <= 1e-4 * expected[name].abs().max(), name


def resnet18_weights() -> Weights:
    """Random weights, and batch norms that are far from doing nothing."""
    state = safetensors.torch.load(fetch_weights("resnet18", "random").data)
    generator = torch.Generator().manual_seed(7)
    for name, value in state.items():
        if name.endswith(("running_mean", "bias")):
            value.normal_(generator=generator)
        elif name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            value.uniform_(0.5, 3.0, generator=generator)
    return Weights.of(safetensors.torch.save(state))


def test_folding_and_channels_last_keep_the_activations() -> None:
    """A folded reader gives the plain module's activations to 1e-4, where batch norms do a great deal."""
    layers = ("conv1", "bn1", "layer1.0.bn2", "layer1", "layer2.0.conv2", "layer3.0")
    assert_reads_as_plain("resnet18", layers, resnet18_weights(), picture(66, 49))


def test_one_reader_does_not_disturb_the_next() -> None:
    """Readers made after one another from one net each read what the plain module gives."""
    weights = resnet18_weights()
    net = Net("resnet18", weights)
    pixels = picture(50, 50)
    expected = plain("resnet18", ("bn1", "layer1", "layer2"), pixels, weights)
    for layers in (("layer1",), ("layer2", "bn1"), ("bn1",), ("layer1", "layer2")):
        for name, value in net.reader(layers)(pixels).items():
            assert (value - expected[name]).abs().max() <= 1e-4 * expected[name].abs().max()


@pytest.mark.parametrize("layers", [("first",), ("first", "second"), ("relu", "second"), ("first", "relu")])
def test_in_place_steps_do_not_overwrite_what_is_read(layers: tuple[str, ...]) -> None:
    """A layer read together with a deeper one has its own activations, not those of the step behind it."""
    own = f"{__name__}:InPlace"
    assert_reads_as_plain(own, layers, fetch_weights(own, "random"), picture(20, 20))


def test_the_gradient_passes_a_layer_read_before_an_in_place_step() -> None:
    """The gradient of a shallow and a deep layer together is the sum of theirs apart."""
    reader = load_net("squeezenet1_0", "random").reader(("features.0", "features.3"))
    pixels = picture(40, 40).requires_grad_()
    found = [reader(pixels)[name].square().sum() for name in ("features.0", "features.3")]
    alone = load_net("squeezenet1_0", "random")
    apart = [alone.reader((name,))(pixels)[name].square().sum() for name in ("features.0", "features.3")]
    both = torch.autograd.grad(found[0], pixels)[0] + torch.autograd.grad(found[1], pixels)[0]
    summed = torch.autograd.grad(apart[0] + apart[1], pixels)[0]
    assert torch.allclose(both, summed, rtol=1e-4, atol=1e-4 * summed.abs().max().item())


def test_a_reader_goes_no_deeper_than_its_layer() -> None:
    """Parameters and steps behind the deepest layer are not in the reader."""
    net = load_net("tiny")
    sizes = {
        name: sum(1 for _ in net.reader((name,))._halves.trunk.parameters()) for name in ("edges", "parts", "things")
    }
    assert sizes == {"edges": 2, "parts": 4, "things": 6}
    steps = [node.target for node in net.reader(("edges",))._halves.trunk.graph.nodes if node.op == "call_module"]
    assert steps == ["edges.0", "edges.1"]


@pytest.mark.parametrize(("name", "layer"), [("dreamnet", "mix8c"), ("googlenet", "inception3b")])
def test_on_one_thread_a_net_leaves_no_convolution_to_slower_code(name: str, layer: str) -> None:
    """Forward and back, oneDNN computes all of them; PyTorch by itself would take 1 x 1 ones elsewhere."""
    reader = load_net(name, "default" if name == "dreamnet" else "random").reader((layer,))
    pixels = picture(384, 384).requires_grad_()  # over maps of fewer numbers PyTorch by itself is quicker
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        torch.autograd.grad(reader(pixels)[layer].square().sum(), pixels)
    called = {event.name for event in profiler.events()}
    assert "aten::mkldnn_convolution" in called
    assert not any("slow_conv" in each for each in called)


def test_readers_are_frozen_and_kept() -> None:
    """Weights ask for no gradient, a reader asked for twice is the same, and only the last few are kept."""
    net = load_net("tiny")
    reader = net.reader(("things",))
    assert net.reader(("things",)) is reader
    assert not any(parameter.requires_grad for parameter in reader._halves.trunk.parameters())
    assert not any(module.training for module in reader._halves.trunk.modules())


def test_dreams_leave_nothing_on_the_net() -> None:
    """Twenty dreams in a row leave no hook on any module, nor change a weight."""
    net = load_net("tiny")
    before = {name: value.clone() for name, value in net._module.state_dict().items()}
    for number in range(20):
        layer = ("edges", "parts", "things", "pool")[number % 4]
        values = {"net": "tiny", "objective": f"{layer}:{number % 8} + things", "octaves": 1, "steps": 1}
        dream(picture(20, 20), net, make_params(values))
    modules = [*net._module.modules(), *net.reader(("things",))._halves.trunk.modules()]
    assert not any(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks for module in modules)
    assert all(torch.equal(value, before[name]) for name, value in net._module.state_dict().items())


def test_layer_names_and_infos_of_the_tiny_net() -> None:
    """The layers that are maps come in order, with channels, stride and what a position sees."""
    infos = {info.name: info for info in load_net("tiny").layers()}
    assert [name for name in infos if "." not in name] == ["edges", "parts", "pool", "things"]
    assert [(infos[name].channels, infos[name].stride) for name in ("edges", "parts", "pool", "things")] == [
        (8, 1),
        (12, 2),
        (12, 4),
        (16, 4),
    ]
    assert [name for name in infos if name.startswith("parts")] == ["parts", "parts.0", "parts.1", "parts.2"]
    assert [infos[name].field.y.size for name in ("edges", "edges.0", "parts", "pool", "things")] == [3, 3, 5, 9, 17]


def test_a_module_stands_for_its_last_node() -> None:
    """The name of a block reads the same as the name of its last step."""
    found = load_net("googlenet", "random").reader(("inception3a", "inception3a.cat"))(picture(40, 40))
    assert torch.equal(found["inception3a"], found["inception3a.cat"])
    tiny = load_net("tiny").reader(("parts", "parts.2", "parts.1"))(picture(20, 20))
    assert list(tiny) == ["parts", "parts.2", "parts.1"]
    assert torch.equal(tiny["parts"], tiny["parts.2"])
    assert not torch.equal(tiny["parts"], tiny["parts.1"])


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("thing", "net 'tiny' has no layer 'thing'; did you mean `things`"),
        ("edges.7", "has no layer 'edges.7'; did you mean `edges"),
        ("x", "has no layer 'x'"),
        ("", "has no layer ''"),
        ("parts.", "has no layer 'parts.'"),
    ],
)
def test_an_unknown_layer_brings_the_nearest(layer: str, says: str) -> None:
    """A layer that is not there, the net's input among them, is an error with the nearest name."""
    with pytest.raises(NetError) as error:
        load_net("tiny").reader((layer,))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("net", "weights", "says"),
    [
        ("googlenett", "random", "net 'googlenett' is not known; did you mean `googlenet`"),
        ("googlenett", "default", "did you mean `googlenet`"),
        ("squeezenet1_0", "IMAGENET1K_V9", "did you mean `IMAGENET1K_V1`"),
        ("tiny", "radnom", "did you mean `random`"),
        ("tiny", "no/such/file.pth", "weights 'no/such/file.pth' cannot be read: No such file"),
        ("nosuchmodule_:net", "random", "names an importable function"),
        (f"{__name__}:nothing", "random", "names an importable function"),
        (f"{__name__}:not_a_net", "random", "returned int; a torch.nn.Module is needed"),
    ],
)
def test_unknown_nets_and_weights(net: str, weights: str, says: str) -> None:
    """A net or weights that cannot be had are an error that says what is known."""
    with pytest.raises(NetError) as error:
        load_net(net, weights)
    assert says in str(error.value)


def test_known_nets_are_the_built_in_and_torchvisions() -> None:
    """The built-in net comes first; classifiers of torchvision are there, its detectors are not."""
    names = known_nets()
    assert names[0] == "dreamnet"
    assert {"tiny", "googlenet", "convnext_tiny"} < set(names)
    assert not any("rcnn" in name or "segmentation" in name for name in names)


def test_safetensors_and_state_dicts_load_alike(tmp_path: Path) -> None:
    """Weights saved either way, in half precision too, are read, and give the same activations."""
    state = safetensors.torch.load(fetch_weights("tiny", "random").data)
    state["edges.0.bias"] += 0.5
    paths = [str(tmp_path / name) for name in ("w.safetensors", "w.pth", "half.pth")]
    safetensors.torch.save_file(state, paths[0])
    torch.save(state, paths[1])
    torch.save({name: v.half() if v.is_floating_point() else v for name, v in state.items()}, paths[2])
    pixels = picture(20, 20)
    one, two, half = (load_net("tiny", path).reader(("things",))(pixels)["things"] for path in paths)
    assert torch.equal(one, two)
    assert torch.allclose(one, half, rtol=1e-2, atol=1e-2)
    assert not torch.equal(one, load_net("tiny").reader(("things",))(pixels)["things"])


class Touch:
    """Unpickled as code, it would make a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.path,)


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    """Weights that would run code as they are unpickled are an error, and the code does not run."""
    buffer = io.BytesIO()
    torch.save({"edges.0.weight": Touch(str(tmp_path / "ran"))}, buffer)
    with pytest.raises(NetError, match="neither safetensors nor a plain state dict"):
        build("tiny", Weights.of(buffer.getvalue()))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("data", [b"", b"no weights", b"\x10\0\0\0\0\0\0\0{truncated"])
def test_bytes_that_are_no_weights_are_refused(data: bytes) -> None:
    """Anything but a state dict is an error that says so."""
    with pytest.raises(NetError, match="neither safetensors nor a plain state dict"):
        build("tiny", Weights.of(data))


def test_a_file_that_is_no_state_dict_is_refused() -> None:
    """A saved list of tensors is an error that says what to save."""
    buffer = io.BytesIO()
    torch.save([torch.zeros(3)], buffer)
    with pytest.raises(NetError, match=r"save module\.state_dict"):
        build("tiny", Weights.of(buffer.getvalue()))


def test_weights_of_another_net_are_refused() -> None:
    """Missing, unknown and misshapen weights are named."""
    state = safetensors.torch.load(fetch_weights("tiny", "random").data)
    other = fetch_weights("squeezenet1_0", "random")
    with pytest.raises(NetError, match=r"do not fit 'tiny': \d+ missing, \d+ unknown"):
        build("tiny", other)
    without = {name: value for name, value in state.items() if name != "things.0.bias"}
    with pytest.raises(NetError, match=r"1 missing, 0 unknown \(things\.0\.bias\)"):
        build("tiny", Weights.of(safetensors.torch.save(without)))
    with pytest.raises(NetError, match=r"do not fit 'tiny': size mismatch for things\.0\.bias"):
        build("tiny", Weights.of(safetensors.torch.save(without | {"things.0.bias": torch.zeros(3)})))


def test_random_weights_are_reproducible() -> None:
    """Random weights and their digest do not depend on torch's generator, and differ between nets."""
    one = fetch_weights("squeezenet1_0", "random")
    torch.manual_seed(99)
    assert fetch_weights("squeezenet1_0", "random") == one
    assert len(one.digest) == 64
    assert one.digest != fetch_weights("tiny", "random").digest
    assert load_net("squeezenet1_0", "random").digest == one.digest


def test_weights_are_read_by_the_function_given() -> None:
    """A path or url goes to the reader that the caller gives, and the blob is what it returned."""
    asked = []

    def read(path: str) -> bytes:
        asked.append(path)
        return b"blob"

    assert fetch_weights("tiny", "s3://bucket/w.pth", read) == Weights.of(b"blob")
    assert asked == ["s3://bucket/w.pth"]


def test_the_built_in_net_needs_no_download() -> None:
    """The built-in net with its own weights loads from the package and reads a finite map of its default layer."""
    found = load_net().reader((DEFAULT_OBJECTIVE,))(picture(64, 48))[DEFAULT_OBJECTIVE]
    assert found.shape[2:] == (7, 5)
    assert found.isfinite().all()
    assert found.abs().max() > 0


def test_a_net_of_ones_own_brings_weights_and_normalisation() -> None:
    """`module:callable` uses the module's own weights, `mean` and `std`, whatever its parts are called."""
    own = f"{__name__}:Attentive"
    weights = fetch_weights(own, "default")
    pixels = picture(16, 16)
    module = build(own, weights)
    expected = module.conv(pixels / torch.tensor([1.0, 0.5, 0.25]).view(1, 3, 1, 1))
    assert torch.allclose(Net(own, weights).reader(("conv",))(pixels)["conv"], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["default", "random"])
def test_a_net_of_ones_own_may_hold_tensors_and_share_weights(kind: str) -> None:
    """A constructor may read values, tensors may be shared, and `mean` and `std` may be tensors."""
    own = f"{__name__}:Tied"
    weights = fetch_weights(own, kind)
    module, pixels = build(own, weights), picture(16, 16)
    assert preprocessing(module) == ((0.0, 0.0, 0.0), (1.0, 0.5, 0.25))
    assert torch.equal(module.again.weight, module.conv.weight)
    expected = module.conv(pixels / module.std.view(1, 3, 1, 1))
    assert torch.allclose(Net(own, weights).reader(("conv",))(pixels)["conv"], expected, atol=1e-5)


@pytest.mark.parametrize("value", [None, nn.ReLU(), 0.5, (0.5, 0.5), "grey", torch.zeros(1)], ids=repr)
def test_another_mean_is_no_normalisation(value: object) -> None:
    """Only three numbers are a mean or a standard deviation; a part of that name leaves ImageNet's in place."""
    module = nn.Module()
    module.mean = module.std = value
    assert preprocessing(module) == preprocessing(nn.Module())
    assert load_net(f"{__name__}:NamedParts").reader(("std",))(picture(8, 8))["std"].shape == (1, 4, 4, 4)


@pytest.mark.parametrize("weights", ["default", "random"])
def test_code_of_ones_own_that_fails_is_named(weights: str) -> None:
    """Whatever a callable raises is an input error with its name and reason, the cause kept."""
    with pytest.raises(NetError, match=r"test_nets:broken' cannot be made \(ZeroDivisionError: no luck\)") as caught:
        fetch_weights(f"{__name__}:broken", weights)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_behind_a_gate_a_position_sees_the_whole_picture() -> None:
    """Squeeze-excitation makes the field None, before it it is finite: the head begins at what the gate reads."""
    net = load_net(f"{__name__}:Attentive", "random")
    infos = {info.name: info.field for info in net.layers()}
    assert infos["conv"] is not None
    assert infos["gate"] is None
    assert infos["auxiliary"] is None
    behind = net.reader(("conv", "auxiliary"))
    assert behind.read_by_head == ("@conv",)
    assert behind.fields == {"conv": infos["conv"], "auxiliary": None}
    assert set(behind.tiling_layers(64, 64)) == {"conv", "@conv"}
    before = net.reader(("conv",))
    assert before.read_by_head == ()
    assert before.head({}) == {}
    assert set(before.tiling_layers(64, 64)) == {"conv"}


def seen(reader: object, layer: str, height: int, width: int) -> Tensor:
    """(rows, columns, height, width): whether a position of a layer changes with a pixel, found pixel by pixel."""
    base = picture(height, width)
    with torch.no_grad():
        clean = reader(base)[layer]  # type: ignore[operator]
        found = torch.zeros(*clean.shape[2:], height, width, dtype=torch.bool)
        for y in range(height):
            for x in range(width):
                spoilt = base.clone()
                spoilt[0, :, y, x] = float("nan")
                found[..., y, x] = reader(spoilt)[layer].isnan().any(1)[0]  # type: ignore[operator]
    return found


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        ("tiny", "edges", (5, 4)),
        ("tiny", "parts", (8, 7)),
        ("tiny", "things", (22, 3)),
        ("tiny", "things", (3, 23)),
        (f"{__name__}:Stack", "wide", (6, 11)),
        (f"{__name__}:Stack", "peak", (14, 13)),
        (f"{__name__}:Stack", "flat", (45, 3)),
        (f"{__name__}:Stack", "flat", (4, 34)),
        (f"{__name__}:Stack", "valid", (65, 20)),
        (f"{__name__}:Stack", "valid", (36, 28)),
        ("dreamnet", "pool8", (34, 14)),
        ("dreamnet", "pool8", (14, 35)),
    ],
)
def test_receptive_fields_are_those_found_by_trial(name: str, layer: str, size: tuple[int, int]) -> None:
    """What spoiling one pixel spoils is what the traced field says: nothing more, and to its ends nothing less.

    The net is run as it was written: it is rewritten to taps that are zero, and those times not a number are none.
    """
    net = load_net(name, "random")
    reader = net.reader((layer,))
    field = reader.fields[layer]
    assert field is not None
    found = seen(net._reader((layer,), fold=False), layer, *size)
    rows, columns = found.shape[:2]
    assert reader.sizes(*size)[layer][1:] == (rows, columns)
    for row in range(rows):
        for column in range(columns):
            pixels = found[row, column]
            if not pixels.any():
                continue
            for axis, position, touched, length in (
                (field.y, row, pixels.any(1), size[0]),
                (field.x, column, pixels.any(0), size[1]),
            ):
                (indices,) = touched.nonzero(as_tuple=True)
                start = position * axis.jump - axis.padding
                assert start <= indices[0]
                assert indices[-1] < start + axis.size
                if start >= 0:  # a window that hangs over an edge may see less: of dilated taps, of a last window
                    assert indices[0] == start
                if start + axis.size <= length:
                    assert indices[-1] == start + axis.size - 1


@pytest.mark.parametrize(("name", "layer", "least"), [("tiny", "edges", 1), ("tiny", "things", 3)])
def test_the_least_side_is_the_smallest_that_works(name: str, layer: str, least: int) -> None:
    """A picture of the least side has a position, one pixel less has none or fails."""
    reader = load_net(name).reader((layer,))
    assert reader.least_side == least
    assert reader(picture(least, least))[layer].numel()


def test_the_least_side_of_an_unpadded_stack() -> None:
    """A net with unpadded windows works from its least side on, and not below it."""
    reader = load_net(f"{__name__}:Stack", "random").reader(("valid",))
    least = reader.least_side
    assert reader(picture(least, least))["valid"].numel()
    with pytest.raises(RuntimeError):
        reader(picture(least - 1, least - 1))


def test_sizes_are_those_of_a_real_run() -> None:
    """The sizes reckoned without data are those of the activations."""
    reader = load_net("squeezenet1_0", "random").reader(("features.4", "features.0"))
    found = {name: tuple(value.shape[1:]) for name, value in reader(picture(61, 90)).items()}
    assert reader.sizes(61, 90) == found


def as_it_lies(net: Net, layers: tuple[str, ...], pixels: Tensor) -> dict[str, Tensor]:
    """Activations of the untouched `ChannelsLast`, turned by hand to (N, channels, rows, columns)."""
    found = plain(net.name, layers, pixels, fetch_weights(net.name, "random"))
    orders = {"patches": (0, 1, 2, 3), "sideways": (0, 1, 3, 2)}
    return {name: value.permute(orders.get(name, (0, 3, 1, 2))) for name, value in found.items()}


@pytest.mark.parametrize(
    "layers", [("norm",), ("dense",), ("relu", "dense"), ("all", "norm"), ("sideways",), ("dense", "sideways", "all")]
)
def test_a_layer_is_upright_however_it_lies(layers: tuple[str, ...]) -> None:
    """Of maps that lie otherwise channels are channels, rows are rows, and the next step overwrites nothing."""
    net, pixels = load_net(f"{__name__}:ChannelsLast", "random"), picture(36, 28)
    reader = net.reader(layers)
    found, expected = reader(pixels), as_it_lies(net, layers, pixels)
    for name in layers:
        assert reader.sizes(36, 28)[name] == tuple(found[name].shape[1:]) == (5 if name == "norm" else 6, 9, 7)
        assert torch.allclose(found[name], expected[name], atol=1e-5)


def test_layers_that_lie_otherwise_are_listed_with_their_channels() -> None:
    """Channels, stride and field are those of the upright map; what sees all of the picture has no field."""
    infos = {info.name: info for info in load_net(f"{__name__}:ChannelsLast", "random").layers()}
    expected = {"patches": (5, 4), "norm": (5, 4), "dense": (6, 4), "all": (6, 4), "sideways": (6, 4)}
    assert {name: (infos[name].channels, infos[name].stride) for name in expected} == expected
    assert infos["norm"].field == infos["dense"].field == infos["patches"].field
    assert infos["all"].field is infos["sideways"].field is None


def test_classes_have_imagenets_names() -> None:
    """A class is found by number, by name, and by name with underscores; a wrong one names the nearest."""
    net = load_net("squeezenet1_0", "random")
    assert net.class_index("291") == net.class_index("lion") == net.class_index("Lion") == 291
    assert net.labels[net.class_index("golden_retriever")] == "golden retriever"
    with pytest.raises(NetError, match="did you mean `lion`"):
        net.class_index("lionn")


def test_a_classs_objective_rises() -> None:
    """A class of a net that looks at the whole picture can be dreamed, and its logit rises."""
    net = load_net("tiny")
    picture = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    curve = dream(picture, net, make_params({"objective": "class:3", "octaves": 1, "steps": 8, "jitter": 0})).objective
    assert curve[-1] > curve[0]


def test_the_built_in_weights_are_the_ones_that_were_looked_at() -> None:
    """The weights that ship have the digest under which their figures and pictures were made, and are small."""
    weights = fetch_weights("dreamnet", "default")
    assert weights.digest == "bd646c87934c1787bdfdb2ac9932c8626d613da4503c8c311d35a02a55e72ab2"
    assert len(weights.data) < 4_000_000


def test_the_built_in_nets_classes_are_a_map() -> None:
    """A class of the built-in net is a channel of its `logits` map, so that it is dreamed by tiles."""
    net = load_net()
    assert net.class_layer == "logits"
    assert net.reader(("logits",)).fields["logits"] is not None
    assert net.class_index("lion") == 291


def test_every_layer_of_the_built_in_net_can_be_climbed() -> None:
    """The objective of each layer is higher at the end of the last octave than at its start."""
    net = load_net()
    picture = torch.rand(1, 3, 72, 96, generator=torch.Generator().manual_seed(0))
    for layer in net.layer_names():
        params = make_params({"objective": layer, "octaves": 2})
        curve = dream(picture, net, params).objective
        assert curve[-1] > curve[-params.steps], layer


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("net", "layer"), [("dreamnet", "mix8c"), ("resnet18", "layer1"), ("vgg11", "features.3")])
def test_nothing_of_a_reader_stays_on_another_device(net: str, layer: str, precision: Precision) -> None:
    """Neither parameters nor what it normalises with: torch's device without data refuses all that lies elsewhere."""
    weights = fetch_weights(net, "default" if net == "dreamnet" else "random")
    reader = Net(net, weights, "meta").reader((layer,), precision)
    assert reader(torch.empty(1, 3, 96, 64, device="meta"))[layer].device.type == "meta"
