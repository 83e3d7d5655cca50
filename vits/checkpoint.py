"""A checkpoint of VITS or VITS-fast-fine-tuning, read strictly into a network that speaks."""

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vits.config import Config
from vits.errors import BrokenCheckpoint
from vits.files import what_it_is
from vits.network import Network, StochasticDurationPredictor

TRAINING_ONLY = ("enc_q.", "dp.flows.1.", "dp.post_pre.", "dp.post_proj.", "dp.post_convs.", "dp.post_flows.")
"""Parts of a checkpoint that synthesis does not need: the posterior encoder, the flow over real durations, and the one
flow over predicted durations that the original's inference leaves out."""

TENSORS_UNDER = ("model", "state_dict", "net_g", "generator", "model_ema", "ema")
"""Where training programs keep the state dict in a checkpoint; the first that is there counts."""

WRAPPERS = ("module.", "_orig_mod.", "net_g.", "model_g.", "generator.")
"""What DistributedDataParallel, torch.compile and the modules of training frameworks put before each name."""

OTHER_NETWORKS: Mapping[str, str] = {
    r"enc_p\.(bert_proj|ja_bert_proj|en_bert_proj|tone_emb|style_proj)|sdp\.": "a checkpoint of Bert-VITS2",
    r"enc_p\.(ssl_proj|mrte)|quantizer\.|ref_enc\.": "a checkpoint of GPT-SoVITS",
    r"enc_p\.(emb_phone|emb_pitch)\.": "a checkpoint of RVC, which converts voices",
    r"enc_p\.f0_emb\.|f0_decoder\.|emb_uv\.": "a checkpoint of so-vits-svc, which converts voices",
    r"flow\.flows\.\d+\.((pre|post)_transformer|(enc\.)?attn_layers)|enc_p\.encoder\.spk_emb": "a checkpoint of VITS2",
    r"dec\.(subband_conv_post|multistream_conv_post|stft)": "a checkpoint of MB-iSTFT-VITS",
    r"(discriminators|net_d)\.": "the discriminator (D_*.pth) beside the voice (G_*.pth)",
}
"""Networks that are easily taken for VITS: how names begin that only they have, and what they are."""

NUMPY_NUMBERS: list[Any] = [
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(kind)) for kind in "?bhilqBHILQefd"},
]
"""What a NumPy number, such as a learning rate, is unpickled with; it can run nothing."""


