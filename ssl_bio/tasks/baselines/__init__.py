"""Simple baselines of tasks that ask something of a window: base.py holds their contract, then a file for each."""
