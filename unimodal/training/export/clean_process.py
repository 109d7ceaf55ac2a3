"""Run by itself, `python -I clean_process.py REQUEST.json`: loads an exported folder as its users will.

unimodal cannot be imported here, nothing comes from the network, and no line of this file is the project's.
The request names the folder, its model class, whether its own code may run, the samples and the lines of the
model card; the answer is a .npz of the outputs of each sample, of what was read and what `generate` wrote.
"""

import json
import os
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
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
    ask = asker(request)
    answers = outputs(request, ask) | write(request) | lines_of_card().run_lines(request, ask)
    answers["version"] = np.array(transformers.__version__)
    np.savez(request["answers"], **answers)


def lines_of_card() -> Any:
    """The module beside this file, which runs the lines of the card."""
    place = Path(__file__).with_name("clean_lines.py")
    spec = spec_from_file_location(place.stem, place)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def asker(request: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """What gives the folder's outputs for a batch of inputs; loaded when it is first asked."""
    loaded: list[Callable[[dict[str, Any]], Any]] = []

    def ask(inputs: dict[str, Any]) -> Any:
        if not loaded:
            loaded.append(graph(request) if request["graph"] else model(request))
        return loaded[0](inputs)

    return ask


def outputs(request: dict[str, Any], ask: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """What the model says of each sample, and of all together where it is a graph."""
    import numpy as np
    import transformers

    arrays, answers = np.load(request["samples"]), {}
    samples = [arrays[f"sample_{index}"] for index in range(request["num_samples"])]
    if not samples:
        return {}
    processor = getattr(transformers, request["processor_class"]).from_pretrained(request["folder"])
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
    """What `generate` writes with its cache, taking the likeliest token: each prompt alone, then all."""
    import numpy as np
    import transformers

    if not request["num_prompts"]:
        return {}
    loaded, classes = load(request), request["processor_classes"]
    processors = {
        field: getattr(transformers, classes[field]).from_pretrained(request["folder"]) for field in classes
    }
    processors["text"].padding_side = "left"
    arrays, answers = np.load(request["samples"]), dict[str, Any]()
    batches = [[index] for index in range(request["num_prompts"])]
    if request["padded"] and len(batches) > 1:
        batches.append(list(range(request["num_prompts"])))
    for num, batch in enumerate(batches):
        inputs = read(processors["text"], request | {"field": "text"}, [arrays[f"prompt_{i}"] for i in batch])
        for field in classes:
            if field != "text":
                media = [arrays[f"{field}_{i}"] for i in batch]
                inputs = together(read(processors[field], request | {"field": field}, media), inputs)
        for index, (ids, logits) in zip(batch, written(loaded, request, inputs), strict=True):
            kind = "alone" if num < request["num_prompts"] else "padded"
            answers |= {f"{kind}_ids_{index}": ids, f"{kind}_logits_{index}": logits}
    return answers


def together(media: dict[str, Any], text: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a captioner: the mask of padded sounds gives way to that of the prompts."""
    padded = len(text["input_ids"]) > 1
    return {
        "input_values_mask" if key == "attention_mask" else key: value
        for key, value in media.items()
        if key != "attention_mask" or padded
    } | text


def written(loaded: Any, request: dict[str, Any], inputs: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Of each row its ids, padding left out, up to its first end of text, and the logits of the new ones."""
    import torch

    found = loaded.generate(
        **inputs,
        max_new_tokens=request["max_new_tokens"],
        do_sample=False,
        num_beams=1,
        use_cache=True,
        output_logits=True,
        return_dict_in_generate=True,
    )
    ends, rows = loaded.generation_config.eos_token_id, []
    ends = torch.tensor([] if ends is None else ends).flatten()
    length, logits = inputs["input_ids"].shape[1], torch.stack(found.logits, 1).float()
    for ids, mask, row in zip(found.sequences, inputs["attention_mask"].bool(), logits, strict=True):
        new = ids[length:]
        over = torch.isin(new, ends).nonzero()
        num = int(over[0]) + 1 if len(over) else len(new)
        rows.append((torch.cat((ids[:length][mask], new[:num])).numpy(), row[:num].numpy()))
    return rows


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
    """Of a batch, the row of each sample without what padding became; none where that cannot be told."""
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
        if processor.pad_token is None:
            processor.pad_token = processor.eos_token
        cut = {"truncation": True, "max_length": request["max_len"]}
        inputs = processor([str(one) for one in samples], return_tensors="pt", **cut, **padding)
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
