"""How each server is set up: one thread, the same list or none, the same upstream, caches that hold everything asked for.

What was learnt the hard way stands beside the setting it explains.
"""

import os
from dataclasses import dataclass, field

from data import ZONES
from process import free_port
from versions import of


@dataclass
class Server:
    """A server that can be started."""
    name: str
    title: str
    command: list
    port: int
    cwd: str
    # The response code of its sinkholed answers; None is an echo, which answers nothing.
    denial: str | None = "NXDOMAIN"
    # Where it tells of itself, if it does by HTTP.
    web: int | None = None
    # The process, once started, and what loading showed.
    process: object = None
    load: dict = field(default_factory=dict)


class Setup:
    """Writes configurations into a folder; without data, of servers that only forward."""

    # Names that dnsmasq caches: enough for everything asked for.
    dnsmasq_names = 200_000
    # How much a cache may hold, where that is measured: octets, or entries where a server counts those. None is enough for everything.
    room = None

    def __init__(self, folder, data, upstream, target):
        self.folder, self.data, self.upstream, self.target = folder, data, upstream, target

    def make(self, name):
        """The server of that name, configured, with a port of its own."""
        folder = os.path.join(self.folder, name)
        os.makedirs(folder, exist_ok=True)
        return MAKERS[name](self, name, folder, free_port())

    def write(self, path, text):
        """Writes a file, and returns its path."""
        with open(path, "w") as out:
            out.write(text)
        return path

    def policy(self, text, file):
        """What a configuration says of the list, of which `{}` is the file in its format; nothing where there is none."""
        return text.format(self.data.native(file)) if self.data else ""

    def title(self, name, kind=""):
        """A rival's name and version, with the kind of its list if it has one."""
        told = f"{name} {of(name)}"
        return f"{told}, {kind}" if self.data and kind else told

    def web(self):
        """A port for a server's own figures, kept until the next is asked for."""
        self.port_of_web = free_port()
        return self.port_of_web

    def counted(self, text):
        """What a configuration says so that one can ask what a cache holds; nothing where nobody does."""
        return text if self.room else ""

    def echo(self, name, folder, port):
        """The floor: our own batches in and out, and nothing between."""
        command = [f"{self.target}/examples/echo", f"127.0.0.1:{port}"]
        return Server(name, "bare echo: the floor", command, port, folder, denial=None)

    def sinkscope(self, name, folder, port):
        """Ourselves, as a court's order would be served."""
        orders = os.path.join(folder, "orders")
        os.makedirs(orders, exist_ok=True)
        if self.data:
            self.write(f"{orders}/peers.toml", order(self.data))
        control = self.counted(f'[control]\nlisten = "unix:{folder}/control.sock"')
        config = self.write(f"{folder}/sinkscope.toml", f"""\
[listen]
udp = ["127.0.0.1:{port}"]
tcp = ["127.0.0.1:{port}"]
workers = 1
[upstream]
servers = ["udp://127.0.0.1:{self.upstream}"]
[orders]
paths = ["orders"]
[cache]
size = "{self.room or 512 << 20}"
{control}
""")
        command = [f"{self.target}/sinkscope", "serve", "--config", config]
        return Server(name, "Sinkscope", command, port, folder, denial="NOERROR")

    def unbound(self, name, folder, port):
        """Unbound; its local zones are faster than its RPZ, and load in a quarter of the time."""
        if name == "unbound":
            modules, policy = "iterator", self.policy('include: "{}"', "unbound.conf")
        else:
            modules = "respip iterator"
            policy = self.policy('rpz:\n  name: rpz.local\n  zonefile: "{}"', "rpz.zone")
        # One slab of each cache, as one thread needs no more locks. Without do-not-query-localhost it would not ask the
        # upstream; qname minimisation would ask it twice. Messages and records share room one to two, as unbound.conf(5) advises.
        messages, records = (self.room // 3, self.room - self.room // 3) if self.room else ("512m", "1g")
        config = self.write(f"{folder}/unbound.conf", f"""\
server:
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  num-threads: 1
  module-config: "{modules}"
  do-not-query-localhost: no
  do-ip6: no
  so-reuseport: yes
  so-rcvbuf: 4m
  so-sndbuf: 4m
  msg-cache-size: {messages}
  rrset-cache-size: {records}
  {self.counted("extended-statistics: yes")}
  msg-cache-slabs: 1
  rrset-cache-slabs: 1
  infra-cache-slabs: 1
  key-cache-slabs: 1
  outgoing-range: 8192
  num-queries-per-thread: 4096
  minimal-responses: yes
  rrset-roundrobin: no
  qname-minimisation: no
  aggressive-nsec: no
  do-daemonize: no
  use-syslog: no
  logfile: ""
  verbosity: 0
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
remote-control:
  control-enable: yes
  control-interface: "{folder}/control.sock"
  control-use-cert: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{self.upstream}
{policy}
""")
        title = self.title("Unbound", "local zones" if name == "unbound" else "RPZ")
        return Server(name, title, ["unbound", "-d", "-p", "-c", config], port, folder)

    def dnsdist(self, name, folder, port):
        """dnsdist, which is no resolver: a packet cache in front of the upstream. Its CDB file is mapped, not loaded."""
        if name == "dnsdist-cdb":
            # Suffixes of at least two labels, in wire format. It looks at the file again after 60 s; with 0 it would do
            # so for every query, which costs it 3 us.
            policy = self.policy("kvs = newCDBKVStore('{}', 60)\n"
                                 "addAction(KeyValueStoreLookupRule(kvs, KeyValueLookupKeySuffix(2, true)), "
                                 "RCodeAction(DNSRCode.NXDOMAIN))", "list.cdb")
        else:
            policy = self.policy("listed = newSuffixMatchNode()\n"
                                 "for name in io.lines('{}') do listed:add(name) end\n"
                                 "addAction(SuffixMatchNodeRule(listed, true), RCodeAction(DNSRCode.NXDOMAIN))", "list.txt")
        figures = self.counted(f"webserver('127.0.0.1:{self.web()}')\nsetWebserverConfig({{statsRequireAuthentication=false}})")
        # One shard, as there is one thread; ring buffers cost time and show nothing here.
        config = self.write(f"{folder}/dnsdist.conf", f"""\
setACL({{'127.0.0.0/8'}})
addLocal('127.0.0.1:{port}', {{reusePort=true}})
setMaxUDPOutstanding(65535)
{figures}
setUDPMultipleMessagesVectorSize(64)
setSecurityPollSuffix('')
newServer({{address='127.0.0.1:{self.upstream}', sockets=8, checkInterval=10}})
getPool(''):setCache(newPacketCache({self.room or 2_000_000}, {{maxTTL=86400, numberOfShards=1, deferrableInsertLock=true}}))
setRingBuffersLockRetries(0)
setRingBuffersSize(1, 1)
{policy}
""")
        title = self.title("dnsdist", "CDB file" if name == "dnsdist-cdb" else "in memory")
        command = ["dnsdist", "--supervised", "--disable-syslog", "-C", config]
        return Server(name, title, command, port, folder, web=self.port_of_web)

    def pdns(self, name, folder, port):
        """PowerDNS Recursor, RPZ; its packet cache answers most."""
        policy = self.policy('rpzFile("{}", {{policyName="listed"}})\n', "rpz.zone")
        lua = self.write(f"{folder}/rpz.lua", policy)
        # Its own defaults hold two records for each packet.
        records = self.room or 4_000_000
        packets = 0 if name == "pdns-records" else records // 2
        # dont-query holds loopback by default; max-mthreads bounds questions under way. Since 5 its settings are YAML, by other names.
        if int(of("PowerDNS Recursor").split(".")[0] or 0) >= 5:
            self.write(f"{folder}/recursor.yml", f"""\
incoming:
  listen: [127.0.0.1:{port}]
  allow_from: [127.0.0.0/8]
  pdns_distributes_queries: false
  reuseport: true
recursor:
  threads: 1
  forward_zones_recurse: [{{zone: ., forwarders: [127.0.0.1:{self.upstream}]}}]
  qname_minimization: false
  nothing_below_nxdomain: no
  max_mthreads: 8192
  security_poll_suffix: ''
  daemon: false
  socket_dir: {folder}
  setuid: ''
  setgid: ''
  lua_config_file: {lua}
outgoing: {{dont_query: [], server_down_max_fails: 0}}
dnssec: {{validation: off}}
packetcache: {{max_entries: {packets}, disable: {"false" if packets else "true"}}}
recordcache: {{max_entries: {records}}}
webservice: {{webserver: {"true" if self.room else "false"}, address: 127.0.0.1, port: {self.web()}, allow_from: [127.0.0.0/8]}}
logging: {{statistics_interval: 0, quiet: true, loglevel: 3, disable_syslog: true}}
""")
        else:
            self.write(f"{folder}/recursor.conf", f"""\
local-address=127.0.0.1
local-port={port}
allow-from=127.0.0.0/8
threads=1
pdns-distributes-queries=no
reuseport=yes
forward-zones-recurse=.=127.0.0.1:{self.upstream}
dont-query=
dnssec=off
qname-minimization=no
nothing-below-nxdomain=no
server-down-max-fails=0
max-mthreads=8192
max-packetcache-entries={packets}
disable-packetcache={"no" if packets else "yes"}
max-cache-entries={records}
security-poll-suffix=
statistics-interval=0
webserver={"yes" if self.room else "no"}
webserver-address=127.0.0.1
webserver-port={self.web()}
webserver-allow-from=127.0.0.0/8
quiet=yes
loglevel=3
daemon=no
disable-syslog=yes
socket-dir={folder}
setuid=
setgid=
lua-config-file={lua}
""")
        command = ["pdns_recursor", f"--config-dir={folder}"]
        return Server(name, self.title("PowerDNS Recursor", "RPZ"), command, port, folder, web=self.port_of_web)

    def bind(self, name, folder, port):
        """BIND, RPZ. Its limits on clients and fetches would answer SERVFAIL under this load."""
        listed = self.policy('response-policy {{ zone "rpz.local" log no; }} qname-wait-recurse no;', "rpz.zone")
        zone = self.policy('zone "rpz.local" {{ type primary; file "{}"; allow-query {{ none; }}; check-names ignore; }};',
                           "rpz.zone")
        config = self.write(f"{folder}/named.conf", f"""\
options {{
  directory "{folder}";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  allow-query {{ 127.0.0.0/8; }};
  recursion yes;
  forward only;
  forwarders port {self.upstream} {{ 127.0.0.1; }};
  dnssec-validation no;
  qname-minimization off;
  empty-zones-enable no;
  minimal-responses yes;
  max-cache-size 2g;
  recursive-clients 100000;
  clients-per-query 0;
  max-clients-per-query 0;
  fetches-per-server 0;
  fetches-per-zone 0;
  send-cookie no;
  answer-cookie no;
  stale-answer-enable no;
  notify no;
  querylog no;
  zone-statistics none;
  pid-file none;
  session-keyfile none;
  {listed}
}};
logging {{ category default {{ null; }}; }};
controls {{ }};
{zone}
""")
        command = ["named", "-4", "-f", "-n", "1", "-U", "1", "-c", config]
        return Server(name, self.title("BIND", "RPZ"), command, port, folder)

    def kresd(self, name, folder, port):
        """Knot Resolver, RPZ. With policy.STUB it would keep every answer for 5 seconds, whatever its TTL; without trust
        anchors, policy.FORWARD validates nothing and keeps records as long as they live."""
        policy = self.policy("policy.add(policy.rpz(policy.DENY, '{}', false))", "rpz.zone")
        config = self.write(f"{folder}/kresd.conf", f"""\
log_level('err')
net.ipv6 = false
net.listen('127.0.0.1', {port}, {{ kind = 'dns' }})
for _, name in ipairs({{ 'ta_update', 'ta_signal_query', 'ta_sentinel', 'priming', 'detect_time_skew',
                        'detect_time_jump', 'edns_keepalive', 'refuse_nord', 'extended_error' }}) do
  pcall(modules.unload, name)
end
trust_anchors.remove('.')
option('NO_MINIMIZE', true)
cache.open(1*GB, 'lmdb://{folder}/cache')
{policy}
policy.add(policy.all(policy.FORWARD('127.0.0.1@{self.upstream}')))
""")
        return Server(name, self.title("Knot Resolver", "RPZ"), ["kresd", "-n", "-c", config, folder], port, folder)

    def dnsmasq(self, name, folder, port):
        """dnsmasq; `address=/name/` without an address is NXDOMAIN."""
        policy = self.policy("conf-file={}", "dnsmasq.conf")
        config = self.write(f"{folder}/dnsmasq.conf", f"""\
port={port}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
no-poll
server=127.0.0.1#{self.upstream}
cache-size={self.dnsmasq_names}
dns-forward-max=10000
user=
pid-file=
log-facility=-
{policy}
""")
        return Server(name, self.title("dnsmasq"), ["dnsmasq", "-k", "-C", config], port, folder)


# Every server this can set up; the last three are programs met before with another way to hold a list.
MAKERS = {
    "echo": Setup.echo,
    "sinkscope": Setup.sinkscope,
    "dnsdist-cdb": Setup.dnsdist,
    "unbound": Setup.unbound,
    "pdns": Setup.pdns,
    "bind": Setup.bind,
    "kresd": Setup.kresd,
    "dnsmasq": Setup.dnsmasq,
    "dnsdist": Setup.dnsdist,
    "unbound-rpz": Setup.unbound,
    # Without its packet cache, which holds once more what its records hold.
    "pdns-records": Setup.pdns,
}
DEFAULT = ["echo", "sinkscope", "dnsdist-cdb", "unbound", "pdns", "bind", "kresd", "dnsmasq"]
# What runs at ten million names unless asked for more: the others take minutes and gigabytes to load them.
LARGEST = ["echo", "sinkscope", "dnsdist-cdb"]
RESOLVERS = ["unbound", "unbound-rpz", "pdns", "bind", "kresd", "dnsmasq"]


def order(data):
    """The list as an order file."""
    zones = ", ".join(f'"{zone}"' for zone in ZONES)
    return f"""\
id = "peers"
title = "The list that all servers of this bench hold"
kind = "operator"
zones = [{zones}]
action = "sinkhole"
justification = "Measurement"

[[scope]]
match = "subtree"
file = "{data.native("list.txt")}"
"""
