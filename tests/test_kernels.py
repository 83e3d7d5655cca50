import pytest
import torch
from torch import Tensor

from vits import kernels
from vits.kernels import Convolution, works_in_one_pass

pytestmark = pytest.mark.usefixtures("one_thread")

ONE_PASS = [
    pytest.param(
        dtype, marks=pytest.mark.skipif(not works_in_one_pass(dtype), reason="PyTorch has no such operators here")
    )
    for dtype in (torch.float32, torch.bfloat16)
]


def random(*shape: int) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def convolution(dilation: int = 3) -> Convolution:
    torch.manual_seed(0)
    return Convolution(random(16, 16, 1, 5) / 9, torch.randn(16), 0, dilation)


@pytest.fixture
def public_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "works_in_one_pass", lambda dtype: False)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", ONE_PASS)
def test_one_pass_gives_what_the_public_operators_give(dtype: torch.dtype) -> None:
    plain = convolution().to(dtype)
    fused = plain.for_columns(60)
    assert fused.weight.is_mkldnn
    x, other = random(1, 16, 1, 60).to(dtype), random(1, 16, 1, 60 - 2 * plain.reach).to(dtype)
    tolerance = 10 * torch.finfo(dtype).eps
    for ours, expected in (
        (fused(x), plain(x)),
        (fused(x, slope=0.1), plain(x, slope=0.1)),
        (fused(x, plus=other), plain(x, plus=other)),
        (fused(x, into=other.clone()), plain(x, into=other.clone())),
    ):
        torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


@torch.inference_mode()
@pytest.mark.parametrize("columns", [60, 0])
def test_a_sum_in_place_changes_only_the_part_that_was_given(columns: int) -> None:
    conv = convolution(dilation=1)
    conv = conv.for_columns(columns) if columns else conv
    longer, x = random(1, 16, 1, 70), random(1, 16, 1, 60)
    before, part = longer.clone(), longer[..., 7:63]
    assert conv(x, into=part) is part
    torch.testing.assert_close(part, before[..., 7:63] + conv(x))
    assert torch.equal(longer[..., :7], before[..., :7])
    assert torch.equal(longer[..., 63:], before[..., 63:])


@torch.inference_mode()
@pytest.mark.parametrize("dtype", ONE_PASS)
def test_weights_survive_a_change_of_type(dtype: torch.dtype) -> None:
    plain = convolution()
    again = plain.for_columns(60).to(dtype)
    assert again.weight.is_mkldnn
    assert torch.equal(again.weight.to_dense(), plain.weight.to(dtype))


@pytest.mark.usefixtures("public_only")
def test_weights_stay_as_they_are_where_one_pass_does_not_work() -> None:
    conv = convolution()
    assert conv.for_columns(60).weight is conv.weight


def wrong(*args: object) -> Tensor:
    raise RuntimeError("not on this machine")


@pytest.mark.parametrize("name", ["_in_one_pass", "_in_onednn_order"])
def test_operators_that_fail_are_not_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, name, wrong)
    works_in_one_pass.cache_clear()
    try:
        assert not works_in_one_pass(torch.float32)
    finally:
        works_in_one_pass.cache_clear()


def test_operators_that_give_other_numbers_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    public = kernels._by_public_operators
    monkeypatch.setattr(kernels, "_in_one_pass", lambda conv, x, *rest: public(convolution(1), x, *rest))
    works_in_one_pass.cache_clear()
    try:
        assert not works_in_one_pass(torch.float32)
    finally:
        works_in_one_pass.cache_clear()
