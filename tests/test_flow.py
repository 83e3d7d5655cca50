import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vits.flow
from vits.flow import Block, BlockedFlow
from vits.network import ResidualCouplingBlock

CHANNELS, GIN, FIRST = 8, 4, 6
SIZES = (4, 9)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(vits.flow, "BLOCK_SIZES", SIZES)


def whole(gin_channels: int = 0, n_flows: int = 4) -> ResidualCouplingBlock:
    flow = ResidualCouplingBlock(CHANNELS, 12, gin_channels, layers=2, n_flows=n_flows)
    for weight in flow.parameters():
        nn.init.normal_(weight, 0.0, 0.3)
    return flow.requires_grad_(False)


def blocked(flow: ResidualCouplingBlock) -> BlockedFlow:
    return BlockedFlow(copy.deepcopy(flow), FIRST)


def latents(flow: BlockedFlow, z_p: Tensor) -> tuple[Tensor, list[Block]]:
    """The latents [T, C] of samples of the prior [T, C], and the blocks that they were computed in."""
    blocks: list[Block] = []
    made: list[Tensor] = []
    while (start := sum(map(len, made))) < len(z_p):
        block = flow.next_block(start, len(z_p))
        first, last = flow.span(block)
        rows = F.pad(z_p[max(first, 0) : last], (0, 0, max(-first, 0), max(last - len(z_p), 0)), value=9.0)
        blocks.append(block)
        made.append(flow(rows, block, len(z_p))[: len(z_p) - start])
    return torch.cat(made), blocks


@pytest.mark.parametrize("n_flows", [3, 4])
@pytest.mark.parametrize("speaker", [False, True])
def test_latents_in_blocks_equal_those_of_the_whole_flow(speaker: bool, n_flows: int) -> None:
    flow, g = whole(GIN if speaker else 0, n_flows), torch.randn(GIN) if speaker else None
    ours = blocked(flow).spoken_by(g)
    for n_frames in range(1, 60):
        z_p = torch.randn(n_frames, CHANNELS)
        expected = flow(z_p.t()[None], torch.ones(1, 1, n_frames), None if g is None else g[None, :, None])
        torch.testing.assert_close(latents(ours, z_p)[0], expected[0].t(), atol=1e-5, rtol=1e-5)


def test_tensors_have_a_few_lengths_whatever_the_text() -> None:
    ours = blocked(whole())
    lengths = set()
    for n_frames in range(1, 60):
        for block in latents(ours, torch.randn(n_frames, CHANNELS))[1]:
            first, last = ours.span(block)
            lengths.add((block.start > 0, last - first))
    assert lengths == {(False, FIRST + ours.reach), *((True, size + 2 * ours.reach) for size in SIZES)}


def test_the_flow_reaches_as_far_as_it_says_and_no_further() -> None:
    flow = whole(n_flows=3)
    reach = blocked(flow).reach
    assert reach == 3 * 2 * 2  # 3 couplings with 2 convolutions of kernel size 5 each
    z, mask = torch.randn(1, CHANNELS, 5 * reach), torch.ones(1, 1, 5 * reach)
    frame = 2 * reach
    changed = z.clone()
    changed[:, :, frame] += 1
    reached = (flow(changed, mask) != flow(z, mask)).any(dim=1)[0].nonzero()[:, 0]
    assert (int(reached.min()), int(reached.max())) == (frame - reach, frame + reach)


def test_bfloat16_comes_close_and_takes_half_the_memory() -> None:
    ours = blocked(whole())
    rough, z_p = ours.to(torch.bfloat16), torch.randn(30, CHANNELS)
    expected = latents(ours, z_p)[0]
    result = latents(rough, z_p)[0]
    assert rough.dtype == torch.bfloat16
    assert result.dtype == torch.float32
    assert 0 < (result - expected).square().mean() < 1e-3 * expected.square().mean()
    sizes = [sum(weight.nbytes for weight in flow.parameters()) for flow in (ours, rough)]
    assert sizes[0] == 2 * sizes[1]
