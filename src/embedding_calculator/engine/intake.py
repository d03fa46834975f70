"""How the settings want pictures opened; the service, the library and the command all come through here."""

from __future__ import annotations

from embedding_calculator.imaging.decode import Limits, open_picture
from embedding_calculator.imaging.picture import EncodedPicture
from embedding_calculator.settings import Settings


def take_in(data: bytes, settings: Settings, *, stored_chroma: bool = False) -> EncodedPicture:
    """An encoded picture, within the settings' limits and turned as they say; nothing is decoded yet.

    Raises:
        ImageTooLargeError, ImageUnreadableError, BusyError: see ``open_picture``.
    """
    limits = Limits(settings.max_image_bytes, settings.max_image_pixels)
    upright = settings.exif_orientation == "apply"
    return open_picture(data, limits=limits, apply_orientation=upright, stored_chroma=stored_chroma)
