"""What goes wrong in a decoder: errors that bear the file's name, warnings that come once a process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.decoding.sniffing import sniff

WARNED: set[str] = set()  # the facts that this process has warned of
log = logging.getLogger("unimodal.data")


def warn_once(source: Encoded, fact: str) -> None:
    """One warning a process for each `fact`; it names the first file of which it is true."""
    if fact not in WARNED:
        WARNED.add(fact)
        log.warning("%s: %s (said once)", source.name, fact)


@contextmanager
def guarded(source: Encoded, wanted: str) -> Iterator[None]:
    """Whatever a decoder's library raises in here comes out as BadSample.

    Args:
        source: what is decoded.
        wanted: `an image`, `sound`, `a video` or `text`, for the message where the content is something else.
    """
    try:
        yield
    except BadSample:
        raise
    except MemoryError as error:
        raise source.bad("takes more memory than there is") from error
    except Exception as error:
        raise source.bad(why(source, wanted, one_line(error))) from error


def why(source: Encoded, wanted: str, reason: str) -> str:
    """Why it cannot be decoded: by what its first bytes say it is, else by what the decoder said."""
    kind = sniff(source.read(4096) if source.data != b"" else b"")  # b"": it came decoded
    if kind is None:
        return f"cannot be decoded as {wanted} ({reason})"
    hint = f"; {kind.hint}" if kind.hint else ""
    if wanted not in kind.holds:
        return f"is {kind.name}, not {wanted}{hint}"
    return f"is {kind.name} that cannot be decoded{hint or f' ({reason})'}"


def one_line(error: BaseException) -> str:
    """What an error says, short enough to stand in another message."""
    return " ".join(str(error).split())[:200] or type(error).__name__
