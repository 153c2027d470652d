"""How much of a device's speed a training uses: model FLOPs utilisation (MFU)."""

from __future__ import annotations

import torch

#: Dense bfloat16 TFLOP/s by the makers' data sheets; the first name that the device's own begins with or holds counts.
PEAK_TFLOPS = {
    "H200": 989.4,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.4,
    "A100": 312.0,
}


def peak_flops(device: torch.device) -> float | None:
    """FLOP/s of the device at its best; None for a CPU and for a GPU that is not in the table."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((1e12 * peak for part, peak in PEAK_TFLOPS.items() if part in name), None)


def mfu(flops_per_clip: float | None, clips_per_s: float, peak_flops_all: float | None) -> float | None:
    """Share of the peak of all devices together, 0 to 1, against bfloat16 whatever the training's precision."""
    if flops_per_clip is None or peak_flops_all is None:
        return None
    return flops_per_clip * clips_per_s / peak_flops_all
