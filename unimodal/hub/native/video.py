"""What the families of video have in common."""

from unimodal.hub.native.family import Knob
from unimodal.hub.native.spec import Spec
from unimodal.hub.native.vit import height_and_width, image_size

TUBELET = "unimodal.tokenizers.video.VideoTubeletTokenizer"
FRAMES = (
    Knob("num_frames", "tokenizer.num_frames"),
    Knob("image_size", "tokenizer.image_size", lambda c: height_and_width(c["image_size"]), image_size),
)


def kernel(spec: Spec) -> tuple[int, ...]:
    """Shape of the convolution over a clip."""
    size = spec["tokenizer.patch_size"]
    return spec["dim"], 3, spec["tokenizer.tubelet_size"], size, size
