"""Which class stands behind which auto class of transformers."""

from unimodal.hub.portable.names import find
from unimodal.hub.trained import CAPTIONING, CONTRASTIVE, CTC

HERE = "unimodal.hub.portable"
MODELING = "modeling_unimodal"

AUTO_CLASSES = {
    "AutoModel": "UnimodalModel",
    "AutoModelForImageClassification": "UnimodalForImageClassification",
    "AutoModelForAudioClassification": "UnimodalForAudioClassification",
    "AutoModelForVideoClassification": "UnimodalForVideoClassification",
    "AutoModelForSequenceClassification": "UnimodalForSequenceClassification",
    "AutoModelForCausalLM": "UnimodalForCausalLM",
    "AutoModelForImageTextToText": "UnimodalForCaptioning",
    "AutoModelForCTC": "UnimodalForCTC",
    "AutoModelForZeroShotImageClassification": "UnimodalForContrastive",
}

OF_FIELD = {
    "image": "AutoModelForImageClassification",
    "audio": "AutoModelForAudioClassification",
    "video": "AutoModelForVideoClassification",
    "text": "AutoModelForSequenceClassification",
}
"""Of a pooled task, by the field that a tokenizer reads."""

OF_TASK = {
    CAPTIONING: "AutoModelForImageTextToText",  # whatever the media: transformers has no name for all
    CTC: "AutoModelForCTC",
    CONTRASTIVE: "AutoModelForZeroShotImageClassification",  # whatever the pair
}

MODULES = {
    "UnimodalForCaptioning": "modeling_unimodal_captioning",
    "UnimodalForCTC": "modeling_unimodal_ctc",
    "UnimodalForContrastive": "modeling_unimodal_contrastive",
}
"""The files of classes that have one of their own."""


def auto_map(auto_classes: list[str]) -> dict[str, str]:
    """What `config.json` says of them: `module.Class`."""
    names = {name: AUTO_CLASSES[name] for name in auto_classes}
    classes = {name: f"{MODULES.get(model, MODELING)}.{model}" for name, model in names.items()}
    return {"AutoConfig": "configuration_unimodal.UnimodalConfig", **classes}


def model_class(name: str) -> type:
    """The class of ours that is called so."""
    found: type = find(f"{HERE}.{MODULES.get(name, MODELING)}.{name}")
    return found


def modules_of(task: str) -> tuple[str, ...]:
    """The module of the class for such a task, dotted, where it is not in the common one."""
    module = MODULES.get(AUTO_CLASSES.get(OF_TASK.get(task, ""), ""))
    return () if module is None else (f"{HERE}.{module}",)
