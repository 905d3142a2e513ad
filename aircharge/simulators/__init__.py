"""Operator platform and SMS centre on the true wire, with faults to inject."""
