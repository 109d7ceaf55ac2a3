"""What the processor files of a folder say, as knobs of our tokenizers."""

from typing import Any

from unimodal.data.tokenizer_files import TOKENIZER
from unimodal.hub.folder import Folder
from unimodal.hub.processors.pixels import read_pixels
from unimodal.hub.processors.sound import read_sound
from unimodal.hub.processors.stock import clip_values, picture_values, sound_values
from unimodal.hub.processors.text_reading import read_text
from unimodal.hub.processors.writing import NESTED, PLAIN, VIDEO


def read_processors(folder: Folder) -> dict[str, dict[str, Any]]:
    """Knobs of the tokenizers by the field that each reads: image, audio, video, text.

    What a file leaves out is the default of the class that it names, and where there is no file, of the
    class that transformers takes for the model type: what the Auto classes would do.

    A model's own `image_size` counts before what is said here.

    Returns:
        For image and video `mean` and `std` (of values in 0 to 1), `image_size` (height and width) where it
        does not depend on the picture, and for video `num_frames` where it is said. For audio `sample_rate`
        and, of an fbank, `n_mels`, `num_frames` or `num_positions`, `mean` and `std`. For text `vocabulary`
        and `max_len`. Beside them a sentence `note`, where transformers prepares pictures or texts otherwise.

    Raises:
        ValueError: with the file's name, if it holds what no processor of transformers takes.
    """
    config, nested, plain = folder.config, folder.json(NESTED) or {}, folder.json(PLAIN) or {}
    model_type = str(config.get("model_type") or "")
    clip = nested.get("video_processor") or folder.json(VIDEO) or plain
    try:
        video = clip_values(clip, model_type)
        image = picture_values(nested.get("image_processor") or plain, model_type)
        sound = sound_values(nested.get("feature_extractor") or plain, model_type)
        knobs = {
            "image": None if image is None else read_pixels(image),
            "video": None if video is None else read_pixels(video) | _num_frames(config, video),
            "audio": None if sound is None else read_sound(sound),
        }
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{folder.name}/{PLAIN} cannot be used: {error}.") from error
    found = {field: said for field, said in knobs.items() if said is not None}
    if not found and any(key.endswith("_type") for key in plain):
        raise ValueError(
            f"{folder.name}/{PLAIN} names no processor of transformers, so what the model's inputs are is "
            "unknown; write the image_processor_type or feature_extractor_type that does the same there."
        )
    files = folder.tokenizer_files()
    if TOKENIZER in files:
        settings = folder.json("tokenizer_config.json") or {}
        special = folder.json("special_tokens_map.json") or {}
        found["text"] = read_text(files, special | settings, config, folder.name)
    return found


def _num_frames(config: dict[str, Any], video: dict[str, Any]) -> dict[str, int]:
    num_frames = config.get("num_frames") or video.get("num_frames")
    return {"num_frames": int(num_frames)} if num_frames else {}
