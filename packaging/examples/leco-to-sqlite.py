# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores the events of a fleet in SQLite: reads the stream that `leco-relay setup` made.

    python3 -m pip install nats-py
    python3 leco-to-sqlite.py --nats tls://nats.example --user store --password-file FILE leco.db
    sqlite3 -box leco.db 'SELECT * FROM last_hour'

A durable consumer has its place in the stream, so this may be killed at any time and continues where it was. A message
is acknowledged after it was committed; one that comes again is known by its id. Bytes need events of `leco-event-pipe -E`.
"""

import argparse
import asyncio
import json
import signal
import sqlite3
import ssl
import sys

import nats
from nats.js.api import AckPolicy, ConsumerConfig

# One commit for so many messages at most.
BATCH = 500

# rx and tx say what the connection has moved so far. The view takes what it had moved before the hour from that; one of
# which nothing was heard before counts whole.
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    host TEXT NOT NULL, id TEXT NOT NULL, connection TEXT NOT NULL, at INTEGER NOT NULL, unit TEXT NOT NULL,
    rx INTEGER NOT NULL, tx INTEGER NOT NULL, event TEXT NOT NULL,
    PRIMARY KEY (host, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS events_at ON events (at);
CREATE INDEX IF NOT EXISTS events_connection ON events (host, connection, at);
CREATE VIEW IF NOT EXISTS last_hour AS
WITH since (at) AS (SELECT CAST(strftime('%s', 'now') AS INTEGER) - 3600),
moved AS (
    SELECT host, connection, max(unit) AS unit,
        max(rx) - coalesce(max(rx) FILTER (WHERE at < (SELECT at FROM since)), 0) AS received,
        max(tx) - coalesce(max(tx) FILTER (WHERE at < (SELECT at FROM since)), 0) AS sent
    FROM events
    WHERE (host, connection) IN (SELECT host, connection FROM events WHERE at >= (SELECT at FROM since))
    GROUP BY host, connection)
SELECT host, unit, sum(received) AS received, sum(sent) AS sent, count(*) AS connections
FROM moved GROUP BY host, unit ORDER BY sum(received) + sum(sent) DESC;
"""


def say(text):
    print(f"leco-to-sqlite: {text}", file=sys.stderr, flush=True)


def count(event, field):
    """A number of bytes, which another program may have written otherwise."""
    value = event.get(field)
    return value if type(value) is int and 0 <= value < 1 << 62 else 0


def text(value):
    """As SQLite takes it: half of a surrogate pair is no text."""
    return str(value).encode("utf-8", "replace").decode()


def row(message):
    """What is stored of a message, or None: a publisher may send anything."""
    try:
        event = json.loads(message.data)
        # The server checks who publishes under a subject, and nobody what an event says of its host.
        _, host, unit = message.subject.split(".")
        unit = event.get("container") or event.get("unit") or ("" if unit == "-" else unit)
        sequence = message.metadata.sequence.stream
        identity = (message.headers or {}).get("Nats-Msg-Id") or f"sequence-{sequence}"
        connection = f"{event.get('boot', '')}-{int(event['ns'])}"
        stored = int(message.metadata.timestamp.timestamp())
        clock = event.get("clock")
        at = (clock["wall"] - clock["ns"] + event["ns_trx"]) // 10**9 if clock else stored
        # No event is of later than it was stored.
        at = max(0, min(int(at), stored))
        texts = [text(value) for value in (host, identity, connection)]
        return *texts, at, text(unit), count(event, "rx"), count(event, "tx"), json.dumps(event)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


async def store(client, options, database):
    """Begins again where anything fails: a server that is away, a place that somebody removed."""
    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=options.ack_wait)
    while True:
        try:
            stream = client.jetstream()
            place = await stream.pull_subscribe("", durable=options.durable, stream=options.stream, config=config)
            return await store_from(place, client, options.once, database)
        except (asyncio.TimeoutError, nats.errors.Error) as error:
            say(f"{error or type(error).__name__}: trying again")
            await asyncio.sleep(1)


async def store_from(place, client, once, database):
    while True:
        try:
            messages = await place.fetch(BATCH, timeout=1 if once else 30)
        except asyncio.TimeoutError:
            messages = []
        if not messages and once:
            info = await place.consumer_info()
            if info.num_pending == 0 and info.num_ack_pending == 0:
                return
        rows = [row(message) for message in messages]
        with database:
            database.executemany(
                "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", filter(None, rows)
            )
        # From here on they are on disk: what is not acknowledged comes again, and is known.
        for message in messages:
            await message.ack()
        await client.flush()
        if None in rows:
            say(f"ignored {rows.count(None)} messages that are no events")


async def run(options, database):
    failed = asyncio.get_running_loop().create_future()

    async def on_error(error):
        refused = "violation" in str(error).lower()
        if refused and not failed.done():
            failed.set_exception(error)
        elif not refused:
            say(error or type(error).__name__)

    more = {}
    if options.tls_ca or options.nats.startswith("tls:"):
        more["tls"] = ssl.create_default_context(cafile=options.tls_ca)
    if options.user:
        with open(options.password_file, encoding="utf-8") as file:
            more.update(user=options.user, password=file.read().strip(), inbox_prefix=f"_INBOX_{options.user}")

    async def work():
        client = await nats.connect(options.nats, error_cb=on_error, max_reconnect_attempts=-1, **more)
        await store(client, options, database)
        await client.close()

    working = asyncio.ensure_future(work())
    await asyncio.wait({failed, working}, return_when=asyncio.FIRST_COMPLETED)
    (failed if failed.done() else working).result()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nats", default="nats://localhost:4222", metavar="URL")
    parser.add_argument("--user", metavar="NAME")
    parser.add_argument("--password-file", metavar="FILE")
    parser.add_argument("--tls-ca", metavar="FILE", help="certificates of the authority to trust")
    parser.add_argument("--stream", default="LECO", metavar="NAME")
    parser.add_argument("--durable", default="sqlite", metavar="NAME", help="name of the place in the stream")
    parser.add_argument("--ack-wait", type=float, default=30, metavar="SECONDS", help="a message comes again after")
    parser.add_argument("--once", action="store_true", help="end when everything in the stream is stored")
    parser.add_argument("database")
    options = parser.parse_args()
    if bool(options.user) != bool(options.password_file):
        parser.error("--user and --password-file belong together")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        database = sqlite3.connect(options.database, timeout=60)
        # A commit is on disk when it returns, and who reads does not hold it up.
        database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + SCHEMA)
        asyncio.run(run(options, database))
    except KeyboardInterrupt:
        pass
    except (nats.errors.Error, OSError, sqlite3.Error) as error:
        say(error or type(error).__name__)
        sys.exit(1)


if __name__ == "__main__":
    main()
