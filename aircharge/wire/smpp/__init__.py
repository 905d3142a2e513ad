"""SMPP 3.4 and 5.0: field tables as data, PDU to bytes and back, the session as values."""
