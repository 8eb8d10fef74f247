"""Checkpoints: our safetensors files, and those that DABS wrote."""

from dabs_rq.checkpoint.files import describe, export_dabs, load_encoder, save, verified, weights_hash

__all__ = ["describe", "export_dabs", "load_encoder", "save", "verified", "weights_hash"]
