"""Networks of others as encoders: any torch module or callable, scored as it is."""

from dabs_rq.networks.declare import declare as declare
from dabs_rq.networks.network import Network as Network
from dabs_rq.networks.weights import load_hugging_face as load_hugging_face
from dabs_rq.networks.weights import load_weights as load_weights
