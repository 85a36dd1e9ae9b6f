"""An upstream that answers from same.truth, and alike for every other name.

    python3 truth.py PORT FILE

It follows aliases as a recursive resolver does, speaks UDP, and is no example of how to serve DNS.
"""

import ipaddress
import socket
import struct
import sys

import wire

USUAL = {"A": ["198.18.0.1"], "AAAA": ["2001:2::1"], "TXT": ["truth"]}
# Nothing is to be remembered: what a server answers must not depend on what it was asked before.
TTL_S = 0


def load(path):
    """Data by name and type; an empty table is a name that does not exist."""
    names = {}
    with open(path) as lines:
        for line in lines:
            words = line.split("#")[0].split(maxsplit=2)
            if len(words) == 3:
                names.setdefault(words[0], {}).setdefault(words[1], []).append(words[2].strip().strip('"'))
            elif words:
                names[words[0]] = {}
    return names


def encode(rtype, data):
    """Record data in wire form."""
    if rtype in ("A", "AAAA"):
        return ipaddress.ip_address(data).packed
    if rtype == "TXT":
        return bytes([len(data)]) + data.encode()
    return wire.encode_name(data)


def resolve(names, name, qtype):
    """The answer's records, and whether the name they end at exists."""
    answers = []
    while True:
        # A name that has name servers has them for what is below it, too; other data is its own.
        data = names.get(name, USUAL)
        own = data.get(qtype, [])
        answers += [(name, qtype, one) for one in own]
        if own or "CNAME" not in data or qtype == "CNAME":
            return answers, bool(data)
        answers.append((name, "CNAME", data["CNAME"][0]))
        name = data["CNAME"][0]


def answer(names, query):
    """The reply to a query; a loop of aliases is not in the file."""
    name, end = wire.read_name(query, 12)
    qtype, qclass = struct.unpack(">2H", query[end:end + 4])
    answers, exists = resolve(names, name, wire.NAMES.get(qtype, ""))
    out = b""
    for owner, rtype, data in answers:
        octets = encode(rtype, data)
        out += wire.encode_name(owner) + struct.pack(">2HIH", wire.TYPES[rtype], qclass, TTL_S, len(octets)) + octets
    authority = 0
    if not answers or answers[-1][1] == "CNAME" != wire.NAMES.get(qtype):
        soa = b"\0\0" + struct.pack(">5I", 1, 3600, 1200, 604800, TTL_S)
        out += wire.encode_name("example.net" if name.endswith("example.net") else "example.org")
        out += struct.pack(">2HIH", wire.TYPES["SOA"], qclass, TTL_S, len(soa)) + soa
        authority = 1
    flags = 0x8180 | (0 if exists else 3)
    return query[:2] + struct.pack(">5H", flags, 1, len(answers), authority, 0) + query[12:end + 4] + out


def main():
    """Serves for good."""
    names = load(sys.argv[2])
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", int(sys.argv[1])))
    while True:
        query, client = udp.recvfrom(4096)
        try:
            udp.sendto(answer(names, query), client)
        except (IndexError, struct.error, KeyError):
            # What it cannot read it does not answer.
            print(f"not understood: {query.hex()}", flush=True)


if __name__ == "__main__":
    main()
