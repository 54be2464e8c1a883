"""A standard BERT encoder in place of TimeMAE's own, for the ablation of the lab's notebook."""

from typing import cast

from torch import Tensor, nn

from ssl_bio.errors import CheckpointError, RecipeError


class BertTokens(nn.Module):
    """BERT (Devlin et al. 2019) on token embeddings: `(batch, n, d_model)` -> the same shape.

    Its own position embeddings number the tokens it is shown, as in the notebook.
    """

    def __init__(self, bert: nn.Module, depth: int) -> None:
        super().__init__()
        self.bert, self.depth = bert, depth

    def layers(self, tokens: Tensor) -> list[Tensor]:
        """The tokens after each layer."""
        output = self.bert(inputs_embeds=tokens, output_hidden_states=True)
        return list(output.hidden_states[1:])

    def forward(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, self.bert(inputs_embeds=tokens).last_hidden_state)


def bert_encoder(d_model: int, n_layers: int, n_heads: int, dropout: float, weights: str) -> BertTokens:
    """A BERT encoder of this shape with random weights, or the one in the local folder `weights`.

    Raises RecipeError when the library transformers is missing or the folder's model has another
    shape, and CheckpointError when the folder holds none.
    """
    try:
        from transformers import BertConfig, BertModel
    except ImportError as error:
        raise RecipeError('model.encoder "bert" needs the library transformers: pip install "ssl-bio[bert]"') from error
    if weights:
        try:
            bert = BertModel.from_pretrained(weights, add_pooling_layer=False, local_files_only=True)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"model.bert_weights {weights}: no BERT weights there that transformers reads"
            ) from error
        shape = bert.config.hidden_size, bert.config.num_hidden_layers, bert.config.num_attention_heads
        if shape != (d_model, n_layers, n_heads) or bert.config.intermediate_size != 4 * d_model:
            raise RecipeError(
                f"model: the BERT in {weights} has d_model {shape[0]}, n_layers {shape[1]}, n_heads {shape[2]}, "
                f"not {d_model}, {n_layers}, {n_heads}"
            )
        # Words are never shown; without their table the weights fit a network built from the recipe alone.
        bert.embeddings.word_embeddings = nn.Embedding(1, d_model)
        return BertTokens(bert, n_layers)
    config = BertConfig(
        vocab_size=1,  # tokens come as embeddings
        hidden_size=d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=4 * d_model,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return BertTokens(BertModel(config, add_pooling_layer=False), n_layers)
