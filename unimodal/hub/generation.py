"""generation_config.json: how a language model continues a text unless it is told otherwise."""

from pathlib import Path

from transformers import GenerationConfig

from unimodal.hub.labels import special_ids
from unimodal.hub.trained import Trained

SAMPLING = {"temperature": 0.8, "top_k": None, "top_p": 0.95}  # of a language model that does not say


def write_generation(folder: Path, trained: Trained) -> None:
    """The run's sampling and special tokens."""
    temperature, top_k, top_p = (trained.task.get(knob, usual) for knob, usual in SAMPLING.items())
    sampling = {
        "do_sample": True,
        "temperature": temperature,
        "top_k": top_k or 0,  # 0: all
        "top_p": top_p or 1.0,
    }
    ids = special_ids(trained.tokenizers["text"]["vocabulary"])
    GenerationConfig(**ids, **(sampling if temperature else {"do_sample": False})).save_pretrained(folder)
