"""Scanned digits that scikit-learn installs: real data on every machine, outside the published table."""

from __future__ import annotations

from dabs_rq.domain import Domain, Installed, Pretraining
from dabs_rq.domains.digits import forms
from dabs_rq.spec import Grid

INPUTS = (Grid(name="image", height=8, width=8, channels=1, patch=2, dtype="float32"),)

DOMAIN = Domain(
    name="digits",
    title="Digits",
    inputs={"mini": INPUTS, "small": INPUTS, "paper": INPUTS},
    pretraining=Pretraining(
        source=forms.SOURCE, load=forms.load_unlabelled, sizes={"train": forms.TASK.sizes["train"]}
    ),
    tasks=(forms.TASK,),
    batch_size=64,
    installed=Installed(packages=("scikit-learn",), write=forms.write, version="digits-1"),
    tables=(),
)
