"""Downstream tasks: what labels answer. One module (or folder) a task; `base` has their contract."""
