"""The plain answer to the VQ-VAE's figures, beside ours: k-means words on raw patches of the same recordings.

Run: make bench, with mitdb prepared (`ssl-bio data prepare mitdb --from ...`).
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans

from ssl_bio import metrics, recipe, resolve, sources
from ssl_bio.checkpoint import RunFolder
from ssl_bio.data.store import PreparedDataset
from ssl_bio.errors import DataError
from ssl_bio.terminal import note, table


def main() -> None:
    """Fit on training records, judge on validation records, print."""
    plan = resolve.resolve([recipe.load("ecg-vqvae.toml")]).recipe
    try:
        data = sources.dataset(plan.data)
    except DataError as error:
        note(f"k-means on patches left out: {error}")
        return
    n_words, length = plan.model.quantizer.codebook_size, plan.model.wave_length
    train, val = (_patches(data, data.rows(plan.data.validation, split), length) for split in ("train", "val"))
    words = MiniBatchKMeans(n_words, batch_size=4096, n_init=1, max_iter=30, random_state=0).fit(train)
    rows = []
    for split, patches in (("train", train), ("val", val)):
        codes = words.predict(patches)
        counts = torch.bincount(torch.from_numpy(codes).long(), minlength=n_words).float()
        rows.append(
            [
                f"k-means, {split}",
                f"{np.square(patches - words.cluster_centers_[codes]).mean():.4f}",
                f"{metrics.perplexity(counts):.0f}",
                f"{metrics.codes_used(counts):.1%}",
            ]
        )
    rows += _ours(Path("checkpoints") / plan.name / "pretrain-seed0")
    table(f"{n_words} words, one for {length} samples", ["", "MSE", "perplexity", "words used"], rows)


def _ours(folder: Path) -> list[list[str]]:
    """The figures of a finished run of the recipe, if there is one here."""
    if not RunFolder(folder).complete:
        note(f"no finished run in {folder} to stand beside it (ssl-bio pretrain --recipe ecg-vqvae.toml)")
        return []
    figures = RunFolder(folder).load().facts.metrics
    return [
        [
            f"ssl-bio, {split}",
            f"{figures[f'{prefix}mse']:.4f}",
            f"{figures[f'{prefix}perplexity']:.0f}",
            f"{figures[f'{prefix}codes_used']:.1%}",
        ]
        for split, prefix in (("train, augmented", ""), ("val", "val_"))
    ]


def _patches(data: PreparedDataset, rows: NDArray[np.int64], length: int) -> NDArray[np.float32]:
    return data.read(rows).reshape(-1, length)


if __name__ == "__main__":
    main()
