"""Indexes of real size stay small: what a process holds of 1.28 M pictures and of 281 k utterances."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_MB = 500

# A file system with as many files as the real source has, of which only names exist.
SCRIPT = """
import json, os, sys
from pathlib import Path
import numpy as np
from dabs_rq import registry
from dabs_rq.data.requests import Request

source, root = sys.argv[1], Path(sys.argv[2])
domain = registry.domain(source)
protocol = domain.protocol()

class Entry:
    def __init__(self, name, folder): self.name, self.folder = name, folder
    def is_dir(self): return self.folder
    def is_file(self): return not self.folder

class Listing(list):
    def __enter__(self): return self
    def __exit__(self, *error): pass

def imagenet(path):
    parts = Path(path).relative_to(root / "natural_images/imagenet").parts
    if parts == ("train",):
        return [Entry(f"n{i:08d}", True) for i in range(1000)]
    return [Entry(f"{parts[1]}_{i}.JPEG", False) for i in range(1281)]

def librispeech(path):
    parts = Path(path).relative_to(root / "speech/librispeech/LibriSpeech").parts
    speakers = {"train-clean-100": (0, 251), "train-clean-360": (251, 921), "train-other-500": (1172, 1166)}
    first, count = speakers[parts[0]]
    if len(parts) == 1:
        return [Entry(str(first + i), True) for i in range(count)]
    if len(parts) == 2:
        return [Entry(str(1000 * int(parts[1]) + i), True) for i in range(4)]
    return [Entry(f"{parts[1]}-{parts[2]}-{i:04d}.flac", False) for i in range(30)]

fake = {"images": imagenet, "speech": librispeech}[source]
os.scandir = lambda path=".": Listing(fake(path))
Path.is_dir = lambda self: True
Path.exists = lambda self, **_: True

request = Request(root=root, split="train", inputs=domain.inputs["paper"], protocol=protocol,
                  prepare=lambda column: column, made_up=True)
examples = domain.pretraining.load(request)
examples.ids_key
sampled = examples.sample(1000)
# Not ru_maxrss, which a process inherits from the one that started it.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([len(examples), int(peak.split()[1]) / 1024]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("source", "count"), [("images", 1_281_000), ("speech", 280_560)])
def test_an_index_of_real_size_fits(source: str, count: int, tmp_path: Path) -> None:
    run = [sys.executable, "-c", SCRIPT, source, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, megabytes = json.loads(done.stdout.splitlines()[-1])
    assert found == count
    assert megabytes < LIMIT_MB
