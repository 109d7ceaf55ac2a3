"""Run by itself, `python -I clean_process.py REQUEST.json`: loads an exported folder as its users will.

unimodal can not be imported here, nothing comes from the network, and no line of this file is the project's.
The request names the folder, its model class, whether its own code may run, and the samples; the answer is a
.npz of the outputs of each, beside it what was read.
"""

import json
import os
import sys
from importlib.abc import MetaPathFinder
from typing import Any


class Hidden(MetaPathFinder):
    """Makes a package that is installed impossible to import."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Called for each import; raises for unimodal."""
        if fullname.partition(".")[0] == "unimodal":
            raise ModuleNotFoundError(f"No module named {fullname!r}: an exported folder must not need it")


def main(request: dict[str, Any]) -> None:
    """Load, ask, write the answers."""
    import numpy as np
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    folder, trust = request["folder"], bool(request["trust_remote_code"])
    loaded = getattr(transformers, request["model_class"]).from_pretrained(
        folder, trust_remote_code=trust, output_loading_info=True, dtype=torch.float32
    )
    model, info = loaded[0].eval(), loaded[1]
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if set(info[kind]) - set(request["expected_missing"]):
            raise SystemExit(f"{request['model_class']} reports {kind}: {sorted(info[kind])[:5]}")
    processor = getattr(transformers, request["processor_class"]).from_pretrained(folder)
    answers = {}
    with torch.inference_mode():
        for index, sample in enumerate(np.load(request["samples"]).values()):
            inputs = read(processor, request["field"], sample, request["sample_rate"])
            outputs = model(**inputs)
            answers[f"output_{index}"] = outputs[request["output"]][0].float().numpy()
            if "input_ids" in inputs:
                answers[f"ids_{index}"] = inputs["input_ids"][0].numpy()
    answers["version"] = np.array(transformers.__version__)
    np.savez(request["answers"], **answers)


def read(processor: Any, field: str, sample: Any, sample_rate: int | None) -> dict[str, Any]:
    """One sample as the stock processor gives it; image uint8 [H, W, 3], video [T, H, W, 3]."""
    if field == "text":
        inputs = processor(str(sample), return_tensors="pt", truncation=True)
        return {key: inputs[key] for key in ("input_ids", "attention_mask")}
    if field == "audio":
        return dict(processor(sample, sampling_rate=sample_rate, return_tensors="pt"))
    if field == "video":
        return dict(processor(list(sample), return_tensors="pt"))
    return dict(processor(images=sample, return_tensors="pt"))


if __name__ == "__main__":
    sys.meta_path.insert(0, Hidden())
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with open(sys.argv[1], encoding="utf-8") as file:
        main(json.load(file))
