"""smpp34 (Rust, asyncio) as a client of ours or as the centre that we dial; one JSON line a happening."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import smpp34


def tell(what: str, **facts: Any) -> None:
    print(json.dumps({"what": what, **facts}), flush=True)


async def client(port: int) -> None:
    line = smpp34.Client("127.0.0.1", port, "kannel", "secret", window_size=32)
    centre = await line.connect()
    answers = await asyncio.gather(
        *(
            centre.submit_sm("0353911", b"echo %d" % number, source_addr="8613900000001")
            for number in range(100)
        )
    )
    received = [await centre.next() for _ in range(100)]
    tell(
        "done",
        ids=len({answer.message_id for answer in answers}),
        texts=sorted(int(event.short_message) for event in received),
    )
    await centre.unbind()


async def server(port: int) -> None:
    centre = smpp34.Server("127.0.0.1", port, system_id="centre")
    await centre.start()
    tell("listening")
    while True:
        event = await centre.next()
        if isinstance(event, smpp34.Esme):
            tell("bound", system_id=event.system_id)
            await event.deliver_sm("0353911", b"13812345678 50", source_addr="8613900000001")
        elif isinstance(event, smpp34.SubmitSmEvent):
            tell("submit", text=event.short_message.hex(), coding=event.data_coding)
            answer = event.accept("77")
            if asyncio.iscoroutine(answer) or asyncio.isfuture(answer):
                await answer


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for({"client": client, "server": server}[sys.argv[1]](int(sys.argv[2])), 110))
