"""The published module and the octets, read by programs and libraries that are not ours."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import asn1tools
import pytest
from hypothesis import given, settings

import aircharge.wire.operator
from aircharge.wire.operator.ber import Node, decode_integer, tree
from aircharge.wire.operator.codec import decode, encode
from tests.peers import need
from tests.wire.operator import schema
from tests.wire.operator.samples import APDUS, SAMPLES

MODULE = Path(aircharge.wire.operator.__file__).with_name("operator_link.asn1")
COMPILED = asn1tools.compile_files([str(MODULE)], "der")
READER = asn1tools.compile_files([str(MODULE)], "ber")
STATUS = ("found", "notFound", "pending")


def _as_asn1tools(apdu):
    """Our message in asn1tools' terms: enumerations by name."""
    kind, components = schema.plain(apdu)
    result = components.get("result")
    if result is not None and "status" in result[1]:
        body = {**result[1], "status": STATUS[result[1]["status"]]}
        components = {**components, "result": (result[0], body)}
    return kind, components


@settings(max_examples=150, deadline=None)
@given(APDUS)
def test_asn1tools_compiled_from_the_module_says_the_same(apdu):
    octets = encode(apdu)
    assert COMPILED.encode("Apdu", _as_asn1tools(apdu)) == octets
    assert READER.decode("Apdu", octets) == _as_asn1tools(apdu)


@pytest.mark.parametrize("apdu", SAMPLES, ids=lambda apdu: type(apdu).__name__)
def test_asn1tools_reads_every_sample(apdu):
    octets = encode(apdu)
    assert READER.decode("Apdu", octets) == _as_asn1tools(apdu)
    assert decode(COMPILED.encode("Apdu", _as_asn1tools(apdu))) == apdu


def _pcap(path: Path, frames: list[bytes]) -> None:
    """A capture with link type USER0: every packet is one APDU."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 147))
        for frame in frames:
            file.write(struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame)


def _lines(node: Node) -> list[str]:
    """An element as tshark words it: its length, then its value."""
    if node.tag & 0x20:
        inner = [line for part in node.parts for line in _lines(part)]
        return [f"Length: {len(node.content)}", f"[CONTEXT {node.tag & 0x1F}]", *inner]
    if node.tag == 0x02:
        return [f"Length: {len(node.content)}", f"INTEGER: {decode_integer(node.content)}"]
    return [f"Length: {len(node.content)}", f"[CONTEXT {node.tag & 0x1F}] {node.content.hex()}"]


@pytest.mark.peer
def test_tshark_finds_the_same_elements_in_every_sample(tmp_path):
    need("tshark")
    _pcap(tmp_path / "line.pcap", [encode(apdu) for apdu in SAMPLES])
    options = ["-o", 'uat:user_dlts:"User 0 (DLT=147)","ber","0","","0",""', "-o", "ber.show_internals:TRUE"]
    command = ["tshark", "-r", str(tmp_path / "line.pcap"), *options, "-V"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "Malformed" not in shown
    assert "Expert" not in shown
    packets = shown.split("DLT: 147")[1:]
    assert len(packets) == len(SAMPLES)
    for apdu, packet in zip(SAMPLES, packets, strict=True):
        theirs = re.findall(r"^ *(Length: \d+|\[CONTEXT \d+\](?: [0-9a-f]+)?|INTEGER: -?\d+)", packet, re.M)
        ours = [line[: len(seen)] for line, seen in zip(_lines(tree(encode(apdu))), theirs, strict=True)]
        assert theirs == ours  # tshark cuts long contents short
