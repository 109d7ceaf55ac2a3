"""The lines of Python that load a folder and ask its model something."""

from collections.abc import Sequence

from unimodal.hub.usage_by_head import CAPTIONER, PAIRED, PICTURE_TEXT, TRANSCRIBER
from unimodal.hub.usage_files import Reading, ordered
from unimodal.hub.usage_inputs import RESAMPLED, input_of

LANGUAGE_MODEL = "LanguageModeling"
SKIPPED = "skip_special_tokens=True"
TOKENS = "feature-extraction"  # the hub's name of a model that gives a vector for each token
PREDICTING = ("Classification", "Regression")
STEPS = "# step by step"  # the comment between the pipeline's lines and those without it
READ_ALL = Reading()


def pipeline_tag(task: str, modality: str, modalities: Sequence[str] = ()) -> str:
    """The hub's name of what the model does, which is mostly its pipeline's too.

    Args:
        task: its class's name.
        modality: the first that it reads.
        modalities: all of them.
    """
    if task == CAPTIONER:
        return f"{modality}-text-to-text"
    if task == TRANSCRIBER:
        return "automatic-speech-recognition"
    if task == PAIRED and set(modalities) == PICTURE_TEXT:
        return "zero-shot-image-classification"
    if task == LANGUAGE_MODEL:
        return "text-generation"
    if task in PREDICTING:
        return f"{modality}-classification"
    return "image-feature-extraction" if modality == "image" else TOKENS


def usage(
    name: str,
    modality: str,
    task: str,
    class_name: str,
    native: bool,
    num_new: int = 64,
    reading: Reading = READ_ALL,
) -> str:
    """Code that runs as it stands where the file is that it names.

    Args:
        name: of the folder.
        modality: image, audio, video or text.
        task: its class's name; "" for a model without its head.
        class_name: the class that loads the model.
        native: no code of the folder is run.
        num_new: tokens that a language model writes: with learned positions not more than there are.
        reading: of the run, for the lines that read the file.
    """
    given, tag = input_of(modality, reading), pipeline_tag(task, modality)
    piped = tag != TOKENS or modality == "text"  # that pipeline wants a tokenizer
    trust = "" if native else ", trust_remote_code=True"
    writes = task == LANGUAGE_MODEL
    ask = f"print(pipe({f'text, max_new_tokens={num_new}' if writes else given.piped}))"
    answer = (
        f"print(processor.decode(model.generate(**inputs, max_new_tokens={num_new})[0], {SKIPPED}))"
        if writes
        else "print(model(**inputs))"
    )
    loaded = f"from transformers import {', '.join(sorted({given.auto, class_name, *['pipeline'] * piped}))}"
    lines = [
        *ordered((*given.imports, loaded)),
        "",
        *given.function,
        f"path = {name!r}  # this folder, or its name on the hub",
        *given.lines,
        *([f"pipe = pipeline({tag!r}, model=path{trust})"] if piped else []),
        *([ask, "", STEPS] if piped else []),
        f"processor = {given.auto}.from_pretrained(path{trust if modality == 'text' else ''})",
        f"model = {class_name}.from_pretrained(path{trust})",
        *(RESAMPLED if modality == "audio" else ()),
        f"inputs = processor({given.processed}, return_tensors='pt')",
        answer,
    ]
    return "\n".join(lines)


def graph_usage(name: str, modality: str, task: str, num_new: int = 64, reading: Reading = READ_ALL) -> str:
    """The same for a folder with model.onnx; arguments as in `usage`.

    A language model reads its whole text at every step: there is no cache.
    """
    given = input_of(modality, reading)
    called = f"processor({given.processed}, return_tensors='np')"
    load = [
        f"path = {name!r}  # this folder",
        *given.lines,
        f"processor = {given.auto}.from_pretrained(path)",
        *(RESAMPLED if modality == "audio" else ()),
        "session = onnxruntime.InferenceSession(f'{path}/model.onnx')",
    ]
    if task == LANGUAGE_MODEL:
        imports: tuple[str, ...] = ("import numpy", "import onnxruntime")
        ask: tuple[str, ...] = (
            f"ids = {called}['input_ids']",
            f"for _ in range({num_new}):",
            "    (logits,) = session.run(None, {'input_ids': ids, 'attention_mask': numpy.ones_like(ids)})",
            "    ids = numpy.append(ids, logits[:, -1:].argmax(-1), 1)  # the likeliest token",
            "print(processor.decode(ids[0], skip_special_tokens=True))",
        )
    else:
        imports = ("import json", "import onnxruntime")
        ask = (
            f"(logits,) = session.run(None, dict({called}))",
            "labels = json.load(open(f'{path}/config.json')).get('id2label')",
            "print(logits[0], labels)",
        )
    lines = ordered((*imports, *given.imports, f"from transformers import {given.auto}"))
    return "\n".join([*lines, "", *given.function, *load, *ask])


def adapter_usage(name: str, class_name: str, native: bool) -> str:
    """The lines that put a folder's adapter on its model; arguments as in `usage`."""
    trust = "" if native else ", trust_remote_code=True"
    return "\n".join(
        (
            "from peft import PeftModel",
            f"from transformers import {class_name}",
            "",
            f"path = {name!r}  # this folder, or its name on the hub",
            f"model = {class_name}.from_pretrained(path{trust})",
            "# from the hub: PeftModel.from_pretrained(model, path, subfolder='adapter')",
            "model = PeftModel.from_pretrained(model, f'{path}/adapter')",
        )
    )
