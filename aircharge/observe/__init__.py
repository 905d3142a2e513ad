"""Logs with masking, counters, health."""
