"""Half precision throughout (`16-true`, `bf16-true`), which leaves labels as the data has them."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.plugins.precision.half import HalfPrecision

HALF = ("16-true", "bf16-true")


class ExactLabels(HalfPrecision):
    """Lightning's half precision converts every tensor of a batch; labels keep their type here.

    A label of 2019.0 would become 2016.0 in bfloat16, in training and in validation.
    """

    def convert_input(self, data: Any) -> Any:
        """Return the batch with all floating-point tensors but its `labels` in half precision."""
        if isinstance(data, Mapping):
            return {
                key: value if key == "labels" else self.convert_input(value) for key, value in data.items()
            }
        return super().convert_input(data)
