"""Windows of many recordings as one array, of which nothing is read before it is asked for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bio.data.packing import unpack
from ssl_bio.data.recording_store import Block, Bytes
from ssl_bio.data.windows import Layout, WindowedRecord

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the samples of each recording lie: in the store, as published, or in a file of the windows' own."""

    own: NDArray[np.bool_]  # (n_recordings,): in the windows' own file
    offset: NDArray[np.int64]
    n_samples: NDArray[np.int64]
    dtype: NDArray[np.str_]
    scale: NDArray[np.float64]
    order: NDArray[np.str_]

    @staticmethod
    def of_blocks(blocks: list[tuple[bool, Block]]) -> "Sources":
        """Return the places of one array of each recording, each with whether it lies in the windows' own file."""
        return Sources(
            own=np.array([own for own, _ in blocks], bool),
            offset=np.array([block.offset for _, block in blocks], np.int64),
            n_samples=np.array([block.shape[-1] for _, block in blocks], np.int64),
            dtype=np.array([block.dtype for _, block in blocks], np.str_),
            scale=np.array([block.scale for _, block in blocks], np.float64),
            order=np.array([block.order for _, block in blocks], np.str_),
        )

    def ends(self, n_channels: int) -> NDArray[np.int64]:
        """Return the byte after each recording's last, `(n_recordings,)`."""
        sizes = np.array([np.dtype(dtype).itemsize for dtype in self.dtype], np.int64)
        return self.offset + self.n_samples * sizes * n_channels

    @property
    def any_own(self) -> bool:
        """Whether the windows have a file of their own."""
        return bool(self.own.any())


class WindowedArray:
    """Windows `(n, *channels, length)`, indexed by rows as an array in memory is.

    `starts` `(n,)` are samples of the recordings `recordings` `(n,)`. `channels` is `(n_channels,)`, or empty for an
    array without channels.
    """

    def __init__(
        self,
        *,
        store: Bytes,
        own: Bytes,
        sources: Sources,
        recordings: Rows,
        starts: Rows,
        layout: Layout,
        channels: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self._store, self._own, self._sources = store, own, sources
        self._recordings, self._starts, self._layout, self._channels = recordings, starts, layout, channels
        self.dtype = dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all windows together."""
        return (len(self._starts), *self._channels, self._layout.total)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._starts)

    @staticmethod
    def of_record(record: WindowedRecord) -> "WindowedArray":
        """Return the windows of a single recording that is in memory, or a memory map."""
        values = np.ascontiguousarray(record.track.values)
        block = Block(0, values.dtype.str, values.shape, 0.0)
        return WindowedArray(
            store=values.reshape(-1).view(np.uint8),
            own=np.empty(0, np.uint8),
            sources=Sources.of_blocks([(False, block)]),
            recordings=np.zeros(len(record.starts), np.int64),
            starts=record.starts,
            layout=record.track.layout,
            channels=values.shape[:-1],
            dtype=values.dtype,
        )

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return the windows of rows; a tuple chooses from the other axes, too."""
        rows, *rest = key if isinstance(key, tuple) else (key,)
        chosen = np.arange(len(self))[rows]
        found = np.empty((chosen.size, *self.shape[1:]), self.dtype)
        for place, row in enumerate(chosen.ravel()):
            found[place] = self._window(int(row))
        found = found.reshape(*chosen.shape, *self.shape[1:])
        return np.asarray(found[(slice(None),) * chosen.ndim + tuple(rest)]) if rest else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        found = self[:]
        return found if dtype is None else found.astype(dtype, copy=False)

    def _window(self, row: int) -> NDArray[Any]:
        sources, recording = self._sources, self._recordings[row]
        memory = self._own if sources.own[recording] else self._store
        n, dtype = int(sources.n_samples[recording]), str(sources.dtype[recording])
        scale, order = float(sources.scale[recording]), sources.order[recording]
        block = Block(int(sources.offset[recording]), dtype, (*self._channels, n), scale, order)
        stored = block.stored(memory)
        start, layout = int(self._starts[row]), self._layout
        first = start - layout.margin
        if first >= 0 and first + layout.total <= n:
            return unpack(stored[..., first : first + layout.total], scale)
        return layout.window(unpack(stored, scale), start)
