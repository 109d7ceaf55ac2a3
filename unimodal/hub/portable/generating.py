"""`generate` and its outputs with the cache under both names that versions of transformers give it.

transformers 5.24 renamed `past_key_values` to `cache` in what `generate` hands over and its output classes.
"""

from dataclasses import dataclass
from typing import Any

from transformers import GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

OLD, NEW = "past_key_values", "cache"
CACHE = NEW if NEW in CausalLMOutputWithPast.__dataclass_fields__ else OLD
"""The name that the installed transformers has for the cache."""


def one_cache(past_key_values: Any, cache: Any) -> Any:
    """Returns the cache that came under either name, or None.

    Raises:
        ValueError: if both names have a cache, and not the same.
    """
    if None not in (past_key_values, cache) and past_key_values is not cache:
        raise ValueError(f"{OLD} and {NEW} are two names of one argument; pass one of them.")
    return past_key_values if cache is None else cache


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments in which the cache has the installed version's name only."""
    found = one_cache(options.get(OLD), options.get(NEW))
    others = {key: value for key, value in options.items() if key not in (OLD, NEW)}
    return others if found is None else others | {CACHE: found}


class CacheGenerationMixin(GenerationMixin):
    """As `GenerationMixin`; `past_key_values` and `cache` are the same argument."""

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Generate as transformers does; the cache may have either of its names."""
        return super().generate(*args, **_renamed(kwargs))

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> Any:
        """Prepare one step of `generate`; the cache may have either of its names."""
        return super().prepare_inputs_for_generation(*args, **_renamed(kwargs))


@dataclass
class TextOutput(CausalLMOutputWithPast):
    """The output of a class that writes text; `cache` and `past_key_values` are the same attribute."""

    if CACHE == OLD:  # newer versions have a property for the older name

        @property  # type: ignore[misc]
        def cache(self) -> Any:  # type: ignore[override]
            """Return `past_key_values` under its newer name."""
            return self.past_key_values
