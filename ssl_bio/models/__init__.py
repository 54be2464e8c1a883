"""Networks: backbones, heads and their parts. Flat, named arguments; nothing here knows a recipe."""
