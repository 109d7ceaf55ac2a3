"""What this machine can do."""

import torch


def cpu_gains_by_bf16() -> bool:
    """Whether the CPU multiplies bf16 matrices in hardware; without that bf16 is slower than fp32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def device_kind(accelerator: str) -> str:
    """`cuda`, `mps` or `cpu`: what Lightning's accelerator setting will mean here."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "cuda"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def best_precision(accelerator: str) -> str:
    """`bf16-mixed` where the hardware gains by it, else `32-true`."""
    kind = device_kind(accelerator)
    if kind == "cuda":
        gains = torch.cuda.get_device_capability() >= (8, 0)
    else:
        gains = kind == "cpu" and cpu_gains_by_bf16()
    return "bf16-mixed" if gains else "32-true"
