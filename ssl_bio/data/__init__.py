"""Datasets: readers of publishers' formats, prepared datasets on disk, and the batches that training sees."""
