"""Attention against torch's own and by definition, and the transformer layer."""

import pytest
import torch
from torch import nn

from ssl_bio.models.transformer import (
    FullAttention,
    KVCache,
    LocalAttention,
    SlidingWindowAttention,
    TransformerBlock,
    local_attention,
)


def test_attention_agrees_with_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = FullAttention(d_model=16, n_heads=4), nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        assert theirs.in_proj_bias is not None
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    x, context = torch.randn(3, 5, 16), torch.randn(3, 7, 16)
    torch.testing.assert_close(ours(x, context), theirs(x, context, context)[0])


def test_new_post_norm_block_only_normalises() -> None:
    """The learnt scale starts at 1e-8, so a new block is two layer normalisations."""
    x = torch.randn(2, 5, 16)
    normed = nn.functional.layer_norm(x, (16,))
    block = TransformerBlock(FullAttention(d_model=16, n_heads=4), d_model=16, feed_forward_width=64)
    torch.testing.assert_close(block(x), nn.functional.layer_norm(normed, (16,)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 100])
def test_local_attention_in_blocks_is_attention_with_a_band(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 4, generator=generator) for _ in range(3))
    bias = torch.randn(3, 65, generator=generator)
    place = torch.arange(n)
    distance = place - place[:, None]
    mask = bias[:, distance.clamp(-32, 32) + 32].masked_fill(distance.abs() > 32, -torch.inf)
    wanted = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(local_attention(q, k, v, bias=bias), wanted)


def test_gradient_of_distance_biases_is_that_of_a_table() -> None:
    q, k, v = (torch.randn(2, 3, 70, 4, dtype=torch.float64) for _ in range(3))
    bias = torch.randn(3, 65, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda b: local_attention(q, k, v, bias=b), bias)


def test_a_cache_keeps_the_last_samples() -> None:
    torch.manual_seed(0)
    layer = SlidingWindowAttention(d_model=8, n_heads=2, time_steps=5, rotary=True).eval()
    tokens, cache = torch.randn(2, 12, 8), KVCache(position=3)
    with torch.no_grad():
        whole = layer(tokens, KVCache(position=3))
        layer(tokens[:, :2], cache)
        found = [layer(tokens[:, [at]], cache) for at in range(2, 12)]
    torch.testing.assert_close(torch.cat(found, dim=1), whole[:, 2:])
    assert (cache.position, cache.n_samples) == (3 + 12, 12)
    assert cache.keys.shape == (2, 2, 5, 4)


def test_what_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="norm must be"):
        TransformerBlock(FullAttention(d_model=8, n_heads=2), d_model=8, feed_forward_width=8, norm="x")  # type: ignore[arg-type]  # what the test is about
    for attention in (FullAttention, LocalAttention):
        with pytest.raises(ValueError, match="a width of 8 is not a multiple of n_heads 3"):
            attention(d_model=8, n_heads=3)
