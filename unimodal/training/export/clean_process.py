"""Run by itself, `python -I clean_process.py REQUEST.json`: loads an exported folder as its users will.

unimodal can not be imported here, nothing comes from the network, and no line of this file is the project's.
The request names the folder, its model class, whether its own code may run, and the samples; the answer is a
.npz of the outputs of each, beside it what was read.
"""

import json
import os
import sys
from collections.abc import Callable
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
    answers = write(request) if request["kind"] == "texts" else outputs(request)
    answers["version"] = np.array(transformers.__version__)
    np.savez(request["answers"], **answers)


def outputs(request: dict[str, Any]) -> dict[str, Any]:
    """What the model says of each sample, and of all together where it is a graph."""
    import numpy as np
    import transformers

    ask = graph(request) if request["graph"] else model(request)
    processor = getattr(transformers, request["processor_class"]).from_pretrained(request["folder"])
    samples, answers = list(np.load(request["samples"]).values()), {}
    for index, sample in enumerate(samples):
        inputs = read(processor, request, [sample])
        answers[f"output_{index}"] = ask(inputs)[0]
        if "input_ids" in inputs:
            answers[f"ids_{index}"] = inputs["input_ids"][0].numpy()
    if request["graph"]:
        inputs = read(processor, request, samples)
        for index, output in enumerate(real(ask(inputs), inputs)):
            answers[f"together_{index}"] = output
    return answers


def write(request: dict[str, Any]) -> dict[str, Any]:
    """What the model writes of the media and the prompt of each sample, taking the likeliest token."""
    import numpy as np
    import torch
    import transformers

    loaded, classes = load(request), request["processor_classes"]
    processors = {
        field: getattr(transformers, classes[field]).from_pretrained(request["folder"]) for field in classes
    }
    arrays, answers = np.load(request["samples"]), {}
    for index in range(request["num_samples"]):
        prompt = str(arrays[f"{index}_prompt"])
        inputs = dict(processors["text"](prompt, return_tensors="pt"))
        for field in classes:
            if field != "text":
                media = read(processors[field], request | {"field": field}, [arrays[f"{index}_{field}"]])
                inputs = media | inputs  # a sound alone has no padding that its mask could show
        written = loaded.generate(
            **inputs,
            max_new_tokens=request["max_new_tokens"],
            do_sample=False,
            num_beams=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
        answers[f"ids_{index}"] = written.sequences[0].numpy()
        answers[f"output_{index}"] = torch.cat(written.logits).float().numpy()
    return answers


def load(request: dict[str, Any]) -> Any:
    """The folder's model as transformers loads it, with its adapter where there is one."""
    import torch
    import transformers

    loaded, info = getattr(transformers, request["model_class"]).from_pretrained(
        request["folder"],
        trust_remote_code=bool(request["trust_remote_code"]),
        output_loading_info=True,
        dtype=torch.float32,
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if set(info[kind]) - set(request["expected_missing"]):
            raise SystemExit(f"{request['model_class']} reports {kind}: {sorted(info[kind])[:5]}")
    if request["adapter"]:
        from peft import PeftModel

        loaded = PeftModel.from_pretrained(loaded, request["adapter"])
    return loaded.eval()


def model(request: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """What is asked of it."""
    import torch

    loaded = load(request)
    called = getattr(loaded, request["method"]) if request["method"] else loaded

    @torch.inference_mode()
    def ask(inputs: dict[str, Any]) -> Any:
        return called(**inputs)[request["output"]].float().numpy()

    return ask


def graph(request: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """The folder's model.onnx as onnxruntime loads it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        os.path.join(request["folder"], "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return lambda inputs: session.run(None, {key: value.numpy() for key, value in inputs.items()})[0]


def real(outputs: Any, inputs: dict[str, Any]) -> list[Any]:
    """Of a batch, the row of each sample without what padding became; none where that can not be told."""
    import torch

    if outputs.ndim < 3 or not any("mask" in key for key in inputs):
        return list(outputs)
    if "input_ids" not in inputs:  # of sound the graph alone knows which samples make a token
        return []
    masks = inputs["attention_mask"].bool()
    num_before = outputs.shape[1] - masks.shape[1]  # learned tokens before the text
    kept = masks.new_ones(masks.shape[0], num_before)
    return [row[mask] for row, mask in zip(outputs, torch.cat((kept, masks), 1).numpy(), strict=True)]


def read(processor: Any, request: dict[str, Any], samples: list[Any]) -> dict[str, Any]:
    """One sample or several as the stock processor gives them; image uint8 [H, W, 3], clip [T, H, W, 3]."""
    field, padding = request["field"], {"padding": True} if len(samples) > 1 else {}
    if field == "text":
        inputs = processor([str(one) for one in samples], return_tensors="pt", truncation=True, **padding)
        return {key: inputs[key] for key in ("input_ids", "attention_mask")}
    if field == "video":
        samples = [list(clip) for clip in samples]
    given = samples if len(samples) > 1 else samples[0]
    if field == "audio":
        rate = request["sample_rate"]
        return dict(processor(given, sampling_rate=rate, return_tensors="pt", **padding))
    return dict(processor(given, return_tensors="pt"))


if __name__ == "__main__":
    sys.meta_path.insert(0, Hidden())
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with open(sys.argv[1], encoding="utf-8") as file:
        main(json.load(file))
