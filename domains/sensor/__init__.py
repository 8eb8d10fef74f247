"""Wearable sensors: windows of 3.2 s at 100 Hz, heart rate and three inertial units."""

from __future__ import annotations

from dabs_rq.domain import Domain, Pretraining
from dabs_rq.spec import Series
from domains.sensor.pamap2 import PAMAP2, SOURCE, load_unlabelled
from domains.sensor.protocol import SensorProtocol

INPUTS = (Series(name="sensor", length=320, channels=52, segment=5),)

DOMAIN = Domain(
    name="sensor",
    title="Sensor",
    protocol=SensorProtocol,
    inputs={"mini": INPUTS, "paper": INPUTS},
    pretraining=Pretraining(source=SOURCE, load=load_unlabelled),
    tasks=(PAMAP2,),
    batch_size=256,
)
