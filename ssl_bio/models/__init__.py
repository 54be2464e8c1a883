"""Networks: they know tensors and plain values, neither recipes nor data."""
