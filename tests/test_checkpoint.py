import json
import re
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from vits import BrokenCheckpoint
from vits.checkpoint import TRAINING_ONLY, load_network
from vits.config import Config, read_config
from vits.network import Network
from vits.text import CLEANERS, clean, languages
from vits.text.front_end import CleanerFrontEnd
from vits.text.letters import LETTERS, SYLLABLES, letters
from vits.text.symbols import SYMBOLS

GOLDEN = Path(__file__).parent / "golden"
VOICE = GOLDEN / "network/multi_speaker_sdp"

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"

State = dict[str, Any]


def golden_state() -> State:
    state: State = torch.load(VOICE / "G_latest.pth", weights_only=True)["model"]
    return state


def golden_config() -> dict[str, Any]:
    config: dict[str, Any] = json.loads((VOICE / "config.json").read_text())
    return config


def saved_config(folder: Path, config: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def loaded(folder: Path, content: object, config: object = None) -> Network:
    torch.save(content, folder / "G.pth")
    return load_network(folder / "G.pth", read_config(saved_config(folder, config or golden_config())))


def golden_network() -> Network:
    return load_network(VOICE / "G_latest.pth", read_config(VOICE / "config.json"))


def one_line(error: pytest.ExceptionInfo[BrokenCheckpoint]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


# Layouts


def as_finetuned(state: State) -> State:
    optimizer = {"state": {0: {"step": 7, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 2e-4, "params": [0]}]}
    return {"model": state, "iteration": 3, "optimizer": optimizer, "learning_rate": 2e-4}


def bare(state: State) -> State:
    return state


def for_speaking_only(state: State) -> State:
    return {"model": {name: tensor for name, tensor in state.items() if not name.startswith(TRAINING_ONLY)}}


def folded(state: State) -> State:
    return {"model": golden_network().state_dict()}


def parametrized(state: State) -> State:
    network = golden_network()
    for name, module in list(network.named_modules()):
        if f"{name}.weight_g" in state:
            parametrizations.weight_norm(module)
    names = network.state_dict()
    assert "dec.ups.0.parametrizations.weight.original0" in names
    return {"model": names}


def in_float16(state: State) -> State:
    return {"model": {name: tensor.half() for name, tensor in state.items()}}


def of_lightning(state: State) -> State:
    other = {"net_d.discriminators.0.bias": torch.zeros(3)}
    return {"epoch": 3, "state_dict": {f"net_g.{name}": tensor for name, tensor in state.items()} | other}


def of_data_parallel(state: State) -> State:
    return {"model": {f"module.{name}": tensor for name, tensor in state.items()}}


def compiled_of_data_parallel(state: State) -> State:
    return {"model": {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()}}


def averaged_alone(state: State) -> State:
    return {"ema": state}


def with_numpy_numbers(state: State) -> State:
    return {"model": state, "learning_rate": np.float64(2e-4), "iteration": np.int64(7)}


LAYOUTS = [
    as_finetuned,
    bare,
    for_speaking_only,
    folded,
    parametrized,
    in_float16,
    of_lightning,
    of_data_parallel,
    compiled_of_data_parallel,
    averaged_alone,
    with_numpy_numbers,
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_network(layout: Callable[[State], State], tmp_path: Path) -> None:
    network = loaded(tmp_path, layout(golden_state())).state_dict()
    tolerance = 5e-3 if layout is in_float16 else 1e-6
    for name, expected in golden_network().state_dict().items():
        assert network[name].dtype == torch.float32
        torch.testing.assert_close(network[name], expected, atol=tolerance, rtol=tolerance)


def test_files_from_before_torch_1_6_load(tmp_path: Path) -> None:
    torch.save(bare(golden_state()), tmp_path / "G.pth", _use_new_zipfile_serialization=False)
    network = load_network(tmp_path / "G.pth", read_config(VOICE / "config.json"))
    assert torch.equal(network.dec.conv_pre.weight, golden_network().dec.conv_pre.weight)


def test_weight_norm_is_folded_as_pytorch_computes_it() -> None:
    state = golden_state()
    up, layer = "dec.ups.1.weight", "flow.flows.2.enc.in_layers.3.weight"
    network = golden_network().state_dict()
    for name in (up, layer):
        expected = torch._weight_norm(state[f"{name}_v"], state[f"{name}_g"], 0)
        torch.testing.assert_close(network[name], expected)


def test_weights_are_the_networks_own(tmp_path: Path) -> None:
    network = loaded(tmp_path, bare(golden_state()))
    (tmp_path / "G.pth").unlink()
    stored = sum(tensor.untyped_storage().nbytes() for tensor in network.state_dict().values())
    assert stored == sum(tensor.nbytes for tensor in network.state_dict().values())
    assert not any(weight.requires_grad for weight in network.parameters())


# Speakers


def without_speaker_table(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name != "emb_g.weight"}


def test_the_checkpoint_decides_whether_there_are_speakers(tmp_path: Path) -> None:
    config = golden_config()
    config["data"]["n_speakers"] = 0
    network = loaded(tmp_path, golden_state(), config)
    assert network.emb_g is not None
    assert network.emb_g.num_embeddings == 3


@pytest.mark.parametrize("n_speakers", [0, 1])
def test_conditioning_that_never_ran_is_left_behind(n_speakers: int, tmp_path: Path) -> None:
    config = golden_config()
    config["data"]["n_speakers"] = n_speakers
    network = loaded(tmp_path, without_speaker_table(golden_state()), config)
    assert network.emb_g is None
    assert not any("cond" in name for name in network.state_dict())


def test_many_speakers_need_their_table(tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint, match=r"G\.pth: missing: emb_g\.weight$"):
        loaded(tmp_path, without_speaker_table(golden_state()))


def test_a_speaker_table_needs_its_width_in_the_config(tmp_path: Path) -> None:
    config = golden_config()
    del config["model"]["gin_channels"]
    with pytest.raises(BrokenCheckpoint, match=r"config\.json: model: gin_channels = 0 or missing: expected 16"):
        loaded(tmp_path, golden_state(), config)


@pytest.mark.parametrize("rows", [2, 4])
def test_a_number_of_speakers_that_the_checkpoint_does_not_have_is_refused(rows: int, tmp_path: Path) -> None:
    state = golden_state() | {"emb_g.weight": torch.zeros(rows, 16)}
    with pytest.raises(BrokenCheckpoint) as error:
        loaded(tmp_path, state)
    words = f"n_speakers = 3: expected {rows}, the rows of emb_g.weight in {tmp_path / 'G.pth'}"
    assert one_line(error) == f"{tmp_path / 'config.json'}: {words}"


# Other networks


OTHERS = [
    ("enc_p.bert_proj.weight", "a checkpoint of Bert-VITS2"),
    ("sdp.flows.0.m", "a checkpoint of Bert-VITS2"),
    ("enc_p.ssl_proj.weight", "a checkpoint of GPT-SoVITS"),
    ("enc_p.emb_phone.weight", "a checkpoint of RVC"),
    ("enc_p.f0_emb.weight", "a checkpoint of so-vits-svc"),
    ("flow.flows.0.pre_transformer.attn_layers.0.conv_q.weight", "a checkpoint of VITS2"),
    ("enc_p.encoder.spk_emb_linear.weight", "a checkpoint of VITS2"),
    ("dec.subband_conv_post.weight_v", "a checkpoint of MB-iSTFT-VITS"),
    ("discriminators.0.convs.0.bias", "the discriminator (D_*.pth) beside the voice"),
]


@pytest.mark.parametrize(("name", "words"), OTHERS)
def test_another_network_is_called_by_name(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint) as error:
        loaded(tmp_path, golden_state() | {name: torch.zeros(1)})
    assert one_line(error).startswith(f"{tmp_path / 'G.pth'}: is {words}")
    assert f"as {name} shows, and not of VITS itself" in one_line(error)


# Broken checkpoints


def change(state: State, name: Any, tensor: Any) -> State:
    return {**state, name: tensor} if tensor is not None else {n: t for n, t in state.items() if n != name}


BROKEN_TENSORS = [
    ("enc_p.proj.bias", None, "missing: enc_p.proj.bias"),
    ("dec.ups.0.weight_g", None, "missing: dec.ups.0.weight_g"),
    ("flow.flows.0.enc.in_layers.1.weight_v", None, "missing: flow.flows.0.enc.in_layers.1.weight_v"),
    ("dec.resblocks.99.bias", torch.zeros(3), "unknown to this config's network: dec.resblocks.99.bias"),
    ("dec.conv_post.bias", torch.zeros(1), "unknown to this config's network: dec.conv_post.bias"),
    ("enc_p.emb.weight", torch.zeros(60, 16), "enc_p.emb.weight [60, 16], expected [68, 16]"),
    ("dec.ups.0.weight_g", torch.zeros(31, 1, 1), "length of dec.ups.0.weight [31, 1, 1] for 32 rows"),
    ("dp.pre.bias", torch.full((16,), torch.nan), "not finite: dp.pre.bias"),
    ("dp.pre.bias", torch.zeros(16, dtype=torch.int64), "dp.pre.bias is not a tensor of floating-point numbers"),
    ("dp.pre.bias", [0.0] * 16, "dp.pre.bias is not a tensor of floating-point numbers"),
    ("dp.pre.bias", torch.zeros(16).to_sparse(), "dp.pre.bias is a sparse_coo tensor, expected a dense one"),
    ("dp.pre.bias", torch.zeros(16, device="meta"), "dp.pre.bias is a meta tensor, expected a dense one"),
    ("dp.pre.bias", torch.zeros(1).expand(16), "dp.pre.bias is stored once for several rows, expected all of its"),
    (3, torch.zeros(16), "holds no state dict: '3' is no name of a tensor"),
    (("a", 1), torch.zeros(16), "holds no state dict: \"('a', 1)\" is no name of a tensor"),
]


@pytest.mark.parametrize(("name", "tensor", "words"), BROKEN_TENSORS)
def test_a_broken_tensor_is_named(name: Any, tensor: Tensor | None, words: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint) as error:
        loaded(tmp_path, change(golden_state(), name, tensor))
    assert one_line(error).startswith(f"{tmp_path / 'G.pth'}: ")
    assert words in one_line(error)


def test_many_broken_tensors_are_counted(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in golden_state().items() if not name.startswith("enc_p.")}
    with pytest.raises(BrokenCheckpoint, match=r"missing: enc_p\.emb\.weight, .* and \d+ more$"):
        loaded(tmp_path, state)


@pytest.mark.parametrize("content", [{}, [], torch.zeros(3), {"model": {}}, {"model": 3}])
def test_a_file_without_tensors_is_refused(content: object, tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint) as error:
        loaded(tmp_path, content)
    assert one_line(error).startswith(f"{tmp_path / 'G.pth'}: ")


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def without_directory(content: bytes) -> bytes:
    return content[:-200]


def garbled(content: bytes) -> bytes:
    return content[:100] + bytes(2000) + content[2100:]


def empty(content: bytes) -> bytes:
    return b""


def text(content: bytes) -> bytes:
    return b"<!doctype html> 404: not found"


@pytest.mark.parametrize("damage", [cut, without_directory, garbled, empty, text])
def test_a_damaged_file_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "G.pth"
    path.write_bytes(damage((VOICE / "G_latest.pth").read_bytes()))
    with pytest.raises(BrokenCheckpoint) as error:
        load_network(path, read_config(VOICE / "config.json"))
    assert one_line(error).startswith(f"{path}: is not a whole PyTorch checkpoint: ")


def test_a_nested_tensor_is_refused(tmp_path: Path) -> None:
    nested = torch.nested.nested_tensor([torch.zeros(3), torch.zeros(4)], layout=torch.jagged)
    with pytest.raises(BrokenCheckpoint) as error:
        loaded(tmp_path, change(golden_state(), "dp.pre.bias", nested))
    assert one_line(error)


def safetensors_of(state: State) -> bytes:
    header = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    return len(header).to_bytes(8, "little") + header + bytes(4)


FOREIGN = [
    (POINTER, "it is a Git LFS pointer, which only names the real file: fetch that with git lfs pull"),
    (b"<html><title>404", "it is a web page: download the file itself"),
    (safetensors_of({}), "it is a safetensors file"),
    (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0", "it is an ONNX file"),
    (b"\x1f\x8b\x08\x00", "it is an archive: unpack it first"),
    (b'{"model": {}}', "it looks like JSON"),
    (b"", "it is empty"),
]


@pytest.mark.parametrize(("content", "words"), FOREIGN)
def test_what_a_file_really_is_is_said(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "G.pth"
    path.write_bytes(content)
    with pytest.raises(BrokenCheckpoint) as error:
        load_network(path, read_config(VOICE / "config.json"))
    assert one_line(error) == f"{path}: is not a whole PyTorch checkpoint: {words}"


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint):
        loaded(tmp_path, {"model": golden_state(), "optimizer": nn.Conv1d(1, 1, 1)})


@pytest.mark.parametrize("name", ["absent.pth", "."])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint) as error:
        load_network(tmp_path / name, read_config(VOICE / "config.json"))
    assert one_line(error).startswith(f"{tmp_path / name}: cannot be read: ")


# Configs


def changed_config(key: str, value: Any) -> dict[str, Any]:
    """The golden config with one value replaced, or left out where it is None."""
    config = golden_config()
    *path, last = key.split(".")
    table = config
    for name in path:
        table = table[name]
    table[last] = value
    if value is None:
        del table[last]
    return config


@pytest.mark.parametrize("name", sorted(path.name for path in (GOLDEN / "network").iterdir()))
def test_configs_of_fine_tunes_are_read(name: str) -> None:
    config = read_config(GOLDEN / "network" / name / "config.json")
    assert isinstance(config.front_end, CleanerFrontEnd)
    assert config.front_end.add_blank
    assert config.hop_length == 256
    assert len(config.symbols) in (43, 68)


def test_original_symbol_tables() -> None:
    tables = json.loads((GOLDEN / "text/symbols.json").read_text())
    assert {*tables} < {*SYMBOLS}
    for cleaner, symbols in tables.items():
        assert [*SYMBOLS[cleaner]] == symbols


def test_a_config_without_symbols_takes_those_of_its_cleaner(tmp_path: Path) -> None:
    assert read_config(saved_config(tmp_path, changed_config("symbols", None))).symbols == tuple(
        golden_config()["symbols"]
    )


@pytest.mark.parametrize(
    ("speakers", "expected"),
    [
        ({"a": 2, "b": 0}, {"a": 2, "b": 0}),
        (["a", "b"], {"a": 0, "b": 1}),
        ({}, {}),
        ([], {}),
        (None, {}),
    ],
)
def test_speakers_are_a_table_or_a_list_or_missing(speakers: Any, expected: dict[str, int], tmp_path: Path) -> None:
    assert read_config(saved_config(tmp_path, changed_config("speakers", speakers))).speakers == expected


def optional(config: Config) -> tuple[object, ...]:
    return config.shape.use_sdp, config.shape.gin_channels, config.n_speakers, config.languages


def test_what_a_config_need_not_say(tmp_path: Path) -> None:
    config = golden_config()
    del config["model"]["gin_channels"], config["data"]["n_speakers"], config["train"]
    assert optional(read_config(saved_config(tmp_path, config))) == (True, 0, 0, ())


BROKEN_CONFIGS = [
    ("data", None, "top level: data = (missing): expected a table"),
    ("model", [], "top level: model = []: expected a table"),
    ("data.hop_length", None, "data: hop_length = (missing)"),
    ("data.hop_length", 300, "data: hop_length = 300: expected the product of model.upsample_rates, 256"),
    ("data.sampling_rate", "22050", "data: sampling_rate = '22050': expected a whole number"),
    ("data.sampling_rate", True, "data: sampling_rate = True: expected a whole number"),
    ("data.add_blank", None, "data: add_blank = (missing): expected true or false"),
    ("data.n_speakers", -1, "data: n_speakers = -1: expected a whole number from 0 to 100000"),
    ("data.text_cleaners", "cjke_cleaners2", "data: text_cleaners = 'cjke_cleaners2': expected a list of strings"),
    ("data.text_cleaners", ["klingon_cleaners"], "data: text_cleaners = ['klingon_cleaners']: expected a list of one"),
    (
        "data.text_cleaners",
        ["cjke_cleaners2", "cjke_cleaners"],
        "data: text_cleaners = ['cjke_cleaners2', 'cjke_cleaners']: expected",
    ),
    ("model.inter_channels", 15, "model: inter_channels = 15: expected an even number"),
    ("model.hidden_channels", 15, "model: hidden_channels = 15: expected a multiple of model.n_heads, 2"),
    ("model.resblock", "3", 'model: resblock = \'3\': expected "1" or "2"'),
    ("model.resblock", None, "model: resblock = (missing)"),
    ("model.resblock_kernel_sizes", [3, 4, 5], "model: resblock_kernel_sizes = [3, 4, 5]: expected odd numbers"),
    ("model.resblock_dilation_sizes", [[1, 3]], "model: resblock_dilation_sizes = [[1, 3]]: expected as many"),
    (
        "model.resblock_dilation_sizes",
        [1, 3, 5],
        "model: resblock_dilation_sizes = [1, 3, 5]: expected a list of at most 12 lists",
    ),
    ("model.upsample_rates", [], "model: upsample_rates = []: expected a list of 1 to 12 whole numbers"),
    ("model.upsample_rates", [8, 8, 4], "model: upsample_kernel_sizes = [16, 16, 4, 4]: expected each"),
    ("model.upsample_kernel_sizes", [15, 16, 4, 4], "model: upsample_kernel_sizes = [15, 16, 4, 4]: expected each"),
    ("model.upsample_initial_channel", 24, "model: upsample_initial_channel = 24: expected a multiple of 16"),
    ("model.use_sdp", "yes", "model: use_sdp = 'yes': expected true or false"),
    ("data.sampling_rate", 7_999, "data: sampling_rate = 7999: expected a whole number from 8000 to 192000"),
    ("data.sampling_rate", 192_001, "data: sampling_rate = 192001: expected a whole number from 8000 to 192000"),
    ("data.hop_length", 10**9, "data: hop_length = 1000000000: expected a whole number from 1 to 4096"),
    ("data.n_speakers", 10**6, "data: n_speakers = 1000000: expected a whole number from 0 to 100000"),
    ("model.inter_channels", 10**9, "model: inter_channels = 1000000000: expected a whole number from 1 to 16384"),
    ("model.hidden_channels", 10**30, f"model: hidden_channels = {10**30}: expected a whole number from 1 to 16384"),
    ("model.filter_channels", 10**9, "model: filter_channels = 1000000000: expected a whole number from 1 to 16384"),
    ("model.gin_channels", 10**9, "model: gin_channels = 1000000000: expected a whole number from 0 to 16384"),
    ("model.n_heads", 1000, "model: n_heads = 1000: expected a whole number from 1 to 256"),
    ("model.n_layers", 10**9, "model: n_layers = 1000000000: expected a whole number from 1 to 64"),
    ("model.kernel_size", 99, "model: kernel_size = 99: expected a whole number from 1 to 31"),
    ("model.resblock_kernel_sizes", [99], "model: resblock_kernel_sizes = [99]: expected a list of 1 to 12 whole"),
    ("model.resblock_dilation_sizes", [[999]], "model: resblock_dilation_sizes = [[999]]: expected a list of at most"),
    ("model.upsample_rates", [256], "model: upsample_rates = [256]: expected a list of 1 to 12 whole numbers from 1"),
    ("model.upsample_rates", 13 * [1], f"model: upsample_rates = {13 * [1]}: expected a list of 1 to 12 whole numbers"),
    ("model.upsample_initial_channel", 2**20, "model: upsample_initial_channel = 1048576: expected a whole number"),
    ("symbols", 70_000 * ["a"], f"top level: symbols = {str(12 * ['a'])[:57]}...: expected at most 65536"),
    ("speakers", 100_001 * ["a"], f"top level: speakers = {str(12 * ['a'])[:57]}...: expected at most 100000"),
    ("symbols", [], "top level: symbols = []: expected a list of strings"),
    ("speakers", {"a": "0"}, "top level: speakers = {'a': '0'}: expected a list of names, or a table"),
    ("speakers", ["a", "b", "a"], "top level: speakers = ['a', 'b', 'a']: expected each name once"),
    ("languages", {"dave": ["en"]}, "languages: dave = ['en']: expected none: it is no speaker; speakers are alice"),
    ("languages", {"alice": "en"}, "languages: alice = 'en': expected a list of strings"),
    ("languages", {"alice": ["xx"]}, "languages: alice = ['xx']: expected some of those that cjke_cleaners2 speaks"),
    ("languages", ["en", "xx"], "top level: languages = ['en', 'xx']: expected some of those that cjke_cleaners2"),
]


@pytest.mark.parametrize(("key", "value", "words"), BROKEN_CONFIGS)
def test_a_broken_key_is_named_with_its_value(key: str, value: Any, words: str, tmp_path: Path) -> None:
    path = saved_config(tmp_path, changed_config(key, value))
    with pytest.raises(BrokenCheckpoint) as error:
        read_config(path)
    assert one_line(error).startswith(f"{path}: {words}")


NO_CONFIGS = [
    (b"", "is not JSON: it is empty"),
    (b"{", "is not JSON: "),
    (b"[1, 2]", "top level = [1, 2]: expected a table"),
    (b"\xff\xfe\x00", "is not JSON: "),
    (b"null", "top level = None: expected a table"),
    (100_000 * b"[", "is not a config: its tables are nested too deeply"),
    (b'{"data": ' + 5000 * b"9" + b"}", "is not JSON: "),
    (POINTER, "is not JSON: it is a Git LFS pointer"),
    (b"\n<!DOCTYPE html>\n<html>", "is not JSON: it is a web page"),
    (
        '{"speakers": ["\u5f20\u4e09"]}'.encode("gbk"),
        "is not JSON: it is not UTF-8, but perhaps GBK: please save it as",
    ),
    (b"PK\x03\x04" + bytes(range(128, 256)), "is not JSON: it is a zip archive"),
]


@pytest.mark.parametrize(("content", "words"), NO_CONFIGS)
def test_a_file_that_is_no_config_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(BrokenCheckpoint) as error:
        read_config(path)
    assert one_line(error).startswith(f"{path}: {words}")


def with_mark(text: str) -> bytes:
    return text.encode("utf-8-sig")


def in_utf_16(text: str) -> bytes:
    return text.encode("utf-16")


def with_comments(text: str) -> bytes:
    return text.replace('"data"', '// a "comment"\n/* and\nanother */ "data"').encode()


def with_trailing_commas(text: str) -> bytes:
    return re.sub(r"\n(\s*[}\]])", r", // the last, ]\n\1", text).encode()


@pytest.mark.parametrize("start", ['{"a": 1,', ""])
@pytest.mark.parametrize("part", ["/**/", "/*", "/* ", ",/*", ", ", "//\n", '\\"', '"', '"\\', "*/"])
def test_a_long_file_that_is_no_json_is_refused_in_time(start: str, part: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(start + part * 20_000 + "x")
    started = process_time()
    with pytest.raises(BrokenCheckpoint, match="is not JSON"):
        read_config(path)
    assert process_time() - started < 2.0


@pytest.mark.parametrize("write", [with_mark, in_utf_16, with_comments, with_trailing_commas])
def test_json_that_is_almost_json_is_read(write: Callable[[str], bytes], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    config = golden_config() | {"speakers": {"http://x, ]": 0, "张,}": 1}}
    path.write_bytes(write(json.dumps(config, ensure_ascii=False, indent=1)))
    assert read_config(path).speakers == {"http://x, ]": 0, "张,}": 1}


@pytest.mark.parametrize("name", [300 * "x", "a\0b"])
def test_a_name_that_no_file_can_have_is_an_error_of_one_line(name: str, tmp_path: Path) -> None:
    for read in (read_config, lambda path: load_network(path, read_config(VOICE / "config.json"))):
        with pytest.raises(BrokenCheckpoint) as error:
            read(tmp_path / name)
        assert one_line(error)


# Front end and symbols


@pytest.mark.parametrize(("cleaner", "language"), [(name, row) for name in CLEANERS for row in languages(name)])
def test_the_letters_of_each_front_end_are_those_that_it_makes(cleaner: str, language: str) -> None:
    text = SYLLABLES[language]
    if CLEANERS[cleaner].tagged:
        text = f"[{language.upper()}]{text}[{language.upper()}]"
    assert letters(clean(text, cleaner)) == LETTERS[cleaner][language]


def test_a_cleaner_that_writes_other_letters_than_the_symbols_is_refused(tmp_path: Path) -> None:
    config = changed_config("symbols", [*SYMBOLS["chinese_cleaners"]])
    with pytest.raises(BrokenCheckpoint) as error:
        read_config(saved_config(tmp_path, config))
    assert "symbols = ['_', " in one_line(error)
    assert "expected letters that cjke_cleaners2 makes: most of those are not there" in one_line(error)


def test_symbols_that_lack_some_letters_are_a_warning(tmp_path: Path) -> None:
    config = changed_config("data.text_cleaners", ["cjke_cleaners"])
    config["symbols"] = [symbol for symbol in config["symbols"] if symbol not in "θəfɹ"]
    (warning,) = read_config(saved_config(tmp_path, config)).warnings
    assert warning.startswith(f"{tmp_path / 'config.json'}: symbols has only ")
    assert " 80% of those of en that cjke_cleaners makes: is text_cleaners right?" in warning


def test_languages_that_a_voice_does_not_speak_may_lack_letters(tmp_path: Path) -> None:
    config = golden_config() | {"languages": ["ja"]}
    config["symbols"] = [symbol for symbol in config["symbols"] if symbol not in "θəfɹ"]
    assert read_config(saved_config(tmp_path, config)).warnings == ()


@pytest.mark.parametrize("name", sorted(path.name for path in (GOLDEN / "network").iterdir()))
def test_sound_configs_have_no_warnings(name: str) -> None:
    assert read_config(GOLDEN / "network" / name / "config.json").warnings == ()


def test_a_config_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint, match=r"absent\.json: cannot be read: No such file"):
        read_config(tmp_path / "absent.json")
