"""The SMS door: grammar (text to Order), STK messages, phrases (Receipt to text)."""
