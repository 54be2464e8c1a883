"""Pretext tasks: what is learnt without labels. One module a pretext task; `base` has their contract."""
