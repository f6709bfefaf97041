// A person who is shown forms by an assistant's application, whatever shows them: what deletes is done after a yes alone.
import assert from "node:assert/strict";

async function call(client, name, args) {
  const result = await client.callTool({ name, arguments: args });
  const text = result.content?.find((block) => block.type === "text")?.text ?? "";
  return { failed: result.isError === true, text, data: result.structuredContent?.data };
}

async function done(client, name, args) {
  const result = await call(client, name, args);
  assert.ok(!result.failed, `${name}: ${result.text}`);
  return result.data;
}

// `person.answer` is what they say to the next form; `person.asked` is what they were asked.
export async function forms(client, person) {
  const { apiId } = await done(client, "apis_createApi", { name: "forms" });
  const { keyId } = await done(client, "keys_createKey", { apiId, name: "mobile" });
  assert.deepEqual(person.asked, [], "nobody is asked about what creates");
  for (const [action, said] of [
    ["decline", /Nothing was changed[\s\S]*the user declined/],
    ["cancel", /Nothing was changed[\s\S]*without an answer/],
  ]) {
    person.answer = { action };
    const refused = await call(client, "keys_deleteKey", { keyId });
    assert.ok(refused.failed, `${action}: ${refused.text}`);
    assert.match(refused.text, said);
    assert.doesNotMatch(refused.text, /confirmToken/, "who declined is not asked by other means");
    assert.equal((await done(client, "keys_getKey", { keyId })).name, "mobile");
  }
  person.answer = { action: "accept", content: { confirm: true } };
  await done(client, "keys_deleteKey", { keyId });
  assert.ok((await call(client, "keys_getKey", { keyId })).failed, "it is gone");
  assert.equal(person.asked.length, 3);
  for (const question of person.asked) assert.match(question, /mobile/, "it says what will be gone");
  person.answer = { action: "accept", content: { confirm: "letters" } };
  assert.ok((await call(client, "apis_deleteApi", { apiId })).failed, "another name is no agreement");
  person.answer = { action: "accept", content: { confirm: "forms" } };
  await done(client, "apis_deleteApi", { apiId });
}

// What is no tool is an error of the protocol, and what a tool refuses is a result.
export async function errors(client) {
  await assert.rejects(client.callTool({ name: "keys_getKeys", arguments: {} }), (error) => {
    assert.equal(error.code, -32602, `${error}`);
    assert.match(error.message, /keys_getKey/);
    return true;
  });
  const refused = await call(client, "keys_getKey", { keyId: "key_doesnotexist" });
  assert.ok(refused.failed);
  assert.match(refused.text, /^404 /);
}
