"""The operator leased-line protocol: ASN.1 module, BER codec, session."""
