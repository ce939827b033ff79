"""The training loop: a generator that yields progress, can be stopped and resumed, and ends with a weight file."""

import contextlib
import copy
import dataclasses
import itertools
import os
import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, Dataset

from mitonb.errors import CorruptFileError, InputError, JobError, ModelError, UntrustedModelError
from mitonb.files import atomic_write
from mitonb.infer.predict import Predictor
from mitonb.io.saving import check_output, rescued
from mitonb.job import Progress
from mitonb.learn.data import Size, Source, draw_batch
from mitonb.learn.losses import add_losses, balanced, batch_targets, size_weights
from mitonb.memory import require
from mitonb.models.spec import ModelSpec, in_todays_words
from mitonb.models.unet import UNet
from mitonb.models.weights import write_weights
from mitonb.models.zoo import ARCHITECTURES, Model, build, channels_last, read_net
from mitonb.recipe import Recipe
from mitonb.stack import Stack

Batch = tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]

REFERENCE = "drawn reference"
"""Name of held sources that tell whether a run forgets: they are watched, but are no part of its score."""
FORGOTTEN = 0.01
"""Loss of IoU on them that a tempered run accepts."""
PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the way from old to learned weights, where a tempered run looks."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a training run depends on, beside its sources.

    Attributes
    ----------
    minutes, steps : float or int or None
        How long: one of the two. Only `steps` gives the same weights again on another day.
    seed : int
        Of the first weights, the patches and their disturbances.
    batch, patch : int
        Patches per step, and their side in pixels.
    planes : int, optional
        Of a block, for nets that look at blocks; by default as many as there are pixels on its side.
    augment : float
        Part of the patches, 0..1, that are sheared, zoomed and disturbed; the others are only turned and flipped.
    rate, decay, average : float
        Highest learning rate, weight decay, and how slowly the kept mean of the weights follows.
    freeze : int
        First stages of the encoder that stay as they are, with the statistics of their normalisation.
    keep_statistics : bool
        All norms keep their statistics: those of a few squares are not those of what a model knows.
    temper : bool
        In the end go back towards the weights to start from, as far as held planes and the `REFERENCE` ask for it.
    balance : bool
        Patches count the same, however little of them is known; see `mitonb.learn.losses.balanced`.
    balance_sizes : bool
        Small objects count more; see `mitonb.learn.losses.size_weights`.
    looks : int
        How often, evenly over the run, the held planes are scored; the weights of the best look are kept.
    patience : int, optional
        Looks without a better score after which the run ends early.
    workers : int, optional
        Processes that draw the patches ahead; by default none on a CPU, and all cores but one beside a GPU.
    devices : int
        GPUs that share each batch, one process each; the patches are those of one. Norms see the patches of their own
        GPU alone, unless they keep their statistics.
    precision : {"fp32", "bf16"}
        bf16 is faster on recent processors; the weights themselves stay float32.
    widths, depths : tuple of int
        Of the net, where training does not start from a weight file.
    """

    minutes: float | None = None
    steps: int | None = None
    seed: int = 0
    batch: int = 8
    patch: int = 256
    planes: int | None = None
    augment: float = 1.0
    rate: float = 2e-3
    decay: float = 0.03
    average: float = 0.998
    freeze: int = 0
    keep_statistics: bool = False
    temper: bool = False
    balance: bool = False
    balance_sizes: bool = False
    looks: int = 20
    patience: int | None = None
    workers: int | None = None
    devices: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    widths: tuple[int, ...] = (32, 64, 128, 192)
    depths: tuple[int, ...] = (1, 1, 2, 3)

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise InputError("Say how long to train: either minutes or steps, and not both.")
        given = (self.steps, self.planes, self.patience)
        whole = (self.batch, self.patch, self.looks, *(n for n in given if n is not None))
        real = (self.rate, *(() if self.minutes is None else (self.minutes,)))
        if not all(isinstance(n, int) and n > 0 for n in whole) or not all(0 < r < np.inf for r in real):
            raise InputError(f"Duration, batch, patch, rate, looks and patience must be above 0, got {self}.")
        counted = (self.seed, self.freeze, self.workers or 0)
        if not all(isinstance(n, int) and 0 <= n < 2**63 for n in counted):
            raise InputError(f"Seed, freeze and workers are whole numbers from 0 on, got {counted}.")
        if not 0 <= self.decay < np.inf or not 0 <= self.average < 1 or not 0 <= self.augment <= 1:
            raise InputError(
                "decay is from 0 on, average from 0 to below 1 and augment from 0 to 1, got "
                f"{self.decay}, {self.average} and {self.augment}."
            )
        if not isinstance(self.devices, int) or self.devices < 1 or self.batch % self.devices:
            raise InputError(f"The batch is shared evenly, got {self.batch} patches for {self.devices} devices.")
        if self.precision not in ("fp32", "bf16"):
            raise InputError(f"precision is 'fp32' or 'bf16', got {self.precision!r}.")


def fitting(
    sources: Sequence[Source], *, out: str | Path, settings: Settings, start: str | Path | None = None,
    card: Mapping[str, Any] | None = None, save_every: float = 20.0,
) -> Generator[Progress, None, Path]:  # fmt: skip
    """Train a net and write its weights: its heads and its dimension decide what is drawn and what it learns by.

    The first `Progress` says what memory it takes; each step is one more, whose preview is a dict of the losses and of
    the newest scores of the held planes. Of all looks at these the weights of the best are kept.
    Batches depend on the seed and the step alone; a run that was stopped goes on from `out` + ".part" where it was.

    Parameters
    ----------
    sources : sequence of Source
        What to learn from.
    out : path
        Weight file to write.
    settings : Settings
        Duration, seed and so on.
    start : path, optional
        Weight file to begin from.
    card : mapping, optional
        Fields of the new model's card, such as title, licence, papers, data and notes. Where training starts from
        nothing they also say which U-Net: `heads`, `dimension` and `config`, by default the panoptic one of planes.
    save_every : float
        Seconds between pictures of the run on disk.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    InputError
        If there is nothing to learn from, `out` cannot be written, or what was learned had to be kept elsewhere.
    ModelError
        If `out` + ".part" belongs to another run, or the training diverges.
    TooLargeError
        If the run would not fit into memory.
    JobError
        If the held planes could not be scored in the end; the weights are in `out`.
    """
    if not any(s.used[1] > s.used[0] for s in sources):
        raise InputError("There is nothing to learn from. Give at least one labelled stack, or phantoms.")
    out = check_output(out, overwrite=True)
    if out.is_dir():
        raise InputError(f"{out} is a folder. Give the name of a file for the weights.")
    part = out.with_name(out.name + ".part")
    run = _Run(settings, start, {"name": out.stem, **card_fields(card)}, sources)
    if any(n % run.spec.multiple for n in (settings.patch, settings.planes or 0)):
        raise InputError(f"A patch is a multiple of {run.spec.multiple} pixels, got {run.size}.")
    require_depth(sources, run.spec.dimension)
    if needed := run.bytes_needed():
        require(needed, "This training", "Take a smaller batch or patch, or a net with fewer channels.")
        yield Progress(f"start: takes about {needed / 1e9:.1f} GB of memory", 0, run.total)
    if part.exists():
        run.resume(part)
    try:
        yield from run.learning(part, save_every)
    except BaseException:  # stopped or failed: what was learned stays on disk
        if _rank() == 0:
            rescued(run.save, part)
        raise
    if _rank() == 0:  # the first of several devices writes
        run.finish(out)
        part.unlink(missing_ok=True)
    return out


def require_depth(sources: Sequence[Source], dimension: int) -> None:
    """Refuse single sections for nets that look at blocks.

    Raises
    ------
    InputError
        If there is nothing else.
    """
    if dimension == 3 and all(len(source.image) == 1 for source in sources):
        raise InputError("This net looks at blocks, and there are single sections only. Choose a net of planes.")


def bytes_needed(settings: Settings, start: str | Path | None, card: Mapping[str, Any]) -> int:
    """Return about how many bytes of memory a run takes, as `fitting` says at its start; 0 if nobody can tell."""
    return _Run(settings, start, {"name": "new", **card}, ()).bytes_needed()


def startable(start: str | Path) -> tuple[nn.Module, ModelSpec]:
    """Return the net and the card of weights that a training can begin from.

    Raises
    ------
    ModelError
        If its code alone can run it.
    MitonbError
        As `mitonb.load_model`.
    """
    try:
        net, spec = read_net(start)
    except UntrustedModelError as error:
        raise ModelError(
            f"{start} can only be run by its own code, as a quantised model, and such a net cannot be trained. Start "
            "from the file that is not quantised."
        ) from error
    if spec.architecture == "onnx":
        raise ModelError(f"{start} came as ONNX, which cannot be trained on. Start from its safetensors or .pth file.")
    return net, spec


def card_fields(card: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields that a user gives for the card of a new model.

    Raises
    ------
    InputError
        If a card has no such field.
    ModelError
        If a field is not what it must be.
    """
    known = {field.name for field in dataclasses.fields(ModelSpec)}
    if card is not None and not isinstance(card, Mapping):
        raise InputError(f"A model card has names with values, got {type(card).__name__}.")
    fields = in_todays_words(card or {})
    if unknown := sorted(set(map(str, fields)) - known):
        raise InputError(f"A model card has no field {unknown[0]!r}. It has {', '.join(sorted(known))}.")
    ModelSpec(**{"name": "new", **fields})
    return fields


