"""The journey of an assistant over MCP, whichever generation of the official client carries it.

A client is given as two functions: `tools()` lists tools, `call(name, arguments)` calls one; both answer as JSON does.
"""

import re


class Person:
    """Who is shown forms: what they say to the next one, and what they were asked."""

    def __init__(self):
        self.asked = []
        self.says = ("decline", None)

    def answer(self, message):
        self.asked.append(message)
        action, content = self.says
        return {"action": action, **({"content": content} if content else {})}


def text_of(result):
    return next(block["text"] for block in result["content"] if block["type"] == "text")


async def done(call, name, /, **arguments):
    result = await call(name, arguments)
    assert not result.get("isError"), f"{name}: {text_of(result)}"
    return result["structuredContent"]["data"]


async def refused(call, name, pattern, /, **arguments):
    result = await call(name, arguments)
    assert result.get("isError"), f"{name} went well: {result}"
    text = text_of(result)
    assert re.search(pattern, text, re.DOTALL), f"{name}: {text}"
    return text


async def journey(tools, call):
    """Lists, calls and is refused; what deletes waits for an agreement."""
    names = [tool["name"] for tool in await tools()]
    assert names == sorted(names) and "keys_createKey" in names, names
    overview = await done(call, "workspace_getOverview")
    assert overview["workspace"]["id"].startswith("ws_"), overview
    api = (await done(call, "apis_createApi", name="python"))["apiId"]
    limits = [{"name": "requests", "limit": 1000, "duration": 3_600_000, "autoApply": True}]
    made = await done(call, "keys_createKey", apiId=api, name="Mobile", ratelimits=limits)
    assert (await done(call, "keys_verifyKey", key=made["key"]))["code"] == "VALID"
    assert (await done(call, "keys_getKey", keyId=made["keyId"]))["name"] == "Mobile"
    await refused(call, "keys_createKey", "byteLength.*nonsense", apiId=api, byteLength=3, nonsense=1)
    await refused(call, "keys_getKey", "^404 ", keyId="key_doesnotexist")
    told = await refused(call, "keys_deleteKey", "Nothing was changed: the user has to agree", keyId=made["keyId"])
    token = re.search('`confirmToken`: "([^"]+)"', told).group(1)
    await done(call, "keys_deleteKey", keyId=made["keyId"], confirmToken=token)
    assert (await done(call, "keys_verifyKey", key=made["key"]))["code"] == "NOT_FOUND"


async def forms(call, person):
    """What deletes is done after a yes alone."""
    api = (await done(call, "apis_createApi", name="forms"))["apiId"]
    key = (await done(call, "keys_createKey", apiId=api, name="mobile"))["keyId"]
    assert person.asked == []
    for action, pattern in (("decline", "Nothing was changed.*declined"), ("cancel", "Nothing was changed.*without an answer")):
        person.says = (action, None)
        told = await refused(call, "keys_deleteKey", pattern, keyId=key)
        assert "confirmToken" not in told, told
        assert (await done(call, "keys_getKey", keyId=key))["name"] == "mobile"
    person.says = ("accept", {"confirm": True})
    await done(call, "keys_deleteKey", keyId=key)
    await refused(call, "keys_getKey", "^404 ", keyId=key)
    assert len(person.asked) == 3 and all("mobile" in question for question in person.asked), person.asked


def settings(environment):
    """The server's address and headers, and the program with its environment."""
    url = environment["KEYRACK_TEST_URL"] + "/mcp"
    headers = {"Authorization": "Bearer " + environment["KEYRACK_TEST_ROOT_KEY"]}
    program = environment["KEYRACK_TEST_BINARY"]
    data = {"KEYRACK_DATA_DIR": environment["KEYRACK_TEST_FOLDER"] + "/data", "KEYRACK_LOG": "error"}
    return url, headers, program, data
