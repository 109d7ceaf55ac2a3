"""What reading frames and reading sound share: opening a file with FFmpeg, choosing a stream, bad packets."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError

from unimodal.data.decoding.messages import Unusable

FORMATS = (  # no format that names other files or addresses: playlists, DASH, concatenations
    "mov,mp4,m4a,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,apng,h264,hevc,ivf,obu,m4v,"
    "mp3,aac,wav,w64,flac,aiff,caf,au,amr,ac3,eac3,ape,wv,dv,mxf,nut,rm,tta,voc"
)
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def opened(file: str | BytesIO) -> InputContainer:
    """A container; use it in a `with`. FFmpeg says nothing on the console."""
    av.logging.set_level(av.logging.PANIC)
    if isinstance(file, BytesIO):
        file.seek(0)
    return av.open(file, "r", container_options={"format_whitelist": FORMATS}, metadata_errors="ignore")


def is_mp4(container: InputContainer) -> bool:
    """Whether it is MP4, MOV, M4A or another file of that family."""
    return "mp4" in container.format.name


def chosen(container: InputContainer, kind: str) -> Any:
    """The stream of a kind, `video` or `audio`, that is read; one thread will decode it.

    It is the first that is no cover picture. Before the track of an animated AVIF there are streams of its
    cover, one frame each: of several video streams, those of one frame come last.

    Raises:
        Unusable: if there is none, or no decoder for it.
    """
    streams = [stream for stream in container.streams if stream.type == kind and not _is_cover(stream)]
    if not streams:
        there = ", ".join(sorted({str(stream.type) for stream in container.streams})) or "nothing"
        raise Unusable(f"has no {kind} stream (it has: {there})")
    stream = min(streams, key=lambda stream: kind == "video" and stream.frames == 1)  # the first of equals
    if stream.codec_context is None:
        raise Unusable(f"has a {kind} stream of a codec that FFmpeg does not know")
    stream.codec_context.thread_count = 1
    return stream


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def decoded(container: InputContainer, stream: Any, notes: set[str]) -> Iterator[Any]:
    """Frames from where the container stands; what is broken is left out and said in `notes`."""
    for _, frames in decoded_packets(container, stream, notes):
        yield from frames


def decoded_packets(
    container: InputContainer, stream: Any, notes: set[str]
) -> Iterator[tuple[Any, list[Any]]]:
    """Each packet with the frames that the decoder gives after it, which may be those of packets before."""
    decoder = _alpha_decoder(stream)
    for packet in packets(container, stream, notes):
        try:
            frames = decoder.decode(packet if packet.size else None) if decoder else packet.decode()
        except (FFmpegError, EOFError) as error:
            if isinstance(error, MemoryError):
                raise
            notes.add("is damaged or cut off; what can be decoded is used")
            continue
        yield packet, frames


def _alpha_decoder(stream: Any) -> Any:
    """For VP8 and VP9 with transparency, which FFmpeg's own decoders leave out; else None."""
    name = ALPHA_DECODERS.get(stream.codec_context.name)
    flag = next((value for key, value in stream.metadata.items() if key.lower() == "alpha_mode"), None)
    if flag != "1" or name not in av.codecs_available:
        return None
    decoder = av.CodecContext.create(name, "r")
    decoder.thread_count = 1
    return decoder


def packets(container: InputContainer, stream: Any, notes: set[str]) -> Iterator[Any]:
    """Packets from where the container stands, up to the end or to where it cannot be read."""
    try:
        yield from container.demux(stream)
    except FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        notes.add("is damaged or cut off; what can be decoded is used")
