#!/usr/bin/env python3
"""How fast GenAU's parts are on one thread, or on a GPU: beside a bare matrix product in the same run.

usage: python -m benchmarks.genau [--device cuda] [--sizes small,large] [--batch 32] [--clips 8]

On a CPU: FIT-S forward and training step, encode and decode of the published VAE, the vocoder, each beside the
reference's indicative figure (one thread, other machine) and as a share of the product's speed. On a GPU: training step
(eager and compiled), MFU, clips/s, seconds per generated clip, and how far bfloat16 is from float32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from genau.ddim import ddim, ddim_steps, ddim_times
from genau.diffusion import Schedule
from genau.fit import LARGE, SMALL, TINY, Fit, FitShape
from genau.flops import flops
from genau.mel import FRAMES, MELS
from genau.vae import Vae
from genau.vocoder import Vocoder
from training.lamb import Lamb
from training.mfu import peak_flops

SIZES = {"tiny": TINY, "small": SMALL, "large": LARGE}
PRODUCT = 2048
GUIDED_STEPS = 100


@dataclass(frozen=True)
class Part:
    """`reference_s`: what the reference took on one thread of another machine; None: not measured there."""

    name: str
    flops: float
    run: Callable[[], object]
    reference_s: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sizes", default="small")
    parser.add_argument("--batch", type=int, default=32, help="clips of a training step, on a GPU")
    parser.add_argument("--clips", type=int, default=8, help="that are generated at once, on a GPU")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.device == "cpu":
        torch.set_num_threads(1)
        on_cpu(args.sizes.split(","), args.repeats)
    else:
        for size in args.sizes.split(","):
            on_gpu(size, SIZES[size], torch.device(args.device), args.batch, args.clips)


# -- one thread


def on_cpu(sizes: list[str], repeats: int) -> None:
    """The best of `repeats` runs: what else the machine does only makes them slower."""
    left, right = torch.randn(PRODUCT, PRODUCT), torch.randn(PRODUCT, PRODUCT)
    product = Part("matrix product", 2.0 * PRODUCT**3, lambda: left @ right)
    speed = product.flops / best(product, 5 * repeats)
    print(f"one thread, float32; a bare product of {PRODUCT} x {PRODUCT}: {speed / 1e9:.0f} GFLOP/s\n")
    print("| part | s | GFLOP | share of the product's speed | the reference, indicative |\n|---|---|---|---|---|")
    for part in cpu_parts(sizes):
        seconds = best(part, repeats)
        share = part.flops / seconds / speed
        print(f"| {part.name} | {seconds:.2f} | {part.flops / 1e9:.0f} | {100 * share:.0f} % | {part.reference_s} |")


def cpu_parts(sizes: list[str]) -> list[Part]:
    mel = torch.randn(1, MELS, FRAMES) - 5
    vae, vocoder = Vae().eval(), Vocoder().eval()
    latent = torch.randn(1, vae.shape.latent_channels, FRAMES // vae.shape.shortens)
    parts = []
    for size in sizes:
        shape, net = SIZES[size], Fit(SIZES[size])
        told = "2.6 to 3.3 s" if size == "small" else "6.4 s" if size == "large" else ""
        parts += [
            Part(f"FIT {size}, forward, 1 clip", flops(shape), forward(net, shape), told),
            Part(f"FIT {size}, forward and backward, 1 clip", 3 * flops(shape), learning(net, shape)),
        ]
    return [
        *parts,
        Part("VAE encode, 10.24 s", convolutions(vae.encoder, mel), quiet(lambda: vae.encode(mel)), "1.04 s"),
        Part("VAE decode, 10.24 s", decoding(vae, latent), quiet(lambda: vae.decode(latent)), "1.11 s"),
        Part("vocoder, 10.24 s", plainly(mel), quiet(lambda: vocoder(mel)), "5.5 s"),
    ]


def best(part: Part, repeats: int) -> float:
    part.run()
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        part.run()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def quiet(run: Callable[[], object]) -> Callable[[], object]:
    def within() -> object:
        with torch.inference_mode():
            return run()

    return within


def inputs(shape: FitShape, clips: int, device: str | torch.device = "cpu") -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    return (
        torch.randn(clips, shape.channels, shape.steps, device=device),
        torch.randint(0, 1000, (clips,), device=device),
        torch.randn(clips, shape.text_width, device=device),
        torch.zeros(clips, shape.datasets, device=device),
    )


def forward(net: Fit, shape: FitShape) -> Callable[[], object]:
    given = inputs(shape, 1)
    return quiet(lambda: net(*given))


def learning(net: Fit, shape: FitShape) -> Callable[[], object]:
    given = inputs(shape, 1)

    def run() -> None:
        net.zero_grad(set_to_none=True)
        net(*given)[0].square().mean().backward()

    return run


def convolutions(net: nn.Module, given: torch.Tensor) -> float:
    """FLOP of one pass, as PyTorch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    net.requires_grad_(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(given)
    return float(counter.get_total_flops())


def plainly(mel: torch.Tensor) -> float:
    """The vocoder's direct sums, as it takes them anywhere but on a CPU."""
    return convolutions(Vocoder().to("meta"), mel.to("meta"))


def decoding(vae: Vae, latent: torch.Tensor) -> float:
    return convolutions(vae.decoder, vae.post_quant_conv(latent).detach())


# -- a GPU


def on_gpu(size: str, shape: FitShape, device: torch.device, batch: int, clips: int) -> None:
    peak = peak_flops(device)
    print(f"\nFIT {size} on {torch.cuda.get_device_name(device)}, bfloat16, {batch} clips a step\n")
    print("| | step s | clips/s | MFU |\n|---|---|---|---|")
    for compiled in (False, True):
        torch.manual_seed(0)
        net = Fit(shape).to(device)
        if compiled:
            for block in net.blocks:
                block.compile()
        seconds = timed(training_step(net, shape, batch, device), 10)
        share = "" if peak is None else f"{100 * 3 * flops(shape) * batch / seconds / peak:.0f} %"
        print(f"| {'compiled' if compiled else 'eager'} | {seconds:.3f} | {batch / seconds:.1f} | {share} |")
    generating(net.eval(), shape, clips, device)
    parity(shape, device)


def training_step(net: Fit, shape: FitShape, batch: int, device: torch.device) -> Callable[[], object]:
    """As the recipes have it: half of the clips get the latent tokens of a first pass, which MFU does not count."""
    optimizer = Lamb(net.parameters(), lr=1e-4)
    x_BCT, t_B, text_BE, dataset_BD = inputs(shape, batch, device)
    noise, heard = torch.randn_like(x_BCT), max(1, batch // 2)
    handed_B = (torch.arange(batch, device=device) < heard).float()

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            with torch.no_grad():
                _, first = net(x_BCT[:heard], t_B[:heard], text_BE[:heard], dataset_BD[:heard])
            latents_BMC = first.new_zeros(batch, *first.shape[1:])
            latents_BMC[:heard] = first
            said, _ = net(x_BCT, t_B, text_BE, dataset_BD, latents_BMC, handed_B)
        (said.float() - noise).square().mean().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


@torch.no_grad()
def generating(net: Fit, shape: FitShape, clips: int, device: torch.device) -> None:
    """With guidance, through VAE and vocoder of the published sizes."""
    _, _, text_BE, dataset_BD = inputs(shape, 2 * clips, device)
    vae, vocoder = Vae().to(device).eval(), Vocoder().to(device).eval()
    schedule = Schedule()
    steps = ddim_steps(schedule, ddim_times(GUIDED_STEPS, schedule.steps))

    def denoise(x_BCT: torch.Tensor, t_B: torch.Tensor, _: object) -> tuple[torch.Tensor, None]:
        both, _ = net(x_BCT.repeat(2, 1, 1), t_B.repeat(2), text_BE, dataset_BD)
        with_it, without = both.float().chunk(2)
        return without + 4.0 * (with_it - without), None

    def run() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            latents = ddim(denoise, torch.randn(clips, shape.channels, shape.steps, device=device), steps)
            if shape.channels == vae.shape.latent_channels:
                vocoder(vae.decode(latents).float())

    seconds = timed(run, 2)
    print(f"\n{seconds / clips:.2f} s per generated clip of 10.24 s ({clips} at once, {GUIDED_STEPS} guided steps)")


@torch.no_grad()
def parity(shape: FitShape, device: torch.device) -> None:
    torch.manual_seed(0)
    net, given = Fit(shape).to(device).eval(), inputs(shape, 4, device)
    true, _ = net(*given)
    with torch.autocast("cuda", torch.bfloat16):
        rounded, _ = net(*given)
    error = (rounded.float() - true).norm() / true.norm()
    print(f"bfloat16 beside float32: relative error of the predicted noise {error:.1e}")


def timed(run: Callable[[], object], repeats: int) -> float:
    """Mean seconds, warm."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(repeats):
        run()
    torch.cuda.synchronize()
    return (time.perf_counter() - begun) / repeats


if __name__ == "__main__":
    main()
