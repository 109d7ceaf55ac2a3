"""Any Hugging Face folder that our model can be: a stock one, or one that we exported with its code."""

from unimodal.hub.folder import Folder
from unimodal.hub.imported import Imported
from unimodal.hub.native.reading import read_stock
from unimodal.hub.portable.configuration_unimodal import UnimodalConfig
from unimodal.hub.portable.reading import read_portable


def read_folder(folder: Folder, field: str = "image") -> Imported:
    """Read a folder's settings; `field` says which of several modalities is meant.

    Raises:
        ValueError: if the block cannot be what it holds, with the reason.
    """
    ours = folder.config.get("model_type") == UnimodalConfig.model_type
    return read_portable(folder, field) if ours else read_stock(folder, field)
