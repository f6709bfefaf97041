"""The official Python client of the first generation: over streamable HTTP, and over stdio with forms and without.

Environment: KEYRACK_TEST_URL, KEYRACK_TEST_ROOT_KEY, KEYRACK_TEST_BINARY, KEYRACK_TEST_FOLDER (an empty one).
"""

import asyncio
import os
from contextlib import asynccontextmanager

from assistant import Person, forms, journey, settings
from mcp import ClientSession, McpError, StdioServerParameters, stdio_client, types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

URL, HEADERS, PROGRAM, DATA = settings(os.environ)


@asynccontextmanager
async def http():
    async with create_mcp_http_client(headers=HEADERS) as client:
        async with streamable_http_client(URL, http_client=client) as (read, write, _):
            yield read, write


@asynccontextmanager
async def stdio():
    async with stdio_client(StdioServerParameters(command=PROGRAM, args=["mcp"], env=DATA)) as (read, write):
        yield read, write


def functions(session):
    async def tools():
        return [tool.model_dump(by_alias=True) for tool in (await session.list_tools()).tools]

    async def call(name, arguments):
        return (await session.call_tool(name, arguments)).model_dump(by_alias=True)

    return tools, call


async def without_forms(transport):
    async with transport() as (read, write), ClientSession(read, write) as session:
        hello = await session.initialize()
        assert hello.protocolVersion == "2025-11-25", hello
        await journey(*functions(session))
        try:
            await session.call_tool("keys_getKeys", {})
        except McpError as error:
            assert error.error.code == -32602, error
        else:
            raise AssertionError("there is no such tool")


async def with_forms():
    person = Person()

    async def ask(_, params):
        return types.ElicitResult(**person.answer(params.message))

    async with stdio() as (read, write), ClientSession(read, write, elicitation_callback=ask) as session:
        await session.initialize()
        await forms(functions(session)[1], person)


async def main():
    await without_forms(http)
    await without_forms(stdio)
    await with_forms()


asyncio.run(main())
