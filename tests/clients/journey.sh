#!/bin/sh
# A journey with nothing but curl: create an API and a key with a rate limit of 3 per minute and 5 credits, verify
# it until it is limited, read it back, delete it. Environment: KEYRACK_TEST_URL, KEYRACK_TEST_ROOT_KEY.
set -eu

call() {
    curl --silent --show-error --fail-with-body --noproxy '*' "$KEYRACK_TEST_URL/v2/$1" \
        -H "Authorization: Bearer $KEYRACK_TEST_ROOT_KEY" -H 'Content-Type: application/json' -d "$2"
}

# text MEMBER: the text value of that member in the JSON on standard input
text() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

expect() {
    [ "$1" = "$2" ] || { echo "expected $2, got $1" >&2; exit 1; }
}

api=$(call apis.createApi '{"name":"payments"}' | text apiId)
created=$(call keys.createKey "{\"apiId\":\"$api\",\"name\":\"Mobile\",\"credits\":{\"remaining\":5},
    \"ratelimits\":[{\"name\":\"requests\",\"limit\":3,\"duration\":60000,\"autoApply\":true}]}")
key=$(echo "$created" | text key)
key_id=$(echo "$created" | text keyId)

# Windows are whole minutes: the verifications must not straddle two of them.
second=$(date +%S)
[ "${second#0}" -lt 50 ] || sleep $((61 - ${second#0}))
for code in VALID VALID VALID RATE_LIMITED; do
    expect "$(call keys.verifyKey "{\"key\":\"$key\"}" | text code)" "$code"
done

read_back=$(call keys.getKey "{\"keyId\":\"$key_id\"}")
expect "$(echo "$read_back" | sed -n 's/.*"remaining":\([0-9]*\).*/\1/p')" 2
call keys.deleteKey "{\"keyId\":\"$key_id\"}" >/dev/null
expect "$(call keys.verifyKey "{\"key\":\"$key\"}" | text code)" NOT_FOUND
if call keys.getKey "{\"keyId\":\"$key_id\"}" >/dev/null 2>&1; then
    echo "a deleted key can still be read" >&2
    exit 1
fi
