"""The piece of a face that dlib's networks know: its "face chip", from our five points instead of dlib's.

dlib aligns by the corners of the eyes and the base of the nose, and leaves a padding of 0.2 around its mean face. Our
detectors find the centres of the eyes, the tip of the nose and the corners of the mouth. The template is where these
lie, on average, in the chips dlib cuts itself: our points and dlib's chips of 401 photos, made symmetric.

The eyes lead, the nose helps a little, and the mouth has no say, as in dlib: it moves with every word. With these
weights the chip's corners are 4.7 % of its side away from dlib's; with all five points alike, 5.8 %.
"""

from __future__ import annotations

from embedding_calculator.imaging.align import SimilarityCrop

CHIP = SimilarityCrop(
    template=((19.89, 18.69), (43.69, 18.69), (31.79, 33.08), (21.53, 44.44), (42.05, 44.44)),
    size=(64, 64),
    weights=(4.0, 4.0, 1.0, 0.0, 0.0),
)
"""64x64, shared by age and gender; gender's network sees it at half the size."""