_WATCHED = 12
_OF_THE_NET = (
    "architecture", "config", "classes", "things", "mean", "std", "intensity", "heads", "dimension", "output_stride",
    "multiple", "padding", "pixel_offset",
)  # fmt: skip
"""What a card says of the net itself: it stays when training goes on from weights."""


def _new_net(settings: Settings, card: Mapping[str, Any]) -> tuple[ModelSpec, nn.Module]:
    """Return the U-Net that settings and card describe, and its whole card."""
    asked = ModelSpec(**card)
    if ARCHITECTURES.get(asked.architecture) is not UNet:
        return asked, build(asked)
    config = {"widths": list(settings.widths), "depths": list(settings.depths), **asked.config}
    try:
        net = UNet(**{"classes": len(asked.classes), "heads": asked.heads, "dimension": asked.dimension, **config})
    except (TypeError, ValueError) as error:
        raise ModelError(f"{asked.name}: its card describes no U-Net: {error}.") from error
    return dataclasses.replace(asked, config=config, multiple=net.multiple, output_stride=net.output_stride), net


class _Run:
    """What changes while training; the file on disk is a picture of it."""

    def __init__(
        self, settings: Settings, start: str | Path | None, card: Mapping[str, Any], sources: Sequence[Source]
    ) -> None:
        self.settings, self.sources = settings, sources
        self.total = settings.steps or int(60 * (settings.minutes or 0))
        torch.manual_seed(settings.seed)
        if start is None:
            self.spec, net = _new_net(settings, card)
        else:
            net, old = startable(start)
            same = {name: getattr(old, name) for name in _OF_THE_NET}
            before = {"start": old.sha256, "before": old.training}
            self.spec = ModelSpec(**{**card, **same, "training": before})
        if "semantic" not in self.spec.heads or len(self.spec.classes) > 1:
            raise ModelError(
                f"A net with one class and a semantic head can be trained, got {len(self.spec.classes)} classes and "
                f"the heads {', '.join(self.spec.heads) or 'none'}."
            )
        begun = "a new net" if start is None else f"{old.name} {old.sha256[:6]}"
        self.model = f"{begun} ({', '.join(self.spec.heads)} in {self.spec.dimension}-D)"
        blocks = self.spec.dimension == 3
        self.size: Size = (settings.planes or settings.patch, *(settings.patch,) * 2) if blocks else settings.patch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.backends.cudnn.benchmark = True  # all patches are of one size: the fastest way is looked for once
        self.net = channels_last(net).to(self.device).train()
        freeze(self.net, settings.freeze)
        if settings.keep_statistics:
            for norm in (m for m in self.net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)):
                norm.eval()
        self.mean = copy.deepcopy(self.net).eval()
        self.start = copy.deepcopy(self.net.state_dict()) if start is not None and settings.temper else {}
        free = [p for p in self.net.parameters() if p.requires_grad]
        plain, small = [p for p in free if p.ndim > 1], [p for p in free if p.ndim <= 1]
        groups = [{"params": plain, "weight_decay": settings.decay}, {"params": small, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.rate)
        self.step = 0
        self.seconds = 0.0
        self.log: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}

    @property
    def fraction(self) -> float:
        """Finished part of the run, 0..1."""
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        return self.seconds / (60 * (self.settings.minutes or 1))

    @property
    def tired(self) -> bool:
        """Whether the last looks were no better than one before them."""
        patience = self.settings.patience
        return bool(self.best) and patience is not None and len(self.log) - 1 - best_look(self.log) >= patience

    def bytes_needed(self) -> int:
        """Return about how much memory a step takes: what is saved for the way back, and weights with their states."""
        twin, kept = copy.deepcopy(self.net).to("meta"), {}

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage()._cdata] = tensor
            return tensor

        sides = self.size if isinstance(self.size, tuple) else (self.size,) * 2
        try:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                twin(torch.zeros(self.settings.batch // self.settings.devices, 1, *sides, device="meta"))
        except (NotImplementedError, RuntimeError):  # a layer that needs real numbers: nothing is said of memory
            return 0
        sizes = [tensor.untyped_storage().nbytes() for tensor in kept.values()]
        return sum(sizes) + 4 * max(sizes) + 28 * sum(p.numel() for p in self.net.parameters())

    def learning(self, part: Path, save_every: float) -> Generator[Progress, None, None]:
        """Take one step after the other, until the time is over or the looks at the held planes get no better."""
        batches = iter(self.batches())
        yield Progress("draw the first patches", 0, self.total)
        batches = itertools.chain([next(batches)], batches)
        clock = time.monotonic() - self.seconds  # the workers that draw may take long to start
        saved, tired = -np.inf, self.tired  # saved at once: a process of its own may be killed at any step
        while (fraction := self.fraction) < 1 and not tired:
            losses = self.advance(next(batches))
            self.seconds = _agreed(time.monotonic() - clock)
            if len(self.log) < int(self.fraction * self.settings.looks) < self.settings.looks:
                self.look()
            tired = bool(_agreed(self.tired))
            if _rank() == 0 and time.monotonic() - saved > save_every:
                with contextlib.suppress(OSError):  # a disk that is full now may have room at the end
                    self.save(part)
                saved = time.monotonic()
            scores = self.log[-1] if self.log else {}
            told = (f"{k} {v:.3f}" for k, v in {**losses, **scores}.items() if k == "loss" or k[:3] == "iou")
            preview = {**scores, "step": self.step, **losses}
            yield Progress(f"train: {', '.join(told)}", int(self.total * fraction), self.total, preview)

    def finish(self, out: Path) -> None:
        """Write the weights, look at the held planes, and write the best: something is on disk, whatever fails."""
        rescued(lambda path: write_weights(self.mean, self.finished_spec(), path), out)
        try:
            self.look()
            self.mean.load_state_dict(self.best or self.mean.state_dict())
            if self.start:
                self.temper()
            write_weights(self.mean, self.finished_spec(), out)
        except Exception as error:
            raise JobError(f"The weights are in {out}, but the held planes could not be scored: {error}") from error

    def batches(self) -> Iterable[Batch]:
        """Draw the batches from this step on: here, or ahead in processes of their own."""
        drawn = Drawn(self.sources, self.spec, self.settings, self.size)
        beside = self.device == "cuda"
        workers = self.settings.workers
        workers = ((os.cpu_count() or 1) - 1) // self.settings.devices if workers is None and beside else workers or 0
        return DataLoader(
            drawn, batch_size=None, sampler=itertools.count(self.step), num_workers=workers, pin_memory=beside
        )

    def advance(self, batch: Batch) -> dict[str, float]:
        """Do one step of the optimizer and return the losses."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate * _rate(self.fraction)
        x, truth, weights = batch
        layout = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        x = x.to(self.device, non_blocking=True).contiguous(memory_format=layout)
        truth, weights = _moved(truth, self.device), _moved(weights, self.device)
        torch.manual_seed(self.settings.seed + self.step)  # for what a net draws: a run that goes on draws the same
        with torch.autocast(self.device, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            heads: dict[str, Tensor] = self.net(x)
        loss, parts = add_losses(*map(_gathered, (heads, truth, weights)))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in self.net.parameters() if distributed.is_initialized() else ():
            if parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
        length = float(nn.utils.clip_grad_norm_(self.net.parameters(), 5.0))
        if not np.isfinite(length):
            raise ModelError(f"The training diverged at step {self.step}. Lower the rate ({self.settings.rate:g}).")
        self.optimizer.step()
        self.step += 1
        self._follow()
        return {"loss": float(loss.detach()), **parts}

    def look(self) -> None:
        """Score the held planes and remember it."""
        self.log.append(self._scored())
        if own_score(self.log[-1]) is not None and best_look(self.log) == len(self.log) - 1:
            self.best = {name: tensor.clone() for name, tensor in self.mean.state_dict().items()}

    def temper(self) -> None:
        """Go back towards the weights of the start, to where the held planes score best (Wortsman et al. 2022).

        The `REFERENCE` may lose `FORGOTTEN` there. Where nothing is held out it decides alone, from half of the way on.
        """
        learned = copy.deepcopy(self.mean.state_dict())
        looks = []
        for part in PARTS:
            self._mix(learned, part)
            looks.append({**self._scored(), "part": part})
        self.log.append(choose_part(looks))
        self._mix(learned, self.log[-1]["part"])

    def _scored(self) -> dict[str, float]:
        return {"step": self.step, "seconds": round(self.seconds), **watch(self.mean, self.spec, self.sources)}

    def _mix(self, learned: Mapping[str, Tensor], part: float) -> None:
        for name, kept in self.mean.state_dict().items():
            old = self.start[name]
            kept.copy_(torch.lerp(old, learned[name], part) if old.is_floating_point() else old)

    @property
    def described(self) -> list[tuple[str, tuple[int, ...], float, float]]:
        """Names, shapes and contrasts of the sources."""
        return [(s.name, tuple(s.image.shape), float(s.contrast[0]), float(s.contrast[1])) for s in self.sources]

    def save(self, path: Path) -> None:
        """Write the picture of the run; it appears whole or not at all."""
        state = {
            "settings": dataclasses.asdict(self.settings), "sources": self.described, "model": self.model,
            "net": self.net.state_dict(), "mean": self.mean.state_dict(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "seconds": self.seconds, "log": self.log, "best": self.best,
        }  # fmt: skip
        with atomic_write(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path) -> None:
        """Go on from a picture of the run."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever its pickle reader stumbles over
            raise CorruptFileError(f"{path} is damaged: {error}. Delete it to begin again.") from error
        # Pictures of before have fewer settings, which were as they are by default now, and say nothing else.
        then = {**dataclasses.asdict(Settings(**state["settings"])), "model": state.get("model", self.model)}
        now = {**dataclasses.asdict(self.settings), "model": self.model}
        other = [f"{k} {then[k]}, now {now[k]}" for k in then if then[k] != now[k] and k not in ("workers", "devices")]
        if (before := state.get("sources", self.described)) != self.described:
            other.append(f"data {_listed(before)}, now {_listed(self.described)}")
        if other:
            raise ModelError(
                f"{path.name} holds a run that was stopped, with {'; '.join(other)}. To go on with it, give it the "
                f"same data and settings again. To begin anew, choose Start over in the form, or delete {path}."
            )
        self.net.load_state_dict(state["net"])
        self.mean.load_state_dict(state["mean"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.log = state["step"], state["seconds"], state["log"]
        self.best = state.get("best", {})

    def finished_spec(self) -> ModelSpec:
        """Return the card with what happened."""
        values = {k: v for k, v in dataclasses.asdict(self.settings).items() if k not in ("widths", "depths")}
        own = {k: v for k, v in values.items() if v is not None}
        training = {**self.spec.training, **own, "steps_done": self.step, "watched": self.log}
        data = self.spec.data or tuple(sorted({s.name for s in self.sources}))
        return dataclasses.replace(self.spec, data=data, training=training)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the running mean of the weights, which is what is kept in the end, towards the net."""
        keep = min(self.settings.average, (1 + self.step) / (10 + self.step))
        for slow, fast in zip(self.mean.state_dict().values(), self.net.state_dict().values(), strict=True):
            if slow.is_floating_point():
                slow.lerp_(fast, 1 - keep)
            else:
                slow.copy_(fast)


class Drawn(Dataset[Batch]):
    """Pictures, targets and weights of each step: they depend on the seed and the step alone."""

    def __init__(self, sources: Sequence[Source], spec: ModelSpec, settings: Settings, size: Size) -> None:
        self.sources, self.spec, self.settings, self.size = sources, spec, settings, size
        self.share = slice(_rank(), None, settings.devices if distributed.is_initialized() else 1)

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.settings.seed, step])
        images, ids = draw_batch(
            self.sources, rng, self.size, self.settings.batch, augment=self.settings.augment, share=self.share
        )
        x = torch.from_numpy(self.spec.normalise(images, 0.0, 1.0)[:, None])
        truth, weights = batch_targets(ids, self.spec)
        if self.settings.balance:
            weights["semantic"] = balanced(truth["semantic"], weights["semantic"])
        if self.settings.balance_sizes:
            weights["semantic"] *= torch.from_numpy(np.stack([size_weights(one) for one in ids]))
        return x, truth, weights


# Several devices: each draws its share of a batch, all see the losses of all of it, and their gradients are added.


def join(folder: Path, rank: int, count: int) -> None:
    """Make this process one of several that share each batch; they meet in a folder.

    Raises
    ------
    InputError
        If there are GPUs, but fewer.
    """
    gpus = torch.cuda.device_count()
    if 0 < gpus < count:
        raise InputError(f"There are {gpus} GPUs here, got devices={count}.")
    if gpus:
        torch.cuda.set_device(rank)
    place = (folder / "meeting").resolve().as_uri()
    distributed.init_process_group("nccl" if gpus else "gloo", init_method=place, rank=rank, world_size=count)


def leave() -> None:
    """End what `join` began, once all are here: the end of one while others still listen can abort them."""
    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def _rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def _agreed(value: float) -> float:
    """Return what the first device says: clocks differ."""
    if not distributed.is_initialized():
        return value
    said = torch.tensor(value, dtype=torch.float64, device="cuda" if torch.cuda.is_available() else "cpu")
    distributed.broadcast(said, 0)
    return float(said)


def _gathered(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the patches of all devices; those of this one alone lead back to its weights."""
    if not distributed.is_initialized():
        return tensors
    found = {}
    for name, own in tensors.items():
        parts = [
            torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(distributed.get_world_size())
        ]
        distributed.all_gather(parts, own.detach().contiguous())
        parts[_rank()] = own
        found[name] = torch.cat(parts)
    return found


def freeze(net: nn.Module, stages: int) -> None:
    """Keep the first stages of an encoder as they are: their weights, and the statistics of their normalisation.

    Raises
    ------
    ModelError
        If the net has no encoder, or fewer stages.
    """
    encoder = getattr(net, "encoder", None)
    layers: list[nn.Module] = [] if encoder is None else list(encoder.children())
    if isinstance(net, UNet):
        parts = [[net.stem, layers[0]], *([a, b] for a, b in zip(net.down, layers[1:], strict=True))]
    else:  # a stem and its norm, then a layer for each stage
        parts = [layers[:2], *([layer] for layer in layers[2:])]
    if stages > len(parts):
        raise ModelError(f"Of this net up to {len(parts)} stages of the encoder can be frozen, got freeze={stages}.")
    for part in itertools.chain(*parts[:stages]):
        part.eval().requires_grad_(False)


def _listed(sources: Sequence[tuple[str, tuple[int, ...], float, float]]) -> str:
    """Return what data is, in words; two of a name and a size may still differ in their grey values."""
    kinds = Counter(
        f"{name} ({' x '.join(map(str, shape))}, grey {low:g} to {high:g})" for name, shape, low, high in sources
    )
    some = [f"{count} x {what}" if count > 1 else what for what, count in kinds.most_common(3)]
    return ", ".join(some) + (f" and {len(kinds) - 3} more" if len(kinds) > 3 else "")


def _moved(tensors: Mapping[str, Tensor], device: str) -> dict[str, Tensor]:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}


def own_score(look: Mapping[str, float]) -> float | None:
    """Return the mean IoU of what was held out, without the `REFERENCE`; None where nothing was."""
    scores = [v for k, v in look.items() if k.startswith("iou")]
    return float(np.mean(scores)) if scores else None


def best_look(log: Sequence[Mapping[str, float]]) -> int:
    """Return the place of the look that was kept: of a tempered run the last, else the one with the best score."""
    if log and "part" in log[-1]:
        return len(log) - 1
    return int(np.argmax([own_score(look) or 0.0 for look in log])) if log else 0


def choose_part(looks: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the look at the best of several mixes of old (the first) and learned weights (the last)."""
    least = looks[0].get(REFERENCE, 0.0) - FORGOTTEN
    kept = [look for look in looks if look.get(REFERENCE, 0.0) >= least]
    scores = [own_score(look) or 0.0 for look in kept]
    if min(scores) == max(scores):  # nothing was held out, or nothing is in it
        return next((look for look in kept if look["part"] >= 0.5), kept[-1])
    return kept[int(np.argmax(scores))]


def _rate(fraction: float) -> float:
    """Warm up for a thirtieth of the run, then fall along a cosine."""
    return float(min(1.0, fraction * 30 + 0.02) * (0.5 + 0.5 * np.cos(np.pi * fraction)) + 0.005)


def as_it_is(net: nn.Module, spec: ModelSpec) -> Predictor:
    """Return what runs a net on stacks at their own pixels, black and white being the ends of their intensity."""
    # A net without a hash is run as it is now.
    model = Model(dataclasses.replace(spec, sha256="", intensity="range"), net)
    return Predictor(model, Recipe(pixel_size="as is"))


@torch.inference_mode()
def watch(net: nn.Module, spec: ModelSpec, sources: Sequence[Source]) -> dict[str, float]:
    """Return the foreground IoU of the held planes, as {"iou NAME": 0..1}; sources of one name are counted together.

    Of many held planes of a source a dozen is looked at, but nets of blocks see all that lie beside each other at once.
    What is unknown counts nothing. That of the `REFERENCE` has no "iou" before its name.
    """
    predictor = as_it_is(net, spec)
    counts: dict[str, npt.NDArray[np.int64]] = {}
    for source in sources:
        held = sorted(source.held)
        if spec.dimension == 2:
            held = held[:: max(1, len(held) // _WATCHED)]
        apart = np.flatnonzero(np.diff(held) > 1) + 1 if spec.dimension == 3 else range(1, len(held))
        for part in np.split(held, apart) if held else ():
            image, labels = (volume[part[0] : part[-1] + 1] for volume in (source.image, source.labels))
            stack = Stack(image, intensity=source.contrast)
            maps = predictor.maps(stack if spec.dimension == 3 else stack.plane(0))
            found = maps.semantic[0].reshape(labels.shape) >= 128
            found, truth = (mask & (labels != source.ignore) for mask in (found, labels > 0))
            counts[source.name] = counts.get(source.name, 0) + np.array([(found & truth).sum(), (found | truth).sum()])
    return {
        REFERENCE if name == REFERENCE else f"iou {name}": round(int(both) / max(int(either), 1), 4)
        for name, (both, either) in counts.items()
    }
