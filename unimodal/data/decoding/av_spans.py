"""From when to when a video's frames are shown, by its headers and packets. Runs in the decoder process."""

from io import BytesIO
from typing import Any, NamedTuple

from av.container import InputContainer
from av.error import FFmpegError

from unimodal.data.decoding.av_files import chosen, decoded_packets, is_mp4, opened, packets
from unimodal.data.decoding.messages import Unusable

MAX_FPS = 1000  # not below: a header that is wrong
SUSPICIOUS_FPS = 240  # from which on the time stamps are looked at
DEFAULT_FPS = 25.0
FAR = 2**62  # a time stamp behind all others
OWN_CLOCK = ("matroska", "flv")  # whose duration counts from 0, not from the first frame


class Span(NamedTuple):
    """From when to when frames are shown, in seconds of the file's clock."""

    begin: float
    end: float

    def times(self, num: int) -> list[float]:
        """The middles of `num` equal shares."""
        seconds = max(self.end - self.begin, 0)
        return [self.begin + (i + 0.5) / num * seconds for i in range(num)]


class Video(NamedTuple):
    """A file and how its frames get their times.

    Attributes:
        file: path or bytes.
        still: whether its clock stands still: all packets bear one time, so their count has to do.
        delay: packets that the decoder holds back before the first frame, of AVI files, which store no time
            of presentation (FFmpeg guesses one); None for other files.
        step: seconds a frame, by the header's rate.
        width: as stored, in pixels.
        height: as stored, in pixels.
        span: by the headers and the last packets; None where neither give it.
        said: by the headers alone; None where these speak of all streams.
    """

    file: str | BytesIO
    still: bool
    delay: int | None
    step: float
    width: int
    height: int
    span: Span | None = None
    said: Span | None = None


def examined(file: str | BytesIO) -> Video:
    """What the headers and some packets tell of a file.

    Raises:
        Unusable: if it has no video, or a rate that cannot be.
    """
    with opened(file) as container:
        stream = chosen(container, "video")
        still = _stands_still(container, stream)
        rate = stream.average_rate
        if not still and rate is not None and not 0 < rate < MAX_FPS:
            raise Unusable(f"says that it has {float(rate):g} frames a second")
        size = stream.codec_context.width, stream.codec_context.height
        video = Video(file, still, None, 1 / _fps(stream, still), *size)
        if still:
            return video
        said = _said_span(container, stream)
        span = _shown_span(container, stream, video, said) or said
        own = stream.duration or len(container.streams) == 1
        return video._replace(span=span, said=said if own else None, delay=_delay(container, stream))


def scanned_span(video: Video) -> Span:
    """By the time stamps of all packets; nothing is decoded.

    Raises:
        Unusable: if there is none.
    """
    with opened(video.file) as container:
        span = _packets_span(container, chosen(container, "video"), video)
        if span is None:
            raise Unusable("has no frame (its video is 0 s long)")
        return span


def stamp(timed: Any, still: bool) -> int | None:
    """The time of a packet or frame, in units of its stream; None where there is none to go by."""
    if still:
        return None
    return timed.dts if timed.pts is None else timed.pts


def _stands_still(container: InputContainer, stream: Any) -> bool:
    """Reads the packets of a file whose rate is suspicious."""
    if stream.average_rate is None or stream.average_rate < SUSPICIOUS_FPS:
        return False
    stamps = [packet.pts for packet in packets(container, stream, set()) if packet.size]
    return len(stamps) > 1 and len(set(stamps)) == 1


def _fps(stream: Any, still: bool) -> float:
    rate = stream.guessed_rate if still else stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0 < rate < MAX_FPS else DEFAULT_FPS


def _said_span(container: InputContainer, stream: Any) -> Span | None:
    """By the headers: of the stream, else of the file, which ends with its longest stream."""
    begin = float((stream.start_time or 0) * stream.time_base)
    if stream.duration:
        return Span(begin, begin + float(stream.duration * stream.time_base))
    if not container.duration or container.duration < 0:
        return None
    seconds = container.duration / 1e6
    absolute = any(name in container.format.name for name in OWN_CLOCK) and seconds > begin
    return Span(begin, seconds if absolute else begin + seconds)


def _shown_span(container: InputContainer, stream: Any, video: Video, said: Span | None) -> Span | None:
    """Up to the end of the last frame, by the packets from the last keyframe on; None where there are none.

    The duration of a track in MP4 adds up decoding times: with B-frames and a variable rate it is too short.
    Matroska has one for all streams: it is too long where the sound goes on.
    """
    if said is None or not (is_mp4(container) or "matroska" in container.format.name):
        return None
    try:
        container.seek(FAR, stream=stream)
    except FFmpegError:
        return None
    last = _packets_span(container, stream, video)
    return None if last is None or last.end <= said.begin else Span(said.begin, last.end)


def _packets_span(container: InputContainer, stream: Any, video: Video) -> Span | None:
    """Of the packets from where the container stands; None if there are none.

    The last frame stays as long as the last packet: its duration alone is the encoder's, those of the others
    are gaps between decoding times.
    """
    begins: list[float] = []
    length = 0.0
    for packet in packets(container, stream, set()):
        if not packet.size or packet.is_discard:  # the one that flushes; those beside an edit list
            continue
        time = stamp(packet, video.still) if container.format.name != "avi" else packet.dts
        begins.append(len(begins) * video.step if time is None else float(time * stream.time_base))
        length = 0.0 if video.still else float((packet.duration or 0) * stream.time_base)
    return Span(min(begins), max(begins) + (length or video.step)) if begins else None


def _delay(container: InputContainer, stream: Any) -> int | None:
    """Decodes an AVI file up to its first frame."""
    if container.format.name != "avi":
        return None
    for count, (_, frames) in enumerate(decoded_packets(container, stream, set())):
        if frames:
            return count
    return 0
