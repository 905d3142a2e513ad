"""The verbs of the business, one a file. Speaks no wire."""
