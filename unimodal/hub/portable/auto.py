"""Which class stands behind which auto class of transformers."""

AUTO_CLASSES = {
    "AutoModel": "UnimodalModel",
    "AutoModelForImageClassification": "UnimodalForImageClassification",
    "AutoModelForAudioClassification": "UnimodalForAudioClassification",
    "AutoModelForVideoClassification": "UnimodalForVideoClassification",
    "AutoModelForSequenceClassification": "UnimodalForSequenceClassification",
    "AutoModelForCausalLM": "UnimodalForCausalLM",
}

OF_FIELD = {
    "image": "AutoModelForImageClassification",
    "audio": "AutoModelForAudioClassification",
    "video": "AutoModelForVideoClassification",
    "text": "AutoModelForSequenceClassification",
}
"""Of a pooled task, by the field that a tokenizer reads."""


def auto_map(auto_classes: list[str]) -> dict[str, str]:
    """What `config.json` says of them: `module.Class`."""
    classes = {name: f"modeling_unimodal.{AUTO_CLASSES[name]}" for name in auto_classes}
    return {"AutoConfig": "configuration_unimodal.UnimodalConfig", **classes}
