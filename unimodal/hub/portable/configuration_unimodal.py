"""The config of an exported model: what the run was made of, and the names that the ecosystem reads."""

from typing import Any, ClassVar

from transformers import PreTrainedConfig

KNOBS = {
    "text": {"max_len": "max_position_embeddings"},
    "image": {"image_size": "image_size", "patch_size": "patch_size"},
    "audio": {"sample_rate": "sampling_rate", "n_mels": "num_mel_bins"},
    "video": {
        "num_frames": "num_frames",
        "tubelet_size": "tubelet_size",
        "image_size": "image_size",
        "patch_size": "patch_size",
    },
}
"""By the field that a tokenizer reads: its knobs, and how the ecosystem calls them."""


class UnimodalConfig(PreTrainedConfig):
    """Nodes of backbone, tokenizers and task: plain dicts that say everything; `_target_` names the class.

    Sizes under the ecosystem's names (`hidden_size`, `image_size`, ...) are read off the nodes; changing them
    changes nothing. Only `vocab_size` is not in a node: the embedding can be resized.

    Args:
        backbone: the transformer's node, its `block` inside.
        tokenizers: their nodes by the field that each reads: text, image, audio, video. A text node has no
            vocabulary: that is in `tokenizer.json`.
        task: the node of pooling, head and loss.
        modalities: the fields in the order that they have in the sequence: JSON files are sorted by key.
        max_samples: longer waveforms are cut, as in training.
        **kwargs: what every config of transformers takes.

    Raises:
        ValueError: if the nodes lack a size, or `modalities` names another field.
    """

    model_type = "unimodal"
    keys_to_ignore_at_inference: ClassVar = ["past_key_values", "cache"]  # `cache` from transformers 5.24 on

    def __init__(
        self,
        backbone: dict[str, Any] | None = None,
        tokenizers: dict[str, dict[str, Any]] | None = None,
        task: dict[str, Any] | None = None,
        modalities: list[str] | None = None,
        max_samples: int | None = None,
        **kwargs: Any,
    ):
        nodes = tokenizers or {}
        self.modalities, self.max_samples = modalities or list(nodes), max_samples
        if set(self.modalities) != set(nodes):
            raise ValueError(f"config.json: modalities={modalities}, but tokenizers has {', '.join(nodes)}.")
        self.tokenizers = {field: nodes[field] for field in self.modalities}
        self.backbone, self.task = backbone or {}, task or {}
        super().__init__(**{**kwargs, **_backbone_sizes(self.backbone), **_input_sizes(self.tokenizers)})


def _backbone_sizes(node: dict[str, Any]) -> dict[str, Any]:
    if not node:
        return {}
    missing = [knob for knob in ("dim", "depth", "num_heads") if not isinstance(node.get(knob), int)]
    if missing:
        raise ValueError(f"config.json: the backbone's {', '.join(missing)} must be a number.")
    num_heads = node["num_heads"]
    return {
        "hidden_size": node["dim"],
        "num_hidden_layers": node["depth"],
        "num_attention_heads": num_heads,
        "num_key_value_heads": node.get("num_kv_heads") or num_heads,
        "head_dim": node.get("head_dim") or node["dim"] // num_heads,
    }


def _input_sizes(tokenizers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    for field, node in tokenizers.items():
        for knob, name in KNOBS.get(field, {}).items():
            if knob in node:
                sizes.setdefault(name, node[knob])  # of several modalities the first
    if "image_size" in sizes:
        sizes["num_channels"] = 3
    return sizes
