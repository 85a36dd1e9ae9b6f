"""DNS messages, as far as a comparison needs them, and a client that asks for many names at a time."""

import asyncio
import ipaddress
import socket
import struct
import time

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65,
         "ANY": 255}
NAMES = {number: name for name, number in TYPES.items()}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
# Queries under way at a time: few enough for every server's socket buffer.
WINDOW = 128
# A lost packet is asked for again; a server that stays silent says `drop`.
TRIES, WAIT_S = 3, 1.5


def encode_name(name):
    """A dotted name in wire form."""
    labels = [label for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode("latin-1") for label in labels) + b"\0"


def query(ident, name, qtype):
    """A query without EDNS."""
    return struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0) + encode_name(name) + struct.pack(">2H", TYPES[qtype], 1)


def read_name(message, at):
    """The dotted name at a place, in lower case, and the place behind it."""
    labels, end, hops = [], None, 0
    while True:
        length = message[at]
        if length >= 192:
            end = end if end is not None else at + 2
            at, hops = (length & 63) << 8 | message[at + 1], hops + 1
            if hops > 64:
                raise ValueError("a loop of pointers")
        elif length:
            labels.append(message[at + 1:at + 1 + length].decode("latin-1").lower())
            at += 1 + length
        else:
            return ".".join(labels) or ".", end if end is not None else at + 1


def rdata(message, at, length, rtype):
    """Record data as text."""
    octets = message[at:at + length]
    if rtype in (1, 28):
        return str(ipaddress.ip_address(octets))
    if rtype in (2, 5, 12):
        return read_name(message, at)[0]
    if rtype == 16:
        texts, place = [], 0
        while place < length:
            texts.append(octets[place + 1:place + 1 + octets[place]].decode("latin-1"))
            place += 1 + octets[place]
        return " ".join(f'"{text}"' for text in texts)
    if rtype == 15:
        return f"{struct.unpack('>H', octets[:2])[0]} {read_name(message, at + 2)[0]}"
    return octets.hex()


def verdict(message):
    """What a reply says: its code, whether it is truncated, and the answer's records by owner, without TTL."""
    flags, questions, answers = struct.unpack(">3H", message[2:8])
    at = 12
    for _ in range(questions):
        at = read_name(message, at)[1] + 4
    found = []
    for _ in range(answers):
        owner, at = read_name(message, at)
        rtype, _, _, length = struct.unpack(">2HIH", message[at:at + 10])
        found.append((owner, NAMES.get(rtype, f"TYPE{rtype}"), rdata(message, at + 10, length, rtype)))
        at += 10 + length
    code = RCODES.get(flags & 15, str(flags & 15))
    if flags & 0x0200:
        code += " TC"
    return code, tuple(sorted(found))


class Asker(asyncio.DatagramProtocol):
    """Asks one server; replies find their query by its id."""

    def __init__(self):
        self.waiting = {}
        self.next_id = 1

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, _):
        if len(data) >= 12:
            future = self.waiting.get(struct.unpack(">H", data[:2])[0])
            if future is not None and not future.done():
                future.set_result(data)

    def error_received(self, _):
        """Nobody listens yet, or any more: the query's wait ends by itself."""

    async def ask(self, name, qtype, wait_s=WAIT_S):
        """The verdict on one name; silence is `drop`."""
        for _ in range(TRIES):
            while self.next_id in self.waiting:
                self.next_id = self.next_id % 65535 + 1
            ident, self.next_id = self.next_id, self.next_id % 65535 + 1
            future = asyncio.get_running_loop().create_future()
            self.waiting[ident] = future
            try:
                self.transport.sendto(query(ident, name, qtype))
                return verdict(await asyncio.wait_for(future, wait_s))
            except asyncio.TimeoutError:
                pass
            finally:
                del self.waiting[ident]
        return "drop", ()


async def connect(port, source="127.0.0.1"):
    """An asker of the server at that port of loopback."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    udp.bind((source, 0))
    udp.connect(("127.0.0.1", port))
    udp.setblocking(False)
    _, asker = await asyncio.get_running_loop().create_datagram_endpoint(Asker, sock=udp)
    return asker


def ask_all(port, queries, source="127.0.0.1", wait_s=WAIT_S, window=WINDOW):
    """The verdicts on (name, type) pairs, in their order, so many asked for at a time."""
    async def run():
        asker, found, todo = await connect(port, source), [None] * len(queries), iter(enumerate(queries))

        async def work():
            for index, (name, qtype) in todo:
                found[index] = await asker.ask(name, qtype, wait_s)
        await asyncio.gather(*(work() for _ in range(min(window, len(queries)))))
        asker.transport.close()
        return found
    return asyncio.run(run())


def wait_until(port, queries, wanted, process, limit_s):
    """Waits until every verdict on some queries is `wanted`; raises when the server ends before, or takes too long.

    BIND answers while it still takes its policy in, a part at a time: one name does not tell.
    """
    until, right = time.monotonic() + limit_s, 0
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"ended by itself with {process.returncode}")
        # The first few spare a server that starts the rest.
        right = sum(map(wanted, ask_all(port, queries[:4], wait_s=0.5)))
        if right == len(queries[:4]):
            right = sum(map(wanted, ask_all(port, queries)))
            if right == len(queries):
                return
        time.sleep(0.05)
    raise RuntimeError(f"not ready after {limit_s} s: {right} of {len(queries)} names are answered as they must be")
