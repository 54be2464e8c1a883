"""A model card: what somebody must know who is given a network as a file (after Mitchell et al. 2019)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssl_bio.results.evaluation import Table


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a card is written from.

    `summary`: what the network answers, in a sentence. `outputs`: name -> shape and meaning. `preparation`: lines of a
    recipe that say how recordings became the windows that it was trained on. `people`, `metrics`: tables, perhaps
    empty. `differences`: what was compared with torch -> by how much it differs at most. `origin`: run, versions, ...
    """

    title: str
    summary: str
    model_file: str
    channels: Sequence[str]
    unit: str
    sampling_rate: float  # Hz
    length: int  # samples
    outputs: Mapping[str, str]
    dataset: str
    preparation: Sequence[str]
    people: Table
    metrics: Table
    limits: Sequence[str]
    differences: Mapping[str, float]
    origin: Mapping[str, str]

    def text(self) -> str:
        """Return the card as Markdown."""
        parts = [
            f"# {self.title}",
            self.summary,
            "## Input and output",
            self._shapes(),
            "## Use",
            self._code(),
            "## Data",
            self.dataset,
            *([_markdown(self.people)] if self.people.rows else []),
            *self._preparation(),
            f"## Metrics: {self.metrics.title}",
            *self._metrics(),
            "## Limits",
            "\n".join(f"- {line}" for line in self.limits),
            "## Agreement with torch",
            "\n".join(f"- {what}: differs by {value:.1e} at most" for what, value in self.differences.items()),
            "## Origin",
            "\n".join(f"- {name}: {value}" for name, value in self.origin.items() if value),
        ]
        return "\n\n".join(parts) + "\n"

    def _shapes(self) -> str:
        seconds = self.length / self.sampling_rate
        signals = (
            f"float32 (batch, {len(self.channels)}, {self.length}): {', '.join(self.channels)}, in this order, "
            f"unit: {self._unit()}; {seconds:g} s at {self.sampling_rate:g} Hz; any number of windows in a batch"
        )
        rows = [["signals", "input", signals], *([name, "output", text] for name, text in self.outputs.items())]
        return _markdown(Table("", ["name", "", "shape and meaning"], rows))

    def _unit(self) -> str:
        return self.unit or "that of the dataset"

    def _code(self) -> str:
        names = list(self.outputs)
        unpacked = f"({names[0]},)" if len(names) == 1 else ", ".join(names)
        lines = [
            "```python",
            "import numpy as np",
            "import onnxruntime",
            "",
            f'session = onnxruntime.InferenceSession("{self.model_file}", providers=["CPUExecutionProvider"])',
            f"signals = np.zeros((1, {len(self.channels)}, {self.length}), np.float32)  # put your windows here",
            f'{unpacked} = session.run(None, {{"signals": signals}})',
            f"print({names[0]})",
            "```",
        ]
        return "\n".join(lines)

    def _metrics(self) -> list[str]:
        if not self.metrics.rows:
            return ["None were measured."]
        has_baselines = len(self.metrics.columns) > 2
        return [
            _markdown(self.metrics),
            *([] if has_baselines else ["What needs no learning was not measured beside it."]),
        ]

    def _preparation(self) -> list[str]:
        if not self.preparation:
            return []
        return [
            "Windows were prepared so (`ssl-bio recipes keys data` explains it); their scaling is part of the network:",
            "\n".join(["```toml", "[data]", *self.preparation, "```"]),
        ]


def _markdown(table: Table) -> str:
    """Return a table as Markdown."""
    rows = [[_escaped(cell) for cell in row] for row in (table.columns, *table.rows)]
    rows.insert(1, ["---"] * len(table.columns))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
