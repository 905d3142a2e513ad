"""The fuzzer through the real doors: every verb, in any order, before the real daemon (docs/proof/doors.md)."""
