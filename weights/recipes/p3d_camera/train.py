"""Train p3d-camera from nothing: draw the clips, train, measure, write weights/cards/p3d-camera.safetensors.

    python -m weights.recipes.p3d_camera.train

Needs two CPU cores, 6 GB of memory and under an hour. Seeded: only the order of float additions differs between runs.
"""

import argparse
import copy
import math
import multiprocessing
import time
from pathlib import Path as FilePath

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from p3dfeat.config import InputSpec
from p3dfeat.engines.normalize import normalize
from p3dfeat.nets import P3D, Architecture
from weights.recipes.p3d_camera.moves import CLASSES, relabelled
from weights.recipes.p3d_camera.scenes import SIZE, draw_clips

ARCHITECTURE = Architecture((2, 2, 2, 1), kinds="ABC", channels=1, classes=len(CLASSES), base_width=16)
INPUT = InputSpec(channels="luma", resize=(SIZE, SIZE), standardize=True)
SHARD = 600  # clips drawn by one task, from 150 scenes of their own
BATCH = 32
PEAK_RATE = 2e-3
WARM_UP = 600  # steps


def draw(count: int, seed: int, *, processes: int) -> tuple[Tensor, Tensor]:
    """``count`` clips and labels, drawn in shards by ``processes`` processes; the same for any number of them."""
    tasks = [(min(SHARD, count - start), seed + start // SHARD) for start in range(0, count, SHARD)]
    clips = torch.empty(count, 16, SIZE, SIZE, dtype=torch.uint8)
    labels = torch.empty(count, dtype=torch.long)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for i, (drawn, classes) in enumerate(pool.imap(_draw_shard, tasks)):
            clips[i * SHARD : i * SHARD + len(drawn)] = torch.from_numpy(drawn)
            labels[i * SHARD : i * SHARD + len(drawn)] = torch.from_numpy(classes)
    return clips, labels


def _draw_shard(task: tuple[int, int]):  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)
    clips, labels = draw_clips(task[0], task[1], scenes=task[0] // 4)
    return clips.numpy(), labels.numpy()


def augmented(clips: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The batch mirrored, flipped, transposed and played backwards at random, with the classes that makes."""
    clips, labels = clips.clone(), labels.clone()
    changes = {
        "mirrored": lambda x: x.flip(3),
        "flipped": lambda x: x.flip(2),
        "transposed": lambda x: x.transpose(2, 3),
        "reversed": lambda x: x.flip(1),
    }
    for name, change in changes.items():
        chosen = torch.rand(len(clips), generator=generator) < 0.5
        clips[chosen] = change(clips[chosen])
        labels[chosen] = torch.tensor(relabelled(name))[labels[chosen]]
    return clips, labels


def new_net() -> P3D:
    """He-normal weights; T starts antisymmetric in time, a derivative, since motion is all there is to see."""
    net = P3D(ARCHITECTURE)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if name.endswith("conv_temporal"):
                weight = module.weight.data
                weight[:, :, 2] = -weight[:, :, 0]
                weight[:, :, 1] *= 0.5
            if module.weight.ndim == 5:
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
    return net


def train(clips: Tensor, labels: Tensor, *, samples: int, seed: int, held_out: tuple[Tensor, Tensor]) -> P3D:
    """A net trained on ``samples`` augmented draws from ``clips``; the running mean of its weights is returned."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = new_net()
    averaged = copy.deepcopy(net)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE)
    steps = samples // BATCH
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    started, running_loss = time.monotonic(), math.log(len(CLASSES))
    for step in range(steps):
        rate = min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * rate
        chosen = torch.randint(len(clips), (BATCH,), generator=generator)
        batch, target = augmented(clips[chosen], labels[chosen], generator)
        loss = loss_of(net(normalize(batch[..., None], INPUT))["logits"], target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            keep = min(0.998, (step + 1) / (step + 10))
            for mean, now in zip(averaged.state_dict().values(), net.state_dict().values(), strict=True):
                if mean.dtype.is_floating_point:
                    mean.lerp_(now, 1 - keep)
        running_loss += 0.01 * (loss.item() - running_loss)
        if (step + 1) % 500 == 0 or step + 1 == steps:
            correct = accuracy(averaged, *held_out)
            minutes = (time.monotonic() - started) / 60
            print(
                f"{(step + 1) * BATCH:7d} samples  loss {running_loss:.3f}  held out {correct:.1%}  {minutes:.1f} min",
                flush=True,
            )
    return averaged.eval()


def accuracy(net: P3D, clips: Tensor, labels: Tensor) -> float:
    return float((predict(net, clips) == labels).float().mean())


def predict(net: P3D, clips: Tensor) -> Tensor:
    """Class indices (N,) of luma clips (N, 16, SIZE, SIZE) uint8."""
    net.eval()
    with torch.inference_mode():
        logits = [net(normalize(part[..., None], INPUT))["logits"] for part in clips.split(64)]
    return torch.cat(logits).argmax(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=FilePath, default=FilePath("weights/cards/p3d-camera.safetensors"))
    parser.add_argument("--clips", type=int, default=36_000, help="clips drawn, each used many times")
    parser.add_argument("--samples", type=int, default=220_000, help="augmented clips trained on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.processes)
    held_out = draw(1200, 10**6 + args.seed, processes=args.processes)
    clips, labels = draw(args.clips, 1000 * args.seed, processes=args.processes)
    print(f"{len(clips)} clips drawn", flush=True)
    net = train(clips, labels, samples=args.samples, seed=args.seed, held_out=held_out)
    weights = {
        name: value.contiguous().to(torch.float16 if value.dtype.is_floating_point else value.dtype)
        for name, value in net.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(weights, args.out)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
