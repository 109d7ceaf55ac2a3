"""The lines of Python for folders that write about media, write speech down, or compare two modalities."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from unimodal.hub.usage_files import Reading, ordered
from unimodal.hub.usage_inputs import INPUTS, RESAMPLED, Input, input_of

CAPTIONER, TRANSCRIBER, PAIRED = "Captioning", "CTC", "Contrastive"
BY_HEAD = (CAPTIONER, TRANSCRIBER, PAIRED)
PICTURE_TEXT = {"image", "text"}
ALL_ALIKE: Mapping[str, Reading] = MappingProxyType({})

Lines = list[str]


def usage_by_head(
    name: str,
    task: str,
    class_name: str,
    modalities: Sequence[str],
    readings: Mapping[str, Reading] = ALL_ALIKE,
) -> str:
    """Code that runs as it stands where the files are that it names.

    Args:
        name: of the folder.
        task: one of `BY_HEAD`.
        class_name: the class that loads the model with its head.
        modalities: that the model reads.
        readings: of the run, by modality, for the lines that read the files.
    """
    inputs = {field: input_of(field, readings.get(field, Reading())) for field in modalities}
    extra, lines = _asked(task, modalities)
    classes = sorted({*(one.auto for one in inputs.values()), class_name, *extra})
    loaded = f"from transformers import {', '.join(classes)}"
    imports = ordered((*(line for one in inputs.values() for line in one.imports), loaded))
    given = [line for field, one in inputs.items() for line in _given(task, field, one)]
    return "\n".join(
        [
            *imports,
            "",
            *(line for one in inputs.values() for line in one.function),
            f"path = {name!r}  # this folder, or its name on the hub",
            f"model = {class_name}.from_pretrained(path, trust_remote_code=True)",
            *given,
            *lines,
        ]
    )


def _asked(task: str, modalities: Sequence[str]) -> tuple[Lines, Lines]:
    """More to import of transformers, and the lines."""
    if task == TRANSCRIBER:
        tokenizer = "tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=True)"
        steps = [
            *(line for field in modalities for line in _processed(field)),
            tokenizer,
            "print(tokenizer.decode(model(**inputs).logits[0].argmax(-1)))",
        ]
        if list(modalities) != ["audio"]:
            return ["AutoTokenizer"], steps
        pipe = "pipe = pipeline('automatic-speech-recognition', model=path, trust_remote_code=True)"
        ask = f"print(pipe({INPUTS['audio'].piped}))"
        return ["AutoTokenizer", "pipeline"], [pipe, ask, "", "# step by step", *steps]
    if task == CAPTIONER:
        media = [field for field in modalities if field != "text"]
        return [], [
            *_processed("text"),
            "tokenizer = processor",
            *(line for field in media for line in _processed(field, "inputs = {**%s, **inputs}")),
            "written = model.generate(**inputs)[0, inputs['input_ids'].shape[1] :]",
            "print(tokenizer.decode(written, skip_special_tokens=True))",
        ]
    vectors = []
    for field in modalities:
        vectors += [
            *_processed(field),
            f"{field}_vectors = model.get_{field}_features(**inputs).pooler_output",
        ]
    vectors.append(
        f"print({' @ '.join(f'{field}_vectors' for field in modalities)}.T)  # cosine similarities"
    )
    if set(modalities) != PICTURE_TEXT:
        return [], vectors
    pipe = "pipe = pipeline('zero-shot-image-classification', model=path, trust_remote_code=True)"
    ask = "print(pipe(image, candidate_labels=['cat', 'dog'], hypothesis_template='{}'))"
    return ["pipeline"], [pipe, ask, "", "# step by step", *vectors]


def _given(task: str, field: str, given: Input) -> Sequence[str]:
    return ("text = ''  # or a prompt",) if (task, field) == (CAPTIONER, "text") else given.lines


def _processed(field: str, kept: str = "inputs = %s") -> Lines:
    given = INPUTS[field]
    trust = ", trust_remote_code=True" if field == "text" else ""
    called = f"processor({given.processed}, return_tensors='pt')"
    return [
        f"processor = {given.auto}.from_pretrained(path{trust})",
        *(RESAMPLED if field == "audio" else ()),
        kept % called,
    ]
