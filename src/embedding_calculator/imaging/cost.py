"""What decoding a picture costs in memory, told before it is decoded."""

from __future__ import annotations

from PIL import ImageFile

_USUAL = 8
"""Bytes a pixel: four of Pillow's, three of ours, and what lies between them."""

_OTHERS = {"JPEG": 7, "MPO": 7, "HEIF": 9, "AVIF": 12}
_STORED_CHROMA = 19
_WEBP_IN_LAYERS = 16  # Transparent, or animated.


def working_bytes(image: ImageFile.ImageFile, *, stored_chroma: bool) -> int:
    """The most that a picture takes while it is decoded at full size, whatever is decoded later.

    Measured as the growth of the process for pictures of 16 megapixels, bytes a pixel: JPEG 3.0, turned 6.1, of CMYK
    7.0, progressive 9.0 and 12.0 with three and four full planes, with stored chroma 18.7; PNG and TIFF 4.1 to 8.1, BMP
    7.3, GIF 4.3, PPM 3.7, WebP 7.7, transparent 12.6, animated 16.2; HEIC 8.5, AVIF 11.9. A JPEG decoded at a reduced
    scale takes far less, but nobody knows beforehand how finely it will be needed.
    """
    a_pixel = _OTHERS.get(image.format or "", _USUAL)
    if image.format in {"JPEG", "MPO"}:
        if image.info.get("progressive"):  # All its coefficients are in memory, two bytes each.
            a_pixel = max(a_pixel, 4 + 2 * len(image.getbands()))
        if stored_chroma:
            a_pixel = max(a_pixel, _STORED_CHROMA)
    elif image.format == "WEBP" and (image.has_transparency_data or getattr(image, "is_animated", False)):
        a_pixel = _WEBP_IN_LAYERS
    return image.width * image.height * a_pixel
