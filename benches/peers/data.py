"""The list, in every server's own format, and the queries. The same seed makes the same names.

What is made stays in target/peers/data and is used again; a file that is there is whole.
"""

import os
import random
import shutil
import subprocess
from itertools import accumulate

SEED = 20140630
# Dynamic-DNS-like zones, as many as the No-IP order named; .example is nobody's (RFC 2606).
ZONES = [f"zone{number}.example" for number in range(24)]
# The zone in which the upstream knows no name.
MISSING = "missing.example"
POPULAR = 100_000
# Names of the cached set: they fit any server's smallest cache.
HOT = 4_000
# Shares of the mix.
LISTED_SHARE, MISSING_SHARE = 0.05, 0.01
# Two odd factors make two bijections of 32 bits (Knuth's and Murmur3's): names differ, and come in no order.
FACTOR_A, FACTOR_B = 2_654_435_761, 3_432_918_353
BATCH = 50_000


def listed(index):
    """The listed name of that number."""
    scrambled = (index * FACTOR_A + SEED) & 0xFFFFFFFF
    return f"h{scrambled:x}.{ZONES[(scrambled * FACTOR_B >> 16) % 24]}"


def batches(count):
    """All listed names, some at a time."""
    for at in range(0, count, BATCH):
        yield [listed(index) for index in range(at, min(at + BATCH, count))]


def once(path, write):
    """Makes a file unless it is there; it appears when it is whole."""
    if not os.path.exists(path):
        write(path + ".part")
        os.rename(path + ".part", path)
    return path


def lines(head, form):
    """A writer of one or more lines for each listed name."""
    def writer(count):
        def write(path):
            with open(path, "w") as out:
                out.write(head)
                for names in batches(count):
                    out.writelines([form(name) for name in names])
        return write
    return writer


def cdb(count):
    """A writer of the constant database that dnsdist maps: names in wire format, as it looks them up."""
    def write(path):
        program = shutil.which("cdb", path=os.environ["PATH"])
        making = subprocess.Popen([program, "-c", "-t", path + ".t", path], stdin=subprocess.PIPE)
        for names in batches(count):
            records = []
            for name in names:
                host, zone, top = name.split(".")
                key = f"{chr(len(host))}{host}{chr(len(zone))}{zone}{chr(len(top))}{top}\0"
                records.append(f"+{len(key)},1:{key}->1\n")
            making.stdin.write("".join(records).encode())
        making.stdin.write(b"\n")
        making.stdin.close()
        if making.wait() != 0:
            raise RuntimeError("cdb failed")
    return write


# Every format says the same: the name and all below it are denied (Sinkscope's order says what it answers instead).
RPZ_HEAD = ("$TTL 300\n$ORIGIN rpz.local.\n@ IN SOA localhost. root.localhost. 1 3600 600 86400 300\n"
            "@ IN NS localhost.\n")
FORMATS = {
    "list.txt": lines("", lambda name: name + "\n"),
    "unbound.conf": lines("server:\n", lambda name: f'local-zone: "{name}" always_nxdomain\n'),
    "rpz.zone": lines(RPZ_HEAD, lambda name: f"{name} CNAME .\n*.{name} CNAME .\n"),
    "dnsmasq.conf": lines("", lambda name: f"address=/{name}/\n"),
    "list.cdb": cdb,
}


class Data:
    """Names and queries for one size."""

    def __init__(self, root, count, popular_file=None):
        self.count = count
        self.folder = os.path.join(root, f"{count}")
        os.makedirs(self.folder, exist_ok=True)
        self.random = random.Random(SEED)
        if popular_file:
            with open(popular_file) as names:
                found = (line.split("#")[0].strip().rstrip(".").lower() for line in names)
                self.popular = [name for name in found if name and name.isascii()][:POPULAR]
        else:
            self.popular = made_popular()
        # A made set and a given one do not share files.
        self.kind = f"{len(self.popular)}-{random.Random(' '.join(self.popular)).getrandbits(32):08x}"

    def path(self, name):
        """Where a file of this size is."""
        return os.path.join(self.folder, name)

    def native(self, name):
        """The list in one of FORMATS."""
        return once(self.path(name), FORMATS[name](self.count))

    def sample(self, size):
        """Listed names from all over the list, the last one included."""
        step = max(1, self.count // size)
        return [listed(self.count - 1 - index * step) for index in range(size)]

    def captured(self, rng):
        """A name that the list captures: half the time a listed one, half the time one below it."""
        name = listed(rng.randrange(self.count))
        return name if rng.random() < 0.5 else f"w{rng.randrange(100)}.{name}"

    def warm(self):
        """Every popular name once."""
        return self.queries("warm", lambda: self.popular)

    def cached(self):
        """(a): a few popular names over and over."""
        rng = random.Random(f"{SEED} cached")
        return self.queries("cached", lambda: rng.choices(self.popular[:HOT], k=200_000))

    def sinkholed(self):
        """(b): names all over the list."""
        rng = random.Random(f"{SEED} sinkholed")
        return self.queries("sinkholed", lambda: [self.captured(rng) for _ in range(600_000)])

    def mix(self, number, count):
        """(c): Zipf over the popular names, some sinkholed, some missing; the missing names of no two numbers meet."""
        rng = random.Random(f"{SEED} mix {number}")

        def make():
            weights = list(accumulate(1 / rank for rank in range(1, len(self.popular) + 1)))
            made = rng.choices(self.popular, cum_weights=weights, k=count)
            for at in range(count):
                share = rng.random()
                if share < MISSING_SHARE:
                    made[at] = f"u{at:x}-{number}.{MISSING}"
                elif share < MISSING_SHARE + LISTED_SHARE:
                    made[at] = self.captured(rng)
            return made
        return self.queries(f"mix-{number}-{count}", make)

    def queries(self, name, make):
        """A file of A queries in dnsperf's format."""
        def write(path):
            with open(path, "w") as out:
                out.writelines([query + " A\n" for query in make()])
        return once(self.path(f"{name}-{self.kind}.txt"), write)


def made_popular():
    """Popular names, the most popular first: made words below a few top-level domains, some with a host in front."""
    rng = random.Random(f"{SEED} popular")
    syllables = [a + b for a in "bcdfgklmnprstvz" for b in "aeiou"]
    hosts = ["www", "cdn", "api", "m", "static", "img", "mail", "app"]
    names = {}
    while len(names) < POPULAR:
        word = "".join(rng.choices(syllables, k=rng.randint(2, 4)))
        name = f"{word}.{rng.choice(['com', 'net', 'org', 'de', 'co.uk', 'io'])}"
        names[f"{rng.choice(hosts)}.{name}" if rng.random() < 0.6 else name] = None
    return list(names)
