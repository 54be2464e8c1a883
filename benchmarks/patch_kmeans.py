"""A plain baseline for the VQ-VAE: k-means codewords of raw patches of the same recordings, beside its metrics.

Run: make bench, with mitdb prepared (`ssl-bio data prepare mitdb --from ...`).
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans

from ssl_bio.config.load import load_recipe
from ssl_bio.config.models import VQVAEConfig
from ssl_bio.config.pretexts import VQVAEPretextConfig
from ssl_bio.config.resolve import resolve
from ssl_bio.console import note, table
from ssl_bio.data.dataset import PreparedDataset
from ssl_bio.errors import DataError
from ssl_bio.metrics.codes import codes_used, perplexity
from ssl_bio.runs.checkpoint import load_metadata
from ssl_bio.runs.folder import RunFolder
from ssl_bio.tasks.base import expect
from ssl_bio.tasks.datasets import open_recipe_dataset


def main() -> None:
    """Fit on training records, measure on validation records, print."""
    recipe = resolve([load_recipe("ecg-vqvae.toml")]).recipe
    model, pretext = expect(VQVAEConfig, recipe.model), expect(VQVAEPretextConfig, recipe.pretrain)
    try:
        dataset = open_recipe_dataset(recipe.data)
    except DataError as error:
        note(f"k-means on patches left out: {error}")
        return
    n_words, length = pretext.quantizer.codebook_size, model.wave_length
    train, val = (
        _patches(dataset, dataset.rows(recipe.data.split_scheme, split), length) for split in ("train", "val")
    )
    words = MiniBatchKMeans(n_words, batch_size=4096, n_init=1, max_iter=30, random_state=0).fit(train)
    rows = []
    for split, patches in (("train", train), ("val", val)):
        codes = words.predict(patches)
        counts = torch.bincount(torch.from_numpy(codes).long(), minlength=n_words).float()
        rows.append(
            [
                f"k-means, {split}",
                f"{np.square(patches - words.cluster_centers_[codes]).mean():.4f}",
                f"{perplexity(counts):.0f}",
                f"{codes_used(counts):.1%}",
            ]
        )
    rows += _ours(Path("checkpoints") / recipe.name / "pretrain-seed0")
    table(f"{n_words} codewords, one for {length} samples", ["", "MSE", "perplexity", "codewords used"], rows)


def _ours(folder: Path) -> list[list[str]]:
    """Return the metrics of a finished run of the recipe, if there is one."""
    if not RunFolder(folder).complete:
        note(f"no finished run in {folder} to stand beside it (ssl-bio pretrain --recipe ecg-vqvae.toml)")
        return []
    metrics = load_metadata(folder).metrics
    return [
        [
            f"ssl-bio, {split}",
            f"{metrics[f'{prefix}mse']:.4f}",
            f"{metrics[f'{prefix}perplexity']:.0f}",
            f"{metrics[f'{prefix}codes_used']:.1%}",
        ]
        for split, prefix in (("train, augmented", ""), ("val", "val_"))
    ]


def _patches(dataset: PreparedDataset, rows: NDArray[np.int64], length: int) -> NDArray[np.float32]:
    return dataset.read(rows).reshape(-1, length)


if __name__ == "__main__":
    main()
