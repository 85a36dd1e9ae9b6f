"""A DNS client just large enough to see whether a server answers rightly."""

import socket
import struct
import time

# What the mock upstream answers to every A query, and what a sinkhole answers where it does not deny.
TRUTH = "198.18.0.1"
SINKHOLE = "0.0.0.0"


def query(ident, name):
    """An A query without EDNS."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def upstream_tells(port, qclass):
    """The four octets that the mock upstream answers to a question of that class about itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mock:
        mock.connect(("127.0.0.1", port))
        mock.settimeout(10)
        # The root, type A.
        mock.send(struct.pack(">6H", 1, 0, 1, 0, 0, 0) + b"\0\0\1" + struct.pack(">H", qclass))
        return mock.recv(512)[-4:]


def upstream_count(port):
    """How many queries the mock upstream has seen."""
    # Class CHAOS.
    return struct.unpack(">I", upstream_tells(port, 3))[0]


def upstream_ports(port):
    """From how many ports queries came to it since this was asked before, and the entropy of a query's port in bits."""
    # Class HESIOD.
    used, thousandths = struct.unpack(">HH", upstream_tells(port, 4))
    return used, thousandths / 1000


def verdict(reply):
    """What a reply says: "sinkholed" (NXDOMAIN or 0.0.0.0), "true" (the upstream's address), or anything else."""
    rcode, answers = reply[3] & 15, struct.unpack(">H", reply[6:8])[0]
    if rcode == 3:
        return "sinkholed"
    if rcode == 0 and answers == 1 and len(reply) > 28:
        # Without EDNS and with one answer and no authority, its RDATA ends the message.
        address = socket.inet_ntoa(reply[-4:])
        return {SINKHOLE: "sinkholed", TRUTH: "true"}.get(address, address)
    return f"rcode {rcode}, {answers} answers"


class Client:
    """Asks one server, over one socket."""

    def __init__(self, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))
        self.ident = 0

    def close(self):
        """Closes the socket."""
        self.socket.close()

    def ask(self, name, timeout_s):
        """The verdicts of all replies that come until this query's own or the time is up; its own is the last, or None.

        Late replies to earlier queries are told too: a server that stalls and then answers wrongly is seen.
        """
        self.ident = self.ident % 65535 + 1
        seen, until = [], time.monotonic() + timeout_s
        try:
            self.socket.send(query(self.ident, name))
            while (left := until - time.monotonic()) > 0:
                self.socket.settimeout(left)
                reply = self.socket.recv(4096)
                if len(reply) < 12:
                    continue
                seen.append(verdict(reply))
                if reply[:2] == struct.pack(">H", self.ident):
                    return seen
        except (ConnectionRefusedError, TimeoutError):
            pass
        return seen + [None]


def watch_load(port, process, sample, limit_s):
    """Asks for listed names from the start of a server on, without pause, until it sinkholes all of `sample` in a row.

    Tells seconds to the first sinkholed answer and to the last wrong or missing one (ready), and how many listed names
    were answered truthfully meanwhile.
    """
    began, client = time.monotonic(), Client(port)
    first = ready = None
    asked = truthful = row = 0
    try:
        while row < len(sample):
            now = time.monotonic() - began
            if now > limit_s:
                raise RuntimeError(f"not ready after {limit_s} s")
            if process.poll() is not None:
                raise RuntimeError(f"ended by itself with {process.returncode}")
            seen = client.ask(sample[asked % len(sample)], 0.02)
            asked += 1
            truthful += seen.count("true")
            if seen[-1] == "sinkholed":
                first = first if first is not None else time.monotonic() - began
                ready = ready if row else time.monotonic() - began
                row += 1
            else:
                row = 0
                # Refused at once while nobody listens: not as fast as the system can say so.
                time.sleep(0.002)
    finally:
        client.close()
    return {"first_s": first, "ready_s": ready, "asked": asked, "truthful": truthful}


def wait_for(port, process, limit_s=60):
    """Asks for names, a new one each time, until a server answers anything at all. They have sixteen letters, as those of
    the entropy's trace have."""
    asker, until = Client(port), time.monotonic() + limit_s
    try:
        while asker.ask(f"waitforit{asker.ident}.example", 0.1)[-1] is None:
            if process.poll() is not None:
                raise RuntimeError(f"ended by itself with {process.returncode}")
            if time.monotonic() > until:
                raise RuntimeError(f"not ready after {limit_s} s")
            # Refused at once while nobody listens.
            time.sleep(0.002)
    finally:
        asker.close()


def spot_check(port, listed, innocent):
    """Asks for each name, and returns what is wrong: `name: what came`. A lost packet may be asked for once more."""
    client, wrong = Client(port), []
    try:
        for names, right in ((listed, "sinkholed"), (innocent, "true")):
            for name in names:
                told = client.ask(name, 0.5)[-1] or client.ask(name, 2)[-1]
                if told != right:
                    wrong.append(f"{name}: {told}, not {right}")
    finally:
        client.close()
    return wrong
