"""The book of money: pure decisions, set-based store, group commit."""
