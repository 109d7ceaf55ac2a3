"""generation_config.json: how a model writes text unless it is told otherwise."""

from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from unimodal.data.tokenizer_files import GENERATION
from unimodal.hub.labels import special_ids
from unimodal.hub.trained import Trained

SAMPLING = {"temperature": 0.8, "top_k": None, "top_p": 0.95}  # of a language model that does not say


def write_generation(folder: Path, trained: Trained) -> None:
    """The settings that the imported model came with, else the run's sampling and special tokens."""
    vocabulary = trained.tokenizers["text"]["vocabulary"]
    if GENERATION in vocabulary:
        (folder / GENERATION).write_bytes(vocabulary[GENERATION].encode())
        return
    temperature, top_k, top_p = (trained.task.get(knob, usual) for knob, usual in SAMPLING.items())
    settings: dict[str, Any] = {"do_sample": bool(temperature)}
    if temperature:  # top_k 0: all
        settings |= {"temperature": temperature, "top_k": top_k or 0, "top_p": top_p or 1.0}
    if "sample_len" in trained.task:  # else a pipeline writes 256 tokens, too many for learned positions
        settings["max_new_tokens"] = trained.task["sample_len"]
    GenerationConfig(**special_ids(vocabulary), **settings).save_pretrained(folder)


def write_decoding(folder: Path, trained: Trained) -> None:
    """Of a captioner, its decoding; a text begins with the end of the one before."""
    node = trained.task.get("decoding") or {}
    settings: dict[str, Any] = {"max_new_tokens": node.get("max_new_tokens", 64), "do_sample": False}
    if node.get("temperature"):
        settings |= {"do_sample": True, "temperature": node["temperature"]}
        settings |= {"top_k": node.get("top_k") or 0, "top_p": node.get("top_p") or 1.0}
    if node.get("num_beams", 1) > 1:
        settings |= {"num_beams": node["num_beams"], "length_penalty": node.get("length_penalty", 1.0)}
    ids = special_ids(trained.tokenizers["text"]["vocabulary"])
    GenerationConfig(**ids | {"bos_token_id": ids["eos_token_id"]}, **settings).save_pretrained(folder)
