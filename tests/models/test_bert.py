"""BERT in place of TimeMAE's encoder."""

import sys
from pathlib import Path

import pytest
import torch

from ssl_bio.errors import CheckpointError, RecipeError
from ssl_bio.models.bert import bert_encoder
from ssl_bio.models.timemae import TimeMAE, TimeMAEBackbone, hide


def test_missing_library_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(RecipeError, match=r'pip install "ssl-bio\[bert\]"'):
        bert_encoder(16, 2, 2, 0.1, "")


class TestWithLibrary:
    """With the extra installed."""

    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        pytest.importorskip("transformers", reason='the extra "bert" is not installed')

    def test_encodes_any_subset_of_tokens_and_trains(self) -> None:
        backbone = TimeMAEBackbone(2, 64, d_model=16, encoder="bert", encoder_module=bert_encoder(16, 2, 2, 0.1, ""))
        x = torch.randn(3, 2, 64)
        assert backbone(x).shape == (3, 8, 16)
        assert len(backbone.layers(x)) == len(backbone.layer_widths) == 3
        model = TimeMAE(backbone, decoder_layers=1, n_heads=2, vocab_size=6)
        model(x, hide(8, 0.6, 3, True)).representation.sum().backward()
        assert all(p.grad is None for p in model.target.parameters())
        model.update_target(0.9)

    def test_local_weights_are_read_and_their_width_checked(self) -> None:
        made = bert_encoder(16, 2, 2, 0.0, "")
        made.bert.save_pretrained("weights")  # type: ignore[operator]  # transformers' own method
        read = bert_encoder(16, 2, 2, 0.0, "weights")
        x = torch.randn(2, 5, 16)
        torch.testing.assert_close(read.eval()(x), made.eval()(x))
        with pytest.raises(RecipeError, match=r"has d_model 16, n_layers 2, n_heads 2, not 32, 2, 2"):
            bert_encoder(32, 2, 2, 0.0, "weights")
        Path("empty").mkdir()
        with pytest.raises(CheckpointError, match="no BERT weights"):
            bert_encoder(16, 2, 2, 0.0, "empty")
