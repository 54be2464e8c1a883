"""What a run folder says of its data."""

from dataclasses import replace

from ssl_bio.runs.audit import DataAudit, audit
from tests.tasks.small_recipes import prepared, task_recipe


def test_people_and_windows_of_each_split_and_what_splits_share() -> None:
    dataset = prepared(task_recipe("classification", "timemae"))
    found = audit(dataset, "subject", ["seen"])
    splits = dataset.splits["subject"]
    assert {name: size.windows for name, size in found.splits.items()} == {
        name: len(rows) for name, rows in splits.items()
    }
    assert found.splits["test"].people == len(set(dataset.subjects[splits["test"]]))
    assert set(found.overlap) == {"train/val", "train/test", "val/test"}
    assert all(both.subjects == 0 for both in found.overlap.values())
    assert (found.fingerprint, found.notes) == (dataset.info.fingerprint, ("seen",))
    assert DataAudit.model_validate_json(found.model_dump_json()) == found


def test_people_who_are_in_two_splits_are_counted_in_any_scheme() -> None:
    dataset = prepared(task_recipe("classification", "timemae"))
    splits = dict(dataset.splits["subject"])
    splits["test"] = splits["train"][:1]
    found = audit(replace(dataset, splits={"subject": splits}), "subject")
    assert found.overlap["train/test"].subjects == 1
