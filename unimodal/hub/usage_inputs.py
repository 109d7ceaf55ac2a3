"""How each modality comes to a model, in lines of Python."""

from dataclasses import dataclass, replace

from unimodal.hub.usage_files import KINDS, Reading, read_image, read_sound


@dataclass(frozen=True)
class Input:
    """How one modality comes to a model.

    Attributes:
        auto: the class that loads its processor.
        imports: that the lines need.
        lines: that make what the others name.
        piped: what a pipeline is called with.
        processed: what the processor is called with.
        file: that the lines read; "" for none.
        given: the literal in the lines that stands for the sample.
        function: that the lines call, blank lines around it; () for none.
    """

    auto: str
    imports: tuple[str, ...]
    lines: tuple[str, ...]
    piped: str
    processed: str
    file: str = ""
    given: str = ""
    function: tuple[str, ...] = ()


INPUTS = {
    "image": Input(
        "AutoImageProcessor",
        ("from transformers.image_utils import load_image",),
        ("image = load_image('photo.jpg')",),  # by Pillow: a processor that gets a name asks torchvision
        "image",
        "image",
        "photo.jpg",
        "'photo.jpg'",
    ),
    "audio": Input(
        "AutoFeatureExtractor",
        ("import soundfile", "import torch", "import torchaudio"),
        ("samples, rate = soundfile.read('sound.wav', dtype='float32', always_2d=True)",),
        "{'raw': samples, 'sampling_rate': rate}",
        "samples, sampling_rate=rate",
        "sound.wav",
        "'sound.wav'",
    ),
    "video": Input(
        "AutoVideoProcessor",
        ("import av", "import numpy"),
        (
            "with av.open('clip.mp4') as file:",
            "    frames = list(file.decode(video=0))",
            "times = numpy.array([frame.time for frame in frames])  # seconds, at which they are shown",
            "steps = [frames[-1].duration * float(frames[-1].time_base), *numpy.diff(times)[::-1], 0.04]",
            "seconds = times[-1] - times[0] + next(step for step in steps if step > 0)",
        ),
        "clip",
        "clip",
        "clip.mp4",
        "'clip.mp4'",
    ),
    "text": Input(
        "AutoTokenizer",
        (),
        ("text = 'a text'",),
        "text, truncation=True",
        "text, truncation=True",
        given="'a text'",
    ),
}
"""By modality, with nothing of the run."""
RESAMPLED = (
    "rate, given = processor.sampling_rate, rate",
    "samples = torchaudio.functional.resample(torch.tensor(samples), given, rate).numpy()",
)


def input_of(modality: str, reading: Reading) -> Input:
    """How a modality comes to a run's model: of the kinds in `reading` as to training."""
    given = INPUTS[modality]
    found = {kind.name for kind in KINDS[modality]} & set(reading.kinds)
    if modality == "image" and found:
        imports, function = read_image(reading, found)
        return replace(given, imports=imports, function=function, lines=("image = read_image('photo.jpg')",))
    if modality == "audio":
        return _sound(given, reading, bool(found))
    if modality == "video":
        return replace(given, lines=(*given.lines, *_frames(reading.num_frames)))
    return given


def _sound(given: Input, reading: Reading, by_ffmpeg: bool) -> Input:
    """The mean of the channels, no longer than in training, and never above full scale."""
    cut = f"[: round({reading.max_seconds:g} * rate)]" if reading.max_seconds else ""
    mixed = (f"samples = samples{cut}.mean(1)", "samples = samples / max(1, abs(samples).max())")
    if not by_ffmpeg:
        return replace(given, lines=(*given.lines, *mixed))
    imports, function = read_sound()
    imports = (*given.imports, *imports)
    lines = ("samples, rate = read_sound('sound.wav')", *mixed)
    return replace(given, imports=imports, function=function, lines=lines)


def _frames(num: int) -> tuple[str, ...]:
    """The frames in the middles of equal shares of the time, upright."""
    return (
        f"middles = times[0] + (numpy.arange({num}) + 0.5) / {num} * seconds",
        "chosen = [frames[i] for i in numpy.searchsorted(times, middles + 0.001, 'right') - 1]",
        "clip = [numpy.rot90(frame.to_ndarray(format='rgb24'), frame.rotation // 90) for frame in chosen]",
        "clip = numpy.stack(clip)  # as in training, for any length and rate",
    )
