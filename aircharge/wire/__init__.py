"""What bytes mean. Sans-I/O: bytes and a clock reading go in, messages come out."""
