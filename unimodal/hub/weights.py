"""model.safetensors, in several files where it is large."""

from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import save_torch_state_dict
from torch import Tensor

MAX_SHARD_SIZE = "5GB"


def write_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write tensors, each with a storage of its own."""
    whole = {name: _whole(tensor.detach()) for name, tensor in weights.items()}
    save_torch_state_dict(whole, folder, max_shard_size=MAX_SHARD_SIZE, metadata={"format": "pt"})


def _whole(tensor: Tensor) -> Tensor:
    """Without what its storage holds beside it, as torch's Hann window does, which safetensors refuses."""
    alone = tensor.contiguous()
    return alone if alone.untyped_storage().nbytes() == alone.nbytes else alone.clone()
