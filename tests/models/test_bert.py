"""BERT in place of TimeMAE's encoder."""

import sys
from pathlib import Path

import pytest
import torch

from ssl_bio.errors import CheckpointError, RecipeError
from ssl_bio.models.bert import BertEncoder, bert_encoder
from ssl_bio.models.masking import random_mask
from ssl_bio.models.timemae import TimeMAE, TimeMAEBackbone


def small(d_model: int = 16, n_tokens: int = 8, weights: str = "") -> BertEncoder:
    return bert_encoder(d_model=d_model, n_layers=2, n_heads=2, dropout=0.0, n_tokens=n_tokens, weights=weights)


def backbone(length: int = 64, wave_length: int = 8, bert_weights: str = "") -> TimeMAEBackbone:
    return TimeMAEBackbone(
        n_channels=2,
        length=length,
        d_model=16,
        n_layers=2,
        n_heads=2,
        wave_length=wave_length,
        encoder="bert",
        bert_weights=bert_weights,
    )


def test_missing_library_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(RecipeError, match=r'pip install "ssl-bio\[bert\]"'):
        small()


class TestWithLibrary:
    """With the extra installed."""

    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        pytest.importorskip("transformers", reason='the extra "bert" is not installed')

    def test_encodes_any_subset_of_tokens_and_trains(self) -> None:
        model = TimeMAE(backbone=backbone(), decoder_layers=1, vocab_size=6)
        masked = random_mask(n_tokens=8, mask_ratio=0.6, batch_size=3, per_sample=True)
        model(torch.randn(3, 2, 64), masked).representation.sum().backward()
        assert all(p.grad is None for p in model.target.parameters())
        model.update_target(0.9)

    def test_local_weights_are_read_and_their_width_checked(self) -> None:
        made = small()
        made.bert.save_pretrained("weights")  # type: ignore[operator]  # transformers' own method
        read = small(weights="weights")
        x = torch.randn(2, 5, 16)
        torch.testing.assert_close(read.eval()(x), made.eval()(x))
        with pytest.raises(RecipeError, match=r"has d_model 16, n_layers 2, n_heads 2, not 32, 2, 2"):
            small(d_model=32, weights="weights")
        Path("empty").mkdir()
        with pytest.raises(CheckpointError, match="no BERT weights"):
            small(weights="empty")

    def test_pickled_weights_are_never_read(self) -> None:
        small().bert.save_pretrained("pickled")  # type: ignore[operator]  # transformers' own method
        Path("pickled/model.safetensors").unlink()
        torch.save(small().bert.state_dict(), "pickled/pytorch_model.bin")
        with pytest.raises(CheckpointError, match=r"pickled \(\*\.bin\).*save them in safetensors"):
            small(weights="pickled")

    def test_more_than_512_tokens(self) -> None:
        long = backbone(length=600, wave_length=1)
        assert long(torch.randn(1, 2, 600)).shape == (1, 600, 16)
        assert long.max_length == 600

    def test_given_weights_have_so_many_positions_and_no_more(self) -> None:
        small().bert.save_pretrained("weights")  # type: ignore[operator]  # transformers' own method
        with pytest.raises(RecipeError, match=r"windows of 600 tokens are too long .* 512 positions"):
            backbone(length=600, wave_length=1, bert_weights="weights")
