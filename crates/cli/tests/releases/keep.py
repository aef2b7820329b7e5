#!/usr/bin/env python3
"""Makes a set of objects to keep: a small cluster's store, written by the hosts of one build.

    crates/cli/tests/releases/keep.py BINARY FOLDER BUILD

BINARY is a `holocron` of any build, FOLDER is created, BUILD says in a few words which build it is. The binary is only used
by its command line, so the same script makes the sets of old builds. It writes `FOLDER/store`, and `FOLDER/contents.json`
with what the test reads back.

The cluster ends in the worst way: its last hosts are killed while one of them owes a message to a vnode of the other.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

SLOTS, SEGMENT_LEN, CHECKPOINT_BATCHES = 16, 4, 6
# Slow enough that a host which is stopped for some seconds isn't suspected. One that is killed is noticed at once.
HEARTBEAT_MS = 3000
PATIENCE = 30
COUNTERS = 12
SOON_MS = 1000
TIMED_MS = 20_000


class Cluster:
    def __init__(self, binary, folder):
        self.binary, self.store = binary, folder / "store"
        self.store.mkdir(parents=True)
        self.url = f"file://{self.store.absolute()}"
        self.hosts, self.queries, self.lease, self.queue = {}, [], None, None
        self.has_gateway = "--http " in self.run("host", "--help")

    def run(self, *words):
        done = subprocess.run([self.binary, *words], capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 0:
            sys.exit(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def on(self, command, *words):
        return self.run(command, "--store", self.url, *words)

    def start(self, name, *words):
        words = [
            "host", "--store", self.url, "--name", name, "--json", "--heartbeat-ms", str(HEARTBEAT_MS), "--slots",
            str(SLOTS), "--segment-len", str(SEGMENT_LEN), "--checkpoint-batches", str(CHECKPOINT_BATCHES), *words,
        ]
        log = open(f"{self.store}.{name}.log", "w")
        host = subprocess.Popen([self.binary, *words], stdout=subprocess.PIPE, stderr=log, text=True)
        host.says = json.loads(host.stdout.readline())
        self.hosts[name] = host
        self.settled()

    def end(self, name, how):
        host = self.hosts.pop(name)
        host.send_signal(how)
        host.wait(PATIENCE)

    def status(self):
        return json.loads(self.on("status", "--json"))

    def settled(self):
        """Waits until the hosts that run serve every slot."""
        def served():
            hosts = [host for host in self.status()["hosts"] if host["name"] in self.hosts]
            parts = [host.get("status") or host for host in hosts]
            return sum(part.get("slots_serving", 0) for part in parts) == SLOTS
        until("every slot is served", served)

    def call(self, kind, key, *words):
        return json.loads(self.on("call", kind, key, *(w if isinstance(w, str) else json.dumps(w) for w in words)))

    def explain(self, kind, key):
        return json.loads(self.on("explain", kind, key, "--json"))

    def expect(self, kind, key, *words):
        """Notes a query and its answer."""
        self.queries.append({"kind": kind, "key": key, "call": words, "answer": self.call(kind, key, *words)})


def until(what, look):
    end = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > end:
            sys.exit(f"waited {PATIENCE} s until {what}")
        time.sleep(0.05)


def add_to_all(cluster):
    for number in range(COUNTERS):
        cluster.call("counter", f"c{number}", "add", number + 1)


def use_every_kind(cluster):
    """Calls of each kind that the build has."""
    cluster.call("kv", "settings", "put", {"field": "colour", "value": "blue"})
    cluster.call("kv", "settings", "put", {"field": "size", "value": "größer"})
    cluster.call("kv", "gone", "put", {"field": "a", "value": "b"})
    if "lease" not in cluster.kinds:
        return
    cluster.on("delete", "kv", "gone")
    cluster.on("fork", "kv", "settings", "copy")
    # Times that are over when the set is read, whenever that is; and one that may not be, of a message.
    granted = cluster.call("lease", "nightly", "acquire", "worker-1", SOON_MS)
    cluster.call("lease", "nightly", "acquire", "worker-2", SOON_MS, SOON_MS)
    cluster.lease = {"key": "nightly", "token": granted["Ok"]["granted"]["token"]}
    bodies = ["one", "two", "three"]
    for body in bodies:
        cluster.call("queue", "mails", "push", body)
    cluster.call("queue", "mails", "pull", 1, 12 * 3600 * 1000)
    cluster.call("queue", "mails", "push", "later", 7 * 24 * 3600 * 1000)
    cluster.queue = {"key": "mails", "messages": 4, "ready": bodies[1:]}


def expect_every_kind(cluster):
    for number in range(COUNTERS):
        cluster.expect("counter", f"c{number}", "value")
    if "lease" in cluster.kinds:
        for key in ("settings", "copy", "gone"):
            cluster.expect("kv", key, "all")
    else:
        # Its `kv` answers values, and today's answers more: the test asks for all of them.
        settings = {"colour": "blue", "size": "größer"}
        cluster.queries.append({"kind": "kv", "key": "settings", "call": ["all"], "answer": settings})


def post(cluster, host, key, amount, idempotency_key, timeout):
    request = urllib.request.Request(
        f"http://{cluster.hosts[host].says['http']}/v1/vnodes/counter/{key}/add",
        data=json.dumps({"amount": amount}, separators=(",", ":")).encode(),
        headers={"content-type": "application/json", "idempotency-key": idempotency_key},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        sys.exit(f"{refused}: {refused.read().decode()}")
    except TimeoutError:
        return None


def leave_a_message_owed(cluster):
    """Stops `b`, and posts to a counter of `b` through `a`: the message stays in the outbox of a vnode of `a`. Returns what the
    counter is once it was delivered."""
    owed = next(f"owed-{n}" for n in range(999) if cluster.explain("counter", f"owed-{n}")["owner"]["host"] == "b")
    before = cluster.call("counter", owed, "add", 1)
    cluster.hosts["b"].send_signal(signal.SIGSTOP)
    for amount in range(100, 200):
        # Which vnode has the outbox follows from this key. If it is one of `b`, nothing is committed: another key is tried.
        assert post(cluster, "a", owed, amount, f"owed-{amount}", 1) is None, "b is stopped"
        journals = cluster.store.glob("sessions/*/journal/*")
        if any(f'"amount":{amount}'.encode() in journal.read_bytes() for journal in journals):
            return {"kind": "counter", "key": owed, "call": ["value"], "answer": before + amount}
    sys.exit("no message is owed")


def main():
    binary, folder, build = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    cluster = Cluster(os.path.abspath(binary), folder)
    try:
        http = ["--http", "127.0.0.1:0"] if cluster.has_gateway else []
        cluster.start("a", *http)
        helped = cluster.run("--help")
        known = cluster.on("kinds") if "  kinds " in helped else "counter kv"
        cluster.kinds = [kind for kind in ("counter", "kv", "lease", "queue") if kind in known]
        cluster.start("b")
        add_to_all(cluster)
        use_every_kind(cluster)
        if cluster.has_gateway:
            assert post(cluster, "a", "posted", 7, "posted-once", PATIENCE) == 7
        # A takeover: the session of `c` is sealed.
        cluster.start("c")
        add_to_all(cluster)
        cluster.end("c", signal.SIGKILL)
        cluster.settled()
        # Planned moves: `b` releases its slots, and gets some again when it comes back.
        cluster.end("b", signal.SIGTERM)
        cluster.start("b")
        # Checkpoints, packs, and segments that are trimmed.
        add_to_all(cluster)
        cluster.on("elect", "nightly", "--name", "m1", "--", "true")
        expect_every_kind(cluster)
        delivered = []
        if cluster.has_gateway:
            cluster.expect("counter", "posted", "value")
            # Its timer hasn't fired when the hosts are killed, and is due when the set is read.
            cluster.call("kv", "timed", "put", {"field": "stays", "value": "yes"})
            cluster.call("kv", "timed", "put", {"field": "goes", "value": "no", "ttl_ms": TIMED_MS})
            cluster.queries.append({"kind": "kv", "key": "timed", "call": ["all"], "answer": {"stays": "yes"}})
            delivered = [leave_a_message_owed(cluster)]
    finally:
        for name in list(cluster.hosts):
            cluster.end(name, signal.SIGKILL)
    for scratch in (".staging", "probe"):
        shutil.rmtree(cluster.store / scratch, ignore_errors=True)
    for log in folder.glob("store.*.log"):
        log.unlink()
    contents = {
        "build": build,
        "kinds": cluster.kinds,
        "queries": cluster.queries,
        "lease": cluster.lease,
        "queue": cluster.queue,
        # What a counter is once a message that its sender still owes was delivered.
        "delivered": delivered,
        # This vnode's newest request is sent again, under its number.
        "retried": {"kind": "counter", "key": "c0"},
    }
    text = json.dumps(contents, indent=1, ensure_ascii=False)
    (folder / "contents.json").write_text(text + "\n")


main()
