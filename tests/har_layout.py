"""Writes a small `UCI HAR Dataset` in the publisher's layout, with signals that tell the activities apart."""

from pathlib import Path

import numpy as np

from ssl_bio.data.readers.har import CHANNELS

ACTIVITIES = ("WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS", "SITTING", "STANDING", "LAYING")
TRAIN_PEOPLE, TEST_PEOPLE = (1, 3, 5, 6, 7, 8), (2, 4)


def write(home: Path, windows_per_activity: int = 3, seed: int = 0) -> Path:
    """Write the folder and return it."""
    rng = np.random.default_rng(seed)
    home.mkdir(parents=True)
    home.joinpath("activity_labels.txt").write_text(
        "".join(f"{number} {name}\n" for number, name in enumerate(ACTIVITIES, 1))
    )
    time = np.arange(128) / 50
    for part, people in (("train", TRAIN_PEOPLE), ("test", TEST_PEOPLE)):
        folder = home / part / "Inertial Signals"
        folder.mkdir(parents=True)
        rows = [(person, code) for person in people for code in range(6) for _ in range(windows_per_activity)]
        home.joinpath(part, f"y_{part}.txt").write_text("".join(f"{code + 1}\n" for _, code in rows))
        home.joinpath(part, f"subject_{part}.txt").write_text("".join(f"{person}\n" for person, _ in rows))
        for index, channel in enumerate(CHANNELS):
            waves = [np.sin(2 * np.pi * (code + 1) * time + index + rng.uniform(0, 6)) for _, code in rows]
            table = np.array(waves) + 0.3 * rng.standard_normal((len(rows), 128))
            # Two spaces before a positive number, as the publisher writes it.
            lines = ["".join(f"{value: 16.7e}" for value in row) for row in table]
            folder.joinpath(f"{channel}_{part}.txt").write_text("\n".join(lines) + "\n")
    return home
