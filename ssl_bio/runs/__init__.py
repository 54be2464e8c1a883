"""Run folders, weight files, and the transfer of weights from one network into another."""
