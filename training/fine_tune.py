"""A voice of one speaker out of one of several, to be taught further."""

from collections.abc import Mapping

from torch import Tensor


def single_speaker(state: Mapping[str, Tensor], speaker: int) -> dict[str, Tensor]:
    """Return the weights of the single-speaker network that speaks as one speaker of a trained one does.

    A speaker is a constant that layers add to what a convolution made: it goes into that convolution's bias, exactly.

    Args:
        state: a Trainee's state dict, with several speakers and the stochastic duration predictor.
        speaker: a row of its speaker table.
    """
    g = state["emb_g.weight"][speaker]
    made = {name: value.clone() for name, value in state.items() if not name.startswith("emb_g.")}
    for name in [name for name in made if name.endswith((".cond.weight", ".cond_layer.weight"))]:
        parent, layer, _ = name.rsplit(".", 2)
        constant = made.pop(name)[:, :, 0] @ g + made.pop(f"{parent}.{layer}.bias")
        if layer == "cond_layer":
            biases = [bias for bias in made if bias.startswith(f"{parent}.in_layers.") and bias.endswith(".bias")]
        else:
            biases = [{"dec": "dec.conv_pre.bias", "dp": "dp.pre.bias"}[parent]]
        biases.sort(key=lambda bias: [int(part) for part in bias.split(".") if part.isdigit()])
        for bias, part in zip(biases, constant.chunk(len(biases)), strict=True):
            made[bias] += part
    return made
