"""A trained voice's weights, as the start of another voice's training."""

from collections.abc import Mapping

from torch import Tensor


def single_speaker(state: Mapping[str, Tensor], speaker: int) -> dict[str, Tensor]:
    """Return the weights of a network with one speaker, who speaks as one of a trained network's speakers does.

    Layers add a constant for the speaker to a convolution's output, so it can be moved into that convolution's bias.

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


def adapted(
    weights: Mapping[str, Tensor], begun: Mapping[str, Tensor], speaker: int | None
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the initial weights of a network that resembles a trained one, and the modules that are new in it.

    Args:
        weights: those of the trained network, in any precision.
        begun: the new network's own state dict; modules that the trained one lacks keep what is in it.
        speaker: the row of the trained network's speaker table that the new voice continues alone, or None.

    Where the new network has several speakers and the trained one has not, their conditioning begins at zero, so that
    all speak as the trained one does.
    """
    trained = {name: value.float() for name, value in weights.items()}
    if speaker is not None:
        trained = single_speaker(trained, speaker)
    made, new = {}, dict[str, None]()
    for name, value in begun.items():
        if name in trained and trained[name].shape == value.shape:
            made[name] = trained[name]
        else:
            conditions = name.rsplit(".", 2)[-2] in ("cond", "cond_layer")
            made[name] = value * 0 if conditions else value
            new[name.split(".")[0] + (".cond" if conditions else "")] = None
    return made, list(new)
