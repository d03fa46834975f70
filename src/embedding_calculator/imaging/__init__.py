"""Bytes to pixels and back: decode, orient, align, crop, draw."""
