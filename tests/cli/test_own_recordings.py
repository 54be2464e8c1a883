"""One's own recordings as the guide says it: its table, its recipe, a bound on the error that comes out."""

import re
from pathlib import Path

import numpy as np

from ssl_bio.results import sheet
from tests.command_line import refused, succeed
from tests.conftest import REPOSITORY

GUIDE = (REPOSITORY / "docs/guide.md").read_text(encoding="utf-8")
SHEET = Path("results.csv")


def guide_recipe() -> str:
    """Return the recipe `mine.toml` of the guide, word for word."""
    blocks = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)
    (found,) = [block for block in blocks if 'name = "mine"' in block]
    return str(found)


def write_people(folder: Path, column: str) -> None:
    """Write a noisy pulse of 10 people in four files each, 30 s at 50 Hz, and the table."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    time = np.arange(30 * 50) / 50
    lines = [f"file,subject,sampling_rate,{column}"]
    for person in range(10):
        for part in range(4):
            rate = rng.uniform(50, 130)
            pulse = np.exp(-0.5 * (((time * rate / 60 + rng.uniform()) % 1 - 0.4) / 0.08) ** 2)
            np.save(folder / f"p{person}-{part}.npy", (pulse + 0.2 * rng.normal(size=len(time)))[None])
            lines.append(f"p{person}-{part}.npy,p{person},50,{rate:.1f}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")


def test_the_guides_recipe_learns_a_rate(tmp_path: Path) -> None:
    (column,) = set(re.findall(r"heart_rate \[[^\]]+\]", GUIDE))
    write_people(tmp_path / "mine", column)
    Path("mine.toml").write_text(guide_recipe())
    succeed("data", "prepare", "mine", "--from", str(tmp_path / "mine"))
    succeed("finetune", "--recipe", "mine.toml")
    (row,) = sheet.read(SHEET)
    assert float(row["MAE"]) < 6.0, "a spectral peak reaches 4, stretching without the label 12"
    assert float(row["MAE"]) < 0.5 * float(row["MAE_constant"])


def test_stretching_values_of_unknown_unit_is_refused(tmp_path: Path) -> None:
    write_people(tmp_path / "mine", "heart_rate")
    Path("mine.toml").write_text(guide_recipe())
    succeed("data", "prepare", "mine", "--from", str(tmp_path / "mine"))
    said = refused("finetune", "--recipe", "mine.toml")
    assert "nothing says whether 'heart_rate' is one: name its unit in the table" in said
    assert not SHEET.exists()
