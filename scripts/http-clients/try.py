"""Tries the generated Python client: a command, a retry under a key, a query, a list, a problem, a deletion."""

import sys
import uuid

from python_client import Client
from python_client.api.counter import counter_add, counter_delete, counter_exists, counter_list, counter_value
from python_client.api.kv import kv_get, kv_put
from python_client.models import CounterAddBody, CounterValueConsistency, KvPutBody, Problem, ProblemRan

client = Client(base_url=sys.argv[1])
# A key with a slash: the client must write it as %2F.
key = f"python/{uuid.uuid4()}"

assert counter_add.sync(key, client=client, body=CounterAddBody(amount=5)) == 5
once = str(uuid.uuid4())
for _ in range(3):
    assert counter_add.sync(key, client=client, body=CounterAddBody(amount=5), idempotency_key=once) == 10
assert counter_value.sync(key, client=client) == 10
assert counter_value.sync(key, client=client, consistency=CounterValueConsistency.LOCAL) == 10
page = counter_list.sync(client=client, prefix="python/", limit=10)
assert page.keys == [key] and page.next_ is None, page
assert counter_exists.sync(key, client=client).key == key
refused = counter_add.sync(key, client=client, body=CounterAddBody(amount=6), idempotency_key=once)
assert isinstance(refused, Problem) and refused.ran == ProblemRan.NO, refused
assert refused.type_ == "urn:holocron:problem:key-reused", refused
kv_put.sync(key, client=client, body=KvPutBody(field="colour", value="blue"))
field = kv_get.sync(key, client=client, field="colour")
assert "blue" in str(field), field
assert counter_delete.sync_detailed(key, client=client).status_code == 204
assert counter_exists.sync_detailed(key, client=client).status_code == 404
print("python: ok")
