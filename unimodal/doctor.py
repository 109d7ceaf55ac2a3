"""`unimodal doctor`: versions, devices, decoders, and combinations known to be bad with the mend."""

import importlib
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, requires, version

PACKAGES = (
    "torch",
    "torchvision",
    "torchaudio",
    "transformers",
    "tokenizers",
    "datasets",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "soundfile",
    "av",
    "pillow",
    "numpy",
    "scikit-learn",
    "safetensors",
    "tensorboard",
)
MALWARE = ("2.6.2", "2.6.3")
CODECS = {
    ".wav .flac .ogg .opus .mp3": "soundfile",
    ".mp4 .webm .m4a .avi": "av",
    ".jpg .png .webp .gif .tiff": "PIL",
}


def doctor() -> int:
    """Look at this installation and say what is wrong; returns 1 if anything must be mended."""
    problems = [*_version_problems(), *_import_problems()]
    lines = [
        f"unimodal {_version('unimodal')}, Python {platform.python_version()}, {platform.platform()}",
        "",
        "packages",
    ]
    lines += [f"  {name:<14} {_version(name)}" for name in PACKAGES]
    lines += ["", "devices", *_devices(), "", "decoders", *_decoders(), "", "problems"]
    lines += [f"  {problem}" for problem in problems] or ["  none"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if problems else 0


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _version_problems() -> list[str]:
    """Where an installed version leaves the bounds of our own metadata."""
    from packaging.requirements import Requirement

    problems = []
    for line in requires("unimodal") or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = _version(requirement.name)
        if found == "not installed":
            problems.append(f"{requirement.name} is not installed: pip install '{line}'")
        elif not requirement.specifier.contains(found, prereleases=True):
            problems.append(
                f"{requirement.name} {found} is outside {requirement.specifier}: pip install '{line}'"
            )
    if _version("lightning") in MALWARE:
        problems.append(
            "this lightning release was malware: pip install 'lightning>=2.6.6', and change your secrets."
        )
    return problems


def _import_problems() -> list[str]:
    problems = []
    for name, mend in {
        "torch": "pip install 'torch>=2.11,<2.15'",
        "torchvision": "torchvision must fit torch: pip install 'torch<2.15' 'torchvision<0.30'",
        "torchaudio": (
            "torchaudio 2.11 needs torch of the same CUDA: pip install 'torch<2.15' 'torchaudio<2.12'"
        ),
        "transformers": "pip install 'transformers>=5.18,<6'",
    }.items():
        try:
            importlib.import_module(name)
        except Exception as error:
            problems.append(f"{name} does not import ({str(error).splitlines()[0]}): {mend}")
    return problems


def _devices() -> list[str]:
    try:
        import torch

        from unimodal.training.hardware import cpu_gains_by_bf16
    except Exception as error:
        return [f"  unknown: {error}"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gain = "gains by bf16" if cpu_gains_by_bf16() else "no bf16 in hardware: fp32 is faster"
    lines = [f"  cpu   {cores} cores, {torch.get_num_threads()} threads, {gain}"]
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        bf16 = "bf16" if (properties.major, properties.minor) >= (8, 0) else "no bf16"
        lines.append(f"  cuda:{i} {properties.name}, {properties.total_memory / 2**30:.0f} GiB, {bf16}")
    if torch.backends.mps.is_available():
        lines.append("  mps")
    return lines


def _decoders() -> list[str]:
    lines = []
    for formats, module in CODECS.items():
        try:
            importlib.import_module(module)
            lines.append(f"  {formats:<30} {module}")
        except Exception as error:
            lines.append(f"  {formats:<30} {module} does not import: {error}")
    return lines
