"""Twisted shells: thin, they pump bytes and ticks through a wire session and decide nothing."""
