"""Upstreams that do as a script says: what they answer to a datagram and when, and how they treat connections."""

import asyncio
import os
import random
import ssl
import struct
import subprocess
import zlib
from dataclasses import dataclass
from typing import Callable

# Below it are the names of the bench; what is asked besides, as by health checks, is treated alike and not counted.
ZONE = "faults.example"
# Who the upstream must prove to be.
HOST = "dns.example"
# The answer to a forged question, and to no other.
LIE = bytes([203, 0, 113, 66])
HEADER_LEN = 12
# Of HTTP/2 (RFC 9113 §3.4, §4.1 and §6): frames and their flags.
HTTP_PREFACE_LEN, FRAME_HEAD_LEN = 24, 9
DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
ACK, END_STREAM, END_HEADERS = 1, 1, 4
# Status 200, and content-type, as HPACK writes them without its table of what was said before (RFC 7541 §6).
IS_MESSAGE = b"\x88\x0f\x10\x17application/dns-message"
# Seconds between a wrong reply and the right one.
SOON = 0.002


def frame(kind, flags=0, stream=0, payload=b""):
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def name_end(message):
    """Where the name of the question ends."""
    at = HEADER_LEN
    while message[at]:
        at += 1 + message[at]
    return at + 1


def name_of(message):
    """The name of the question, in lower case."""
    at, labels = HEADER_LEN, []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]])
        at += 1 + message[at]
    return b".".join(labels).lower().decode(errors="replace")


def address(name):
    """The right address of a name: each has its own."""
    return bytes([198, 18]) + struct.pack(">H", zlib.crc32(name.encode()) & 0xFFFF)


def has_opt(message):
    """Whether a query has more records than its question: an OPT, as nobody signs here."""
    return message[10:12] != b"\0\0"


def reply(query, rcode=0, answer=None, truncated=False, opt=False, question=True):
    """A reply to a query, as told."""
    end = name_end(query) + 4 if question else HEADER_LEN
    flags = struct.pack(">BB", 0x80 | query[2] & 0x79 | (2 if truncated else 0), 0x80 | rcode)
    counts = struct.pack(">4H", 1 if question else 0, 1 if answer else 0, 0, 1 if opt else 0)
    record = b"\xc0\x0c\0\1\0\1\0\1\x51\x80\0\4" + answer if answer else b""
    # OPT: root, 1232 octets, no flags, no options.
    return query[:2] + flags + counts + query[HEADER_LEN:end] + record + (b"\0\0\x29\x04\xd0" + bytes(6) if opt else b"")


def right(query):
    """The right reply."""
    # Only type A is asked for.
    return reply(query, answer=address(name_of(query)), opt=has_opt(query))


def forged(query):
    """A reply that must not be believed, its question and ID aside."""
    return reply(query, answer=LIE)


def other_id(query):
    """The query under another ID."""
    return struct.pack(">H", struct.unpack(">H", query[:2])[0] ^ random.randint(1, 0xFFFF)) + query[2:]


def other_question(query):
    """The query for another name of the same length."""
    at = HEADER_LEN + 1
    return query[:at] + (b"z" if query[at:at + 1].lower() != b"z" else b"y") + query[at + 1:]


def lower(message):
    """A message with the name of its question in lower case."""
    end = name_end(message)
    return message[:HEADER_LEN] + message[HEADER_LEN:end].lower() + message[end:]


def garbage(query):
    """Random octets, half the time under the query's ID."""
    octets = random.randbytes(random.randint(2, 60))
    return query[:2] + octets if random.random() < 0.5 else octets


def always(*make):
    """A script that sends the same to every query: the first at once, each other a little later."""
    return lambda query: [(at * SOON, one(query)) for at, one in enumerate(make)]


@dataclass
class Script:
    """How an upstream treats what it is asked: a list of seconds and replies for each query. None by datagram does not listen
    there; `by_stream` is also for TLS."""
    by_datagram: Callable | None = always(right)
    by_stream: Callable = always(right)
    # Of the bench's questions so many are answered rightly before.
    after: int = 0
    # Closed after so many replies, or when idle for so many seconds.
    close_after: int | None = None
    idle_s: float | None = None
    # One of CERTIFICATES, where it is asked over TLS.
    certificate: str = "good"


# Subject and validity.
CERTIFICATES = {"good": (HOST, "20200101000000Z", "20991231235959Z"),
                "other-name": ("other.example", "20200101000000Z", "20991231235959Z"),
                "expired": (HOST, "20200101000000Z", "20210101000000Z")}


class Authority:
    """An authority of its own, and certificates by it, in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.file = os.path.join(folder, "ca.pem")
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        self.openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=Bench authority")
        for name, text in (("index.txt", ""), ("serial", "1000\n"), ("ca.conf", """\
