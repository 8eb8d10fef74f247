"""A timm model; `pip install 'dabs_rq[timm]'`. Its weights are beside this file; `pretrained=True` fetches timm's."""

from pathlib import Path

from dabs_rq.networks import declare, load_weights


def network(inputs):
    import timm

    model = timm.create_model("resnet10t", num_classes=0, in_chans=inputs[0].channels)
    return load_weights(model, Path(__file__).with_name("timm_resnet.safetensors"))


ENCODER = declare("timm_resnet", network, title="ResNet-10-T", domains=["images"], size=64)
