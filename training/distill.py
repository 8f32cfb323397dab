"""Train the built-in net from a teacher and write its weights; see README.md beside this file.

    python -m training.distill --weights FILE --photos DIR --steps N --run training/runs/NAME [--out FILE]

A run goes on from RUN/last.pt as if it had not been broken off. The learning rate and the picture sizes follow steps,
so the seed repeats a run.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training import dreams, matter
from training.inherit import inherit
from training.student import STAGES, Student, distance, normalised, teacher_activations

PHASES = ((0.0, 128, 54), (0.2, 192, 26), (0.7, 224, 19))  # from this share of the steps: picture size, batch
TERMS = {"mix4c": 0.5, "mix8a": 1.0, "mix8c": 1.0, "mix8d": 1.0, "mix16a": 2.0, "logits": 1.0, "kl": 0.5}
KEPT = ("mix8", "mix16", "logits")  # layers that start as the teacher's own, or lead to those
KEPT_RATE = 0.1  # of the others' learning rate, so that they do not forget
WARM_UP = 200


def load_teacher(name: str, weights: str) -> nn.Module:
    """The teacher in evaluation mode, frozen; `weights` is a safetensors file or the name of torchvision's weights."""
    from_file = weights.endswith(".safetensors")
    teacher = torchvision.models.get_model(name, weights=None if from_file else weights)
    if from_file:
        teacher.load_state_dict(load_file(weights))
    return teacher.eval().requires_grad_(False).to(memory_format=torch.channels_last)