[ca]
default_ca = it
[it]
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
unique_subject = no
certificate = ca.pem
private_key = ca.key
[any]
commonName = supplied
""")):
            with open(os.path.join(folder, name), "w") as out:
                out.write(text)
        for name, (host, since, until) in CERTIFICATES.items():
            with open(os.path.join(folder, f"{name}.ext"), "w") as out:
                out.write(f"subjectAltName = DNS:{host}\nbasicConstraints = CA:FALSE\nextendedKeyUsage = serverAuth\n")
            self.openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={host}")
            self.openssl("ca", "-batch", "-config", "ca.conf", "-notext", "-in", f"{name}.csr", "-out", f"{name}.pem",
                         "-startdate", since, "-enddate", until, "-extfile", f"{name}.ext")

    def openssl(self, *words):
        """One of its commands."""
        done = subprocess.run(["openssl", *words], cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"openssl {words[0]}: {done.stderr}")

    def context(self, certificate, way):
        """What a server shows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if way == "https":
            context.set_alpn_protocols(["h2"])
        stem = os.path.join(self.folder, certificate)
        context.load_cert_chain(f"{stem}.pem", f"{stem}.key")
        return context


class Upstream(asyncio.DatagramProtocol):
    """A script that listens."""

    def __init__(self, script):
        self.script = script
        # Questions of the bench, by way; and connections that were opened.
        self.asked = {"udp": 0, "stream": 0}
        self.connections = 0
        self.transport = self.server = None
        self.tasks = set()

    async def open(self, port, tls=None, by_http=False):
        """Listens on a port: by datagram if the script has something to say there, and by stream, over TLS if told, and by HTTP/2 there."""
        loop = asyncio.get_running_loop()
        if self.script.by_datagram and not tls:
            await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", port))
        self.converse = self.by_http if by_http else self.by_messages
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", port, ssl=tls, backlog=512)

    def close(self):
        """Listens no more."""
        if self.transport:
            self.transport.close()
        self.server.close()
        for task in self.tasks:
            task.cancel()

    def script_for(self, query, way):
        """What a query gets; it is counted if it is the bench's."""
        is_sound = sum(self.asked.values()) < self.script.after
        self.asked[way] += name_of(query).endswith(ZONE)
        if is_sound:
            return [(0, right(query))]
        return (self.script.by_datagram if way == "udp" else self.script.by_stream)(query)

    def connection_made(self, transport):
        """asyncio's: the socket is there."""
        self.transport = transport

    def datagram_received(self, query, peer):
        """asyncio's: a datagram is there."""
        loop = asyncio.get_running_loop()
        for delay, octets in self.script_for(query, "udp"):
            if delay:
                loop.call_later(delay, self.send, octets, peer)
            else:
                self.send(octets, peer)

    def send(self, octets, peer):
        """Sends a datagram, as long as there is a socket."""
        if not self.transport.is_closing():
            self.transport.sendto(octets, peer)

    async def serve(self, reader, writer):
        """One connection."""
        task = asyncio.current_task()
        self.tasks.add(task)
        self.connections += 1
        try:
            await self.converse(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.TimeoutError, asyncio.CancelledError, ConnectionError, ssl.SSLError):
            # What was cancelled ends here as well: asyncio's streams would complain of it.
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    async def by_messages(self, reader, writer):
        """Messages behind their lengths (RFC 7766), until it is to be closed."""
        answered = 0
        while self.script.close_after is None or answered < self.script.close_after:
            length = await asyncio.wait_for(reader.readexactly(2), self.script.idle_s)
            query = await reader.readexactly(struct.unpack(">H", length)[0])
            for delay, octets in self.script_for(query, "stream"):
                await asyncio.sleep(delay)
                writer.write(struct.pack(">H", len(octets)) + octets)
                answered += 1
            await writer.drain()

    async def by_http(self, reader, writer):
        """As little of HTTP/2 as POST takes (RFC 8484, RFC 9113): whatever the headers say, a body is a query. It is closed without a
        word, as a server that is short of connections does."""
        await reader.readexactly(HTTP_PREFACE_LEN)
        writer.write(frame(SETTINGS))
        bodies = {}
        while True:
            head = await asyncio.wait_for(reader.readexactly(FRAME_HEAD_LEN), self.script.idle_s)
            length, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
            payload = await reader.readexactly(length)
            if kind == SETTINGS and not flags & ACK:
                writer.write(frame(SETTINGS, ACK))
            elif kind == PING and not flags & ACK:
                writer.write(frame(PING, ACK, payload=payload))
            elif kind == DATA:
                bodies[stream] = bodies.get(stream, b"") + payload
                if length:
                    writer.write(frame(WINDOW_UPDATE, payload=struct.pack(">I", length)))
                if flags & END_STREAM:
                    for delay, octets in self.script_for(bodies.pop(stream), "stream"):
                        await asyncio.sleep(delay)
                        writer.write(frame(HEADERS, END_HEADERS, stream, IS_MESSAGE) + frame(DATA, END_STREAM, stream, octets))
            await writer.drain()
