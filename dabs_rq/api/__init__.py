"""The Python page: load an encoder, compute features, score any network, read all scores."""

from dabs_rq.api.encoders import features as features
from dabs_rq.api.encoders import load as load
from dabs_rq.api.frame import results as results
from dabs_rq.api.scoring import evaluate as evaluate
