"""Readers of publishers' formats and the prepared store they fill."""
