"""The simulated worlds, and the bugs planted in them."""
