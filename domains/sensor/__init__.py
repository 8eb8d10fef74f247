"""Wearable sensors: windows of 3.2 s at 100 Hz, heart rate and three inertial units."""

from __future__ import annotations

from dabs_rq.domain import Domain, Pretraining, SourceSet
from dabs_rq.domains.sensor.pamap2 import PAMAP2, SOURCE, load_unlabelled
from dabs_rq.domains.sensor.protocol import SensorProtocol
from dabs_rq.spec import Series

INPUTS = (Series(name="sensor", length=320, channels=52, segment=5),)
PRETRAINING = Pretraining(source=SOURCE, load=load_unlabelled)

DOMAIN = Domain(
    name="sensor",
    title="Sensor",
    protocol=SensorProtocol,
    inputs={"mini": INPUTS, "small": INPUTS, "paper": INPUTS},
    pretraining=PRETRAINING,
    tasks=(PAMAP2,),
    other_sources={"small": SourceSet(pretraining=PRETRAINING, tasks=(PAMAP2,))},  # small enough as it is
    batch_size=256,
)
