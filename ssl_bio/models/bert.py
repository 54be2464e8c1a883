"""A standard BERT encoder in place of TimeMAE's own, for comparison."""

from pathlib import Path

from torch import Tensor, nn

from ssl_bio.errors import CheckpointError, RecipeError

_N_POSITIONS = 512  # of BERT as published


class BertEncoder(nn.Module):
    """BERT (Devlin et al. 2019) on token embeddings: `(batch, n, d_model)` -> the same shape.

    Its own position embeddings number the tokens that it is given.
    """

    def __init__(self, bert: nn.Module, n_layers: int) -> None:
        super().__init__()
        self.bert, self.n_layers = bert, n_layers
        bert.get_submodule("embeddings.word_embeddings").requires_grad_(False)  # words are never shown

    def hidden_states(self, tokens: Tensor) -> list[Tensor]:
        """Return the tokens after each layer."""
        output = self.bert(inputs_embeds=tokens, output_hidden_states=True)
        return list(output.hidden_states[1:])

    def forward(self, tokens: Tensor) -> Tensor:
        output: Tensor = self.bert(inputs_embeds=tokens).last_hidden_state
        return output

    @property
    def layers(self) -> list[nn.Module]:
        """Return its transformer layers."""
        return list(self.bert.get_submodule("encoder.layer").children())


def bert_encoder(
    *, d_model: int, n_layers: int, n_heads: int, dropout: float, n_tokens: int, weights: str = ""
) -> BertEncoder:
    """Return a BERT encoder of this shape for up to `n_tokens` tokens.

    Its weights are random, or those in the local folder `weights`, in safetensors.

    Raises RecipeError when the library transformers is missing or the folder's model has another shape or too few
    positions, and CheckpointError when the folder holds none or only pickled weights, which are never read.
    """
    try:
        from transformers import BertConfig, BertModel
    except ImportError as error:
        raise RecipeError('model.encoder "bert" needs the library transformers: pip install "ssl-bio[bert]"') from error
    if weights:
        _refuse_pickles(weights)
        try:
            bert = BertModel.from_pretrained(
                weights, add_pooling_layer=False, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"model.bert_weights {weights}: no BERT weights in safetensors there that transformers reads"
            ) from error
        shape = bert.config.hidden_size, bert.config.num_hidden_layers, bert.config.num_attention_heads
        if shape != (d_model, n_layers, n_heads) or bert.config.intermediate_size != 4 * d_model:
            raise RecipeError(
                f"model: the BERT in {weights} has d_model {shape[0]}, n_layers {shape[1]}, n_heads {shape[2]}, "
                f"not {d_model}, {n_layers}, {n_heads}"
            )
        n_positions = bert.config.max_position_embeddings
        if n_tokens > n_positions:
            raise RecipeError(
                f"model: windows of {n_tokens} tokens are too long for the BERT in {weights}, which has "
                f"{n_positions} positions: raise model.wave_length, or set model.window"
            )
        # Words are never shown; without their table the weights fit a network built from the recipe alone.
        bert.embeddings.word_embeddings = nn.Embedding(1, d_model)
        return BertEncoder(bert, n_layers)
    config = BertConfig(
        vocab_size=1,  # tokens come as embeddings
        hidden_size=d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=4 * d_model,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        max_position_embeddings=max(_N_POSITIONS, n_tokens),
    )
    return BertEncoder(BertModel(config, add_pooling_layer=False), n_layers)


def _refuse_pickles(weights: str) -> None:
    folder = Path(weights)
    if any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"model.bert_weights {weights}: its weights are pickled (*.bin), which can run code and is never read: "
            "save them in safetensors"
        )
