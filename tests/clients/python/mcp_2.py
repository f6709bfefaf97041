"""The official Python client of the second generation, in both protocols, over streamable HTTP and stdio.

Environment: KEYRACK_TEST_URL, KEYRACK_TEST_ROOT_KEY, KEYRACK_TEST_BINARY, KEYRACK_TEST_FOLDER (an empty one).
"""

import asyncio
import os
from contextlib import asynccontextmanager

import httpx2
from assistant import Person, forms, journey, settings
from mcp import Client, MCPError, StdioServerParameters, types
from mcp.client.streamable_http import streamable_http_client

URL, HEADERS, PROGRAM, DATA = settings(os.environ)
PROTOCOLS = {"legacy": "2025-11-25", "auto": "2026-07-28", "2026-07-28": "2026-07-28"}


@asynccontextmanager
async def http():
    async with httpx2.AsyncClient(headers=HEADERS) as client:
        yield streamable_http_client(URL, http_client=client)


@asynccontextmanager
async def stdio():
    yield StdioServerParameters(command=PROGRAM, args=["mcp"], env=DATA)


def functions(client):
    async def tools():
        return [tool.model_dump(by_alias=True) for tool in (await client.list_tools()).tools]

    async def call(name, arguments):
        return (await client.call_tool(name, arguments)).model_dump(by_alias=True)

    return tools, call


async def without_forms(transport, mode):
    async with transport() as server, Client(server, mode=mode) as client:
        assert client.protocol_version == PROTOCOLS[mode], client.protocol_version
        await journey(*functions(client))
        try:
            await client.call_tool("keys_getKeys", {})
        except MCPError as error:
            assert error.code == -32602, error
        else:
            raise AssertionError("there is no such tool")


async def with_forms(transport, mode):
    person = Person()

    async def ask(_, params):
        return types.ElicitResult(**person.answer(params.message))

    async with transport() as server, Client(server, mode=mode, elicitation_callback=ask) as client:
        await forms(functions(client)[1], person)


async def main():
    for mode in PROTOCOLS:
        for transport in (http, stdio):
            await without_forms(transport, mode)
            # Without a session there is nobody to ask over HTTP in the older protocol.
            if (transport, mode) != (http, "legacy"):
                await with_forms(transport, mode)


asyncio.run(main())