class _Uninitialised(TorchFunctionMode):
    """Skips the normally distributed initial values, since those of the checkpoint replace them.

    On the meta device they would make torch import its symbolic half, sympy included: 100 MB for nothing.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is nn.init.normal_:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def load_network(checkpoint: str | Path, config: Config) -> Network:
    """Return the network with a checkpoint's weights in float32, weight norm folded, ready to speak.

    Raises:
        BrokenCheckpoint: the file cannot be read, or a tensor is missing, unknown, of another shape or not finite.

    """
    return build_network(Path(checkpoint), read_tensors(Path(checkpoint)), config)


def build_network(path: Path, tensors: Mapping[str, Tensor], config: Config) -> Network:
    """Return a network with a copy of the tensors that were read from `path`; load_network says what it raises."""
    for pattern, what in OTHER_NETWORKS.items():
        if name := next((name for name in tensors if re.match(pattern, name)), None):
            raise BrokenCheckpoint(
                f"{path}: is {what}, as {name} shows, and not of VITS itself, which alone speaks here"
            )
    stored = {name: tensor for name, tensor in tensors.items() if not name.startswith(TRAINING_ONLY)}
    n_speakers = _speaker_rows(path, config, stored.get("emb_g.weight"))
    if not n_speakers:
        # A network that was sized for speakers but trained without a table of them never ran its conditioning.
        stored = {name: tensor for name, tensor in stored.items() if not {"cond", "cond_layer"} & {*name.split(".")}}
    with torch.device("meta"), _Uninitialised():
        network = Network(config.shape, len(config.symbols), n_speakers)
    if isinstance(network.dp, StochasticDurationPredictor):
        network.dp.flows[1] = nn.Identity()
    wanted = network.state_dict()
    sources = _sources(path, wanted.keys(), stored)
    _check_shapes(path, wanted, sources)
    network.load_state_dict({name: _folded(*tensors) for name, tensors in sources.items()}, assign=True)
    broken = [name for name, tensor in network.state_dict().items() if not tensor.isfinite().all()]
    if broken:
        raise BrokenCheckpoint(f"{path}: not finite: {_listed(broken)}")
    return network.requires_grad_(False).eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name; they are read from the file only when they are used.

    Raises:
        BrokenCheckpoint: the file cannot be read, or holds anything but dense tensors of floating-point numbers.

    """
    content = read_pickle(path)
    if isinstance(content, dict):
        content = next((content[key] for key in TENSORS_UNDER if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict) or not content:
        raise BrokenCheckpoint(f'{path}: holds no tensors: expected a state dict, or a dict with one under "model"')
    return checked_tensors(path, content)


def checked_tensors(path: Path, content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state dict by the network's own names; read_tensors says what it raises."""
    tensors = _unwrapped(path, content)
    for name, tensor in tensors.items():
        _check_stored(path, name, tensor)
    return tensors


def read_pickle(path: Path) -> Any:
    """Return what a PyTorch checkpoint holds; nothing in it is run.

    Raises:
        BrokenCheckpoint: the file cannot be read.

    """
    zipped = False
    try:
        # Files written by PyTorch before 1.6 are not zip archives and cannot be mapped into memory.
        zipped = zipfile.is_zipfile(path)
        with torch.serialization.safe_globals(NUMPY_NUMBERS):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        # PyTorch ignores the archive's checksums, so damaged weights would load and speak.
        damaged = _damaged(path) if zipped else None
    except OSError as error:
        raise BrokenCheckpoint(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a malformed file can make the unpickler raise anything
        reason = what_it_is(path) if not zipped else None
        reason = reason or str(error).partition("\n")[0] or type(error).__name__
        raise BrokenCheckpoint(f"{path}: is not a whole PyTorch checkpoint: {reason}") from error
    if damaged is not None:
        raise BrokenCheckpoint(f"{path}: is damaged: {damaged} in it has another checksum than when it was written")
    return content


def _unwrapped(path: Path, tensors: Mapping[object, Any]) -> dict[str, Any]:
    """Return tensors by the network's own names: without wrappers, and without the other networks beside it."""
    for name in tensors:
        if not isinstance(name, str):
            raise BrokenCheckpoint(f"{path}: holds no state dict: {str(name)[:60]!r} is no name of a tensor")
    named = {str(name): tensor for name, tensor in tensors.items()}
    while wrapper := next((w for w in WRAPPERS if any(name.startswith(w) for name in named)), None):
        named = {name.removeprefix(wrapper): tensor for name, tensor in named.items() if name.startswith(wrapper)}
    return named


def _check_stored(path: Path, name: str, tensor: object) -> None:
    """Refuse what is not a plain tensor whose every number is in the file."""
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        raise BrokenCheckpoint(f"{path}: {name} is not a tensor of floating-point numbers")
    if tensor.is_nested or tensor.layout != torch.strided or tensor.device.type != "cpu":
        kind = "nested" if tensor.is_nested else "meta" if tensor.is_meta else str(tensor.layout).removeprefix("torch.")
        raise BrokenCheckpoint(f"{path}: {name} is a {kind} tensor, expected a dense one")
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise BrokenCheckpoint(f"{path}: {name} is stored once for several rows, expected all of its numbers")


def _damaged(archive: Path) -> str | None:
    """Return the first file in an archive whose checksum is wrong."""
    with zipfile.ZipFile(archive) as file:
        return file.testzip()


def _speaker_rows(path: Path, config: Config, table: Tensor | None) -> int:
    """Return how many rows the speaker table must have; the checkpoint decides whether there is one."""
    if table is None:
        return config.n_speakers if config.n_speakers > 1 else 0
    if not config.shape.gin_channels:
        raise BrokenCheckpoint(
            f"{config.path}: model: gin_channels = 0 or missing: expected {table.shape[-1]}, the width of emb_g.weight "
            f"in {path}"
        )
    if config.n_speakers not in (0, table.shape[0]):
        raise BrokenCheckpoint(
            f"{config.path}: n_speakers = {config.n_speakers}: expected {table.shape[0]}, the rows of emb_g.weight in "
            f"{path}"
        )
    return table.shape[0]


def _sources(path: Path, wanted: Iterable[str], stored: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]:
    """Return the stored tensors behind each wanted one: itself, or the length and direction of weight norm."""
    sources, missing, unknown = {}, [], dict.fromkeys(stored)
    for name in wanted:
        stem, _, last = name.rpartition(".")
        parametrized = f"{stem}.parametrizations.{last}.original"
        layouts = ((name,), (f"{name}_g", f"{name}_v"), (f"{parametrized}0", f"{parametrized}1"))
        layout = next((names for names in layouts if any(n in stored for n in names)), (name,))
        missing += [n for n in layout if n not in stored]
        for n in layout:
            unknown.pop(n, None)
        sources[name] = tuple(stored[n] for n in layout if n in stored)
    if missing:
        raise BrokenCheckpoint(f"{path}: missing: {_listed(missing)}")
    if unknown:
        raise BrokenCheckpoint(f"{path}: unknown to this config's network: {_listed(list(unknown))}")
    return sources


def _check_shapes(path: Path, wanted: Mapping[str, Tensor], sources: Mapping[str, Sequence[Tensor]]) -> None:
    wrong = []
    for name, tensors in sources.items():
        expected = wanted[name].shape
        if len(tensors) == 2 and tensors[0].shape != (expected[0], *(1 for _ in expected[1:])):
            wrong.append(f"length of {name} {[*tensors[0].shape]} for {expected[0]} rows")
        elif tensors[-1].shape != expected:
            wrong.append(f"{name} {[*tensors[-1].shape]}, expected {[*expected]}")
    if wrong:
        raise BrokenCheckpoint(f"{path}: shapes differ from those of the config: {_listed(wrong)}")


def _folded(*stored: Tensor) -> Tensor:
    """Return the float32 weight of stored tensors: a copy of the only one, or length times direction per row."""
    if len(stored) == 1:
        return stored[0].to(torch.float32, copy=True)
    length, direction = (tensor.to(torch.float32) for tensor in stored)
    axes = tuple(range(1, direction.dim()))
    norms: Tensor = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    return direction * (length / norms)


def _listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