class Trainer:
    """Everything that a checkpoint holds: student, its running average, optimiser, drawings, pools, generator, step."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.g = torch.Generator().manual_seed(args.seed)
        self.steps, self.step = args.steps, 0
        self.lr = args.lr
        self.teacher = load_teacher(args.teacher, args.weights)
        self.photos = matter.Photos([Path(p) for p in args.photos])
        with torch.inference_mode():
            sample = normalised(matter.batch(self.photos, matter.drawn(256, 192, self.g), None, 1024, self.g))
            seen = teacher_activations(self.teacher, sample[:2])
        self.student = Student({name: seen[name].shape[1] for name in STAGES}).to(memory_format=torch.channels_last)
        inherit(self.student, self.teacher, sample)
        self.average = copy.deepcopy(self.student).eval().requires_grad_(False)
        kept = [p for name, p in self.student.net.named_parameters() if name.startswith(KEPT)]
        new = [p for p in self.student.parameters() if all(p is not other for other in kept)]
        groups = [{"params": new, "rate": 1.0}, {"params": kept, "rate": KEPT_RATE}]
        self.optimiser = torch.optim.AdamW(groups, lr=self.lr, betas=(0.9, 0.99), weight_decay=0.0)
        if not args.export_only:
            self.bank = matter.Bank(480, 240, self.g)
            self.teacher_pool = dreams.Pool(self.photos, self.bank, 256, self.g)
            self.student_pool = dreams.Pool(self.photos, self.bank, 128, self.g)

    def state_dict(self) -> dict[str, Any]:
        parts = ("student", "average", "optimiser", "bank", "teacher_pool", "student_pool")
        return {k: getattr(self, k).state_dict() for k in parts} | {"step": self.step, "g": self.g.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for k, v in state.items():
            if k == "step":
                self.step = v
            elif k == "g":
                self.g.set_state(v)
            elif hasattr(self, k):
                getattr(self, k).load_state_dict(v)

    def pictures(self) -> Tensor:
        """The next batch in [0, 1]: a third of it dreams, the rest photographs and drawings, two to one."""
        size, n = next((s, b) for share, s, b in reversed(PHASES) if self.step >= share * self.steps)
        if self.step % 2:
            now = self.teacher_pool.step(n // 5, size, lambda x, goals: dreams.teacher_loudness(self.teacher, x, goals))
            dreamt = torch.cat([now, self.student_pool.windows(n // 8, size)])
        else:
            net = self.average.net
            now = self.student_pool.step(n // 8, size, lambda x, goals: dreams.student_loudness(net, x, goals))
            dreamt = torch.cat([now, self.teacher_pool.windows(n // 5, size)])
        fresh = n - len(dreamt)
        return matter.batch(self.photos, self.bank.windows(fresh // 3, size), dreamt, fresh - fresh // 3, self.g)

    def learn(self) -> dict[str, Tensor]:
        """One step of AdamW; the terms of the loss before it."""
        share = self.step / self.steps
        for group in self.optimiser.param_groups:
            warm = min(1.0, (self.step + 1) / WARM_UP)
            group["lr"] = self.lr * group["rate"] * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        with torch.autocast("cpu", torch.bfloat16):
            x = self.pictures()
            with torch.inference_mode():
                theirs = teacher_activations(self.teacher, normalised(x))
            theirs = {k: v.clone() for k, v in theirs.items()}
            mine = self.student(normalised(self.with_noise(x)))
        terms = distance(mine, theirs)
        loss = sum(TERMS[k] * v for k, v in terms.items())
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(self.student.parameters(), 2.0)
        self.optimiser.step()
        self.step += 1
        self.update_average()
        return {k: v.detach() for k, v in terms.items()}

    def with_noise(self, x: Tensor) -> Tensor:
        """A fifth of the pictures with noise that the teacher does not see: the student learns to look past it."""
        x, some = x.clone(), x[::5]
        x[::5] = some + matter.uniform(self.g, 0.02, 0.1, len(some), 1, 1, 1) * torch.randn(
            some.shape, generator=self.g
        )
        return x

    def update_average(self) -> None:
        keep = min(0.999, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for a, b in zip(self.average.state_dict().values(), self.student.state_dict().values(), strict=True):
                if a.is_floating_point():
                    a.lerp_(b, 1 - keep)


def save(trainer: Trainer, path: Path) -> None:
    torch.save(trainer.state_dict(), path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def train(trainer: Trainer, run: Path, every_s: float = 180) -> None:
    """Learn until the last step; a log line every 50 steps, a checkpoint every `every_s` seconds."""
    saved, start, first = time.monotonic(), time.monotonic(), trainer.step
    sums: dict[str, float] = {}
    while trainer.step < trainer.steps:
        for k, v in trainer.learn().items():
            sums[k] = sums.get(k, 0.0) + float(v) / 50
        if trainer.step % 50 == 0:
            rate = (time.monotonic() - start) / (trainer.step - first)
            line = {"step": trainer.step, "s_per_step": round(rate, 3)} | {k: round(v, 4) for k, v in sums.items()}
            with (run / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            sums = {}
        if time.monotonic() - saved > every_s or trainer.step == trainer.steps:
            save(trainer, run / "last.pt")
            saved = time.monotonic()


def export(trainer: Trainer, args: argparse.Namespace) -> None:
    """The running average in half precision, with where it came from."""
    net = trainer.average.net
    facts = {
        "version": "1",
        "license": "BSD-2-Clause, as the teacher's",
        "teacher": f"torchvision {args.teacher}, ImageNet-1k weights (BSD-2-Clause)",
        "photographs": "; ".join(f"{k}: {v}" for k, v in matter.PHOTOS.items()),
        "recipe": f"training.distill --seed {args.seed} --steps {args.steps} --lr {args.lr}",
        "seed": str(args.seed),
        "step": str(trainer.step),
    }
    half = {k: v.half().contiguous() for k, v in net.state_dict().items()}
    if not all(torch.isfinite(v).all() for v in half.values()):
        raise SystemExit("a weight is too large for half precision")
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    save_file(half, args.out, metadata=facts)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--teacher", default="squeezenet1_0")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="a safetensors file, or torchvision's name")
    parser.add_argument("--photos", nargs="+", required=True, help="folders with the photographs of matter.PHOTOS")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--run", default="training/runs/default")
    parser.add_argument("--out", help="write the weights here at the end")
    parser.add_argument("--export-only", action="store_true", help="write the weights of RUN/last.pt as they are")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    run = Path(args.run)
    run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(args)
    if (run / "last.pt").exists():
        trainer.load_state_dict(torch.load(run / "last.pt", weights_only=True))
    if not args.export_only:
        train(trainer, run)
    if args.out:
        export(trainer, args)


if __name__ == "__main__":
    main()
