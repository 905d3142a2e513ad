"""The durable outbox and what reads it."""
