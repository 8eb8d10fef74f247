"""Checkpoints: reads and writes our safetensors files and files of DABS."""

from dabs_rq.checkpoint.files import describe, export_dabs, load_encoder, save, verified, weights_hash

__all__ = ["describe", "export_dabs", "load_encoder", "save", "verified", "weights_hash"]
