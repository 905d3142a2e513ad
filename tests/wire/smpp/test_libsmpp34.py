"""libsmpp34, a strict SMPP 3.4 validator in C, accepts every 3.4 PDU that we send."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aircharge.wire.smpp.constants import Command
from aircharge.wire.smpp.pdu import encode
from tests.peers import need
from tests.wire.smpp.samples import SAMPLES_34

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
#include <netinet/in.h>
#include <smpp34.h>
#include <smpp34_structs.h>
#include <smpp34_params.h>
int main(void) {
    static char line[262144];
    static uint8_t octets[131072];
    while (fgets(line, sizeof line, stdin)) {
        size_t length = strcspn(line, "\n") / 2;
        for (size_t i = 0; i < length; i++) { unsigned x; sscanf(line + 2 * i, "%2x", &x); octets[i] = x; }
        void *pdu = calloc(1, 65536);
        if (smpp34_unpack2(pdu, octets, (int)length) == 0) printf("ok\n");
        else {
            for (char *c = smpp34_strerror; *c; c++) if (*c == '\n') *c = ' ';
            printf("refused %d %s\n", smpp34_errno, smpp34_strerror);
        }
        free(pdu);
    }
    return 0;
}
"""


@pytest.mark.peer
def test_every_34_pdu_is_accepted(tmp_path: Path) -> None:
    need("gcc", "libsmpp34.so")
    source = tmp_path / "oracle.c"
    source.write_text(PROGRAM)
    binary = tmp_path / "oracle"
    subprocess.run(
        ["gcc", "-w", "-I/usr/include/libsmpp34", str(source), "-o", str(binary), "-lsmpp34"],
        check=True,
        timeout=60,
    )
    # its data_sm_resp knows no optional part, 3.4 section 4.7.2 does: left out; no session of ours sends one
    pdus = [pdu for pdu in SAMPLES_34 if not (pdu.command == Command.DATA_SM_RESP and pdu.tlvs)]
    lines = "".join(encode(pdu).hex() + "\n" for pdu in pdus)
    done = subprocess.run([str(binary)], input=lines, capture_output=True, text=True, check=True, timeout=30)
    verdicts = done.stdout.splitlines()
    assert len(verdicts) == len(pdus) == len(SAMPLES_34) - 1
    refused = [f"{pdu!r}: {verdict}" for pdu, verdict in zip(pdus, verdicts, strict=True) if verdict != "ok"]
    assert refused == []
