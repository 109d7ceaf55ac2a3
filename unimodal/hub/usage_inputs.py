"""How each modality comes to a model, in lines of Python."""

from dataclasses import dataclass


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
    """

    auto: str
    imports: tuple[str, ...]
    lines: tuple[str, ...]
    piped: str
    processed: str
    file: str = ""


INPUTS = {
    "image": Input("AutoImageProcessor", (), ("image = 'photo.jpg'",), "image", "image", "photo.jpg"),
    "audio": Input(
        "AutoFeatureExtractor",
        ("import soundfile", "import torch", "import torchaudio"),
        ("samples, rate = soundfile.read('sound.wav', always_2d=True)", "samples = samples.mean(1)"),
        "{'raw': samples, 'sampling_rate': rate}",
        "samples, sampling_rate=rate",
        "sound.wav",
    ),
    "video": Input(
        "AutoVideoProcessor",
        ("import av", "import numpy"),
        (
            "frames = av.open('clip.mp4').decode(video=0)",
            "clip = numpy.stack([frame.to_ndarray(format='rgb24') for frame in frames])",
        ),
        "clip",
        "clip",
        "clip.mp4",
    ),
    "text": Input(
        "AutoTokenizer", (), ("text = 'a text'",), "text, truncation=True", "text, truncation=True"
    ),
}
RESAMPLED = (
    "rate, given = processor.sampling_rate, rate",
    "samples = torchaudio.functional.resample(torch.tensor(samples), given, rate).numpy()",
)
