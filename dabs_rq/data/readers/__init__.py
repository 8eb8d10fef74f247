"""Readers that all domains share: images, recordings, text and index files."""
