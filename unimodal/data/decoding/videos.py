"""Video files to clips of a fixed number of frames, decoded in a process apart."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unimodal.data.decoding.encoded import Encoded
from unimodal.data.decoding.faults import guarded
from unimodal.data.decoding.forms import as_clip, encoded, is_decoder
from unimodal.data.decoding.isolated import DECODER, TIMEOUT
from unimodal.data.decoding.resizing import resized
from unimodal.data.decoding.sniffing import VIDEO


@dataclass(frozen=True)
class VideoFacts:
    """What a video's headers say: duration in `seconds`, frames a second, `width` and `height` as stored."""

    seconds: float
    fps: float
    width: int
    height: int


def decode_video(
    value: Any,
    num_frames: int,
    size: tuple[int, int] | None = None,
    where: str = "",
    timeout: float = TIMEOUT,
) -> Tensor:
    """A clip as uint8 [num_frames, 3, H, W], upright.

    Frame j is the one on the screen at begin + (j + 0.5) / num_frames * duration, whatever the frame rate
    does; a video of fewer frames repeats them. Where the file was cut off, what exists is shared out.

    Args:
        value: an encoded file, any decoded form (`forms.as_clip`), or torchcodec's VideoDecoder.
        num_frames: of the clip.
        size: (height, width) of the result, to which each frame is resized; by default the first frame's.
        where: what messages call it.
        timeout: seconds that decoding may take.

    Raises:
        BadSample: with the file's name and the reason.
    """
    if is_decoder(value, "get_frames_played_at"):
        with guarded(Encoded(data=b"", where=where or "a video"), VIDEO):
            return resized(_played(value, num_frames), size)
    clip = as_clip(value, where)
    if clip is not None:
        frame_idx = ((torch.arange(num_frames) + 0.5) * len(clip) / num_frames).long()
        return resized(clip[frame_idx], size)
    source = encoded(value, where)
    wanted = {"do": "clip", "num_frames": num_frames, "size": None if size is None else list(size)}
    header, payload = DECODER.ask(source, VIDEO, wanted, timeout)
    with guarded(source, VIDEO):
        return torch.frombuffer(payload, dtype=torch.uint8).view(header["shape"])


def probe_video(value: Any, where: str = "", timeout: float = TIMEOUT) -> VideoFacts:
    """What the headers say, without decoding; raises BadSample as `decode_video` does."""
    header, _ = DECODER.ask(encoded(value, where), VIDEO, {"do": "video facts"}, timeout)
    return VideoFacts(**header["facts"])


def _played(decoder: Any, num_frames: int) -> Tensor:
    begin, end = decoder.metadata.begin_stream_seconds, decoder.metadata.end_stream_seconds
    times = [begin + (i + 0.5) / num_frames * (end - begin) for i in range(num_frames)]
    return decoder.get_frames_played_at(seconds=times).data
