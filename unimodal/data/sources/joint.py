"""Several sources under one roof; none of their samples meet."""

from collections.abc import Mapping, Sequence

from unimodal.data.sources.base import Source


class JointSource(Source):
    """The sources of joint training, by name. They are read through their own `sources`, not as one.

    Args:
        sources: by name.

    Attributes:
        split_names: the splits that all of them have.
    """

    def __init__(self, sources: Mapping[str, Source]):
        self.sources = dict(sources)
        names = [source.split_names for source in sources.values()]
        self.split_names: Sequence[str] = [
            name for name in names[0] if all(name in others for others in names)
        ]

    def describe(self) -> list[str]:
        """What each source says."""
        return [f"{name}: {line}" for name, source in self.sources.items() for line in source.describe()]

    def hints(self) -> list[str]:
        """Those of each source."""
        return [f"{name}: {line}" for name, source in self.sources.items() for line in source.hints()]
