"""ISO 8583 as payment terminals speak it: profiles as data, messages, MACs, PIN blocks, the conventions of our door.

Pure: octets and values in, octets and values out. docs/protocols/pos-8583.md names every field and code.
"""
