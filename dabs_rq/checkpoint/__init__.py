"""Checkpoints: reads and writes our safetensors files and files of DABS."""

from dabs_rq.checkpoint.copies import copy as copy
from dabs_rq.checkpoint.files import describe as describe
from dabs_rq.checkpoint.files import export_dabs as export_dabs
from dabs_rq.checkpoint.files import is_of_torch as is_of_torch
from dabs_rq.checkpoint.files import load_encoder as load_encoder
from dabs_rq.checkpoint.files import own_tensors as own_tensors
from dabs_rq.checkpoint.files import save as save
from dabs_rq.checkpoint.files import verified as verified
from dabs_rq.checkpoint.files import weights_hash as weights_hash
