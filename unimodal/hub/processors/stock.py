"""What a processor file says, over the defaults of the class that it names; nothing of it is ever called."""

import inspect
from typing import Any

from transformers import FeatureExtractionMixin
from transformers.image_processing_utils import BaseImageProcessor, get_size_dict
from transformers.models.auto.feature_extraction_auto import (
    FEATURE_EXTRACTOR_MAPPING_NAMES,
    feature_extractor_class_from_name,
)
from transformers.models.auto.image_processing_auto import (
    IMAGE_PROCESSOR_MAPPING_NAMES,
    get_image_processor_class_from_name,
)
from transformers.models.auto.video_processing_auto import (
    VIDEO_PROCESSOR_MAPPING_NAMES,
    video_processor_class_from_name,
)

Values = dict[str, Any]


def sound_values(file: Values, model_type: str) -> Values | None:
    """Of a feature extractor for sound; None where neither file nor model type speaks of one."""
    name = file.get("feature_extractor_type") or (
        FEATURE_EXTRACTOR_MAPPING_NAMES.get(model_type) if _is_nameless(file) else None
    )
    found = _subclass(feature_extractor_class_from_name(name), FeatureExtractionMixin) if name else None
    if found is None:
        return None
    parameters = inspect.signature(found).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {"kind": name} | defaults | _said(file)


def picture_values(file: Values, model_type: str) -> Values | None:
    """Of an image processor; None where it is none, or one whose family reads clips."""
    name = _picture_name(file, model_type)
    found = _subclass(get_image_processor_class_from_name(name), BaseImageProcessor) if name else None
    if found is None or _video_class(name) is not None:
        return None
    return _pixels(name, found, file)


def clip_values(file: Values, model_type: str) -> Values | None:
    """Of a video processor, or of the image processor that stood for it; None where it is neither."""
    listed: Any = VIDEO_PROCESSOR_MAPPING_NAMES.get(model_type) or ""
    if isinstance(listed, dict):  # by backend, in newer versions
        listed = listed.get("torchvision", "")
    named = file.get("video_processor_type") or _picture_name(file, "")
    name = named or (listed if _is_nameless(file) else "")
    found = _video_class(name)
    return None if found is None else _pixels(found.__name__, found, file)


def _picture_name(file: Values, model_type: str) -> str:
    """Of an image processor's torchvision class, whatever the version that wrote it called it; "" if none.

    Folders of transformers 4 may name a `ViTFeatureExtractor` or a `ViTImageProcessorFast`.
    """
    older = str(file.get("feature_extractor_type") or "").replace("FeatureExtractor", "ImageProcessor")
    name = str(file.get("image_processor_type") or older)
    if name or not _is_nameless(file):
        return name.removesuffix("Fast").removesuffix("Pil")
    tower = model_type.removesuffix("_vision_model")
    listed = IMAGE_PROCESSOR_MAPPING_NAMES.get(model_type) or IMAGE_PROCESSOR_MAPPING_NAMES.get(tower) or {}
    return listed.get("torchvision") or ""


def _video_class(name: str) -> type | None:
    name = name.replace("ImageProcessor", "VideoProcessor")
    return _subclass(video_processor_class_from_name(name), BaseImageProcessor) if name else None


def _subclass(found: Any, base: type) -> type | None:
    """A name in a file may be that of anything in transformers."""
    return found if isinstance(found, type) and issubclass(found, base) else None


def _is_nameless(file: Values) -> bool:
    return not any(key.endswith("_type") or key == "auto_map" for key in file)


def _pixels(name: str, found: type, file: Values) -> Values:
    """Class attributes are its defaults; sizes are brought to dicts, as the class itself does."""
    defaults = {key: value for base in reversed(found.__mro__) for key, value in vars(base).items()}
    values: Values = {"kind": name, "rescale_factor": 1 / 255} | _said(defaults) | _said(file)
    square = bool(values.get("default_to_square", True))
    for key, to_square in (("size", square), ("crop_size", True)):
        if values.get(key) is not None:
            values[key] = dict(get_size_dict(values[key], default_to_square=to_square, param_name=key))
    return values


def _said(values: Values) -> Values:
    """None leaves the default."""
    return {key: value for key, value in values.items() if value is not None}
