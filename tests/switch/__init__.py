"""The verbs against a scripted ledger and a scripted line: what is asked, in which order."""
