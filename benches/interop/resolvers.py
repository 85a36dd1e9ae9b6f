"""The servers that are compared: started on loopback with one upstream and one policy, as nobody, in the foreground."""

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
import process  # noqa: E402  the same folder's modules are named otherwise

# A policy zone's origin, which everybody must give as it stands in the zone.
ORIGIN = "rpz.sinkscope.invalid"
TITLES = {"sinkscope": "Sinkscope", "unbound": "Unbound", "bind": "BIND", "pdns": "PowerDNS Recursor"}
PACKAGES = {"unbound": "unbound", "bind": "bind9", "pdns": "pdns-recursor"}


@dataclass
class Resolver:
    """A server that runs."""
    name: str
    port: int
    folder: str
    process: object = None

    @property
    def log(self):
        """What it said."""
        return f"{self.folder}/log"


def unprivileged():
    """What stands in front of a command so that it runs as nobody; nothing when we are not root."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    # Changing the user forgets the signal that is sent when a parent ends, so it is asked for again.
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--no-new-privs",
            "--pdeathsig=KILL", "--"]


def start(name, root, make, *args):
    """Configures a server in a folder of its own below `root` and starts it."""
    folder = os.path.join(root, name)
    os.makedirs(folder, exist_ok=True)
    resolver = Resolver(name, process.free_port(), folder)
    command = make(resolver, *args)
    program = shutil.which(command[0], path=process.PATH)
    if program is None:
        raise RuntimeError(f"{command[0]} is not installed")
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "nobody", folder], check=True)
    resolver.process = process.start([*unprivileged(), program, *command[1:]], [0, 1], resolver.log, cwd=folder)
    return resolver


def write(path, text):
    """Writes a file, and returns its path."""
    with open(path, "w") as out:
        out.write(text)
    return path


def sinkscope(resolver, upstream, program, template):
    """Ourselves, by a configuration in which {port} and {upstream} are filled in."""
    text = template.replace("{port}", str(resolver.port)).replace("{upstream}", str(upstream))
    return [program, "serve", "--config", write(f"{resolver.folder}/sinkscope.toml", text)]


def unbound(resolver, upstream, zone, origin=ORIGIN):
    """Unbound. Without do-not-query-localhost it would not ask the upstream; its own zones would answer for some names."""
    config = write(f"{resolver.folder}/unbound.conf", f"""\
server:
  interface: 127.0.0.1@{resolver.port}
  access-control: 127.0.0.0/8 allow
  num-threads: 1
  module-config: "respip iterator"
  do-not-query-localhost: no
  do-ip6: no
  so-rcvbuf: 4m
  outgoing-range: 4096
  num-queries-per-thread: 2048
  rrset-roundrobin: no
  minimal-responses: no
  qname-minimisation: no
  aggressive-nsec: no
  unblock-lan-zones: yes
  do-daemonize: no
  use-syslog: no
  logfile: ""
  verbosity: 0
  username: ""
  chroot: ""
  directory: "{resolver.folder}"
  pidfile: ""
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{upstream}
rpz:
  name: {origin}
  zonefile: "{zone}"
""")
    return ["unbound", "-d", "-p", "-c", config]


def bind(resolver, upstream, zone, origin=ORIGIN):
    """BIND. Its limits on clients and fetches would answer SERVFAIL under load."""
    config = write(f"{resolver.folder}/named.conf", f"""\
options {{
  directory "{resolver.folder}";
  listen-on port {resolver.port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  allow-query {{ 127.0.0.0/8; }};
  recursion yes;
  forward only;
  forwarders port {upstream} {{ 127.0.0.1; }};
  dnssec-validation no;
  qname-minimization off;
  empty-zones-enable no;
  recursive-clients 10000;
  clients-per-query 0;
  max-clients-per-query 0;
  fetches-per-server 0;
  fetches-per-zone 0;
  send-cookie no;
  answer-cookie no;
  stale-answer-enable no;
  notify no;
  querylog no;
  pid-file none;
  session-keyfile none;
  response-policy {{ zone "{origin}" log no; }} qname-wait-recurse no;
}};
logging {{ channel stderr {{ stderr; severity warning; }}; category default {{ stderr; }}; }};
controls {{ }};
zone "{origin}" {{ type primary; file "{zone}"; allow-query {{ none; }}; check-names ignore; }};
""")
    return ["named", "-4", "-f", "-n", "1", "-U", "1", "-c", config]


def pdns(resolver, upstream, zone, origin=ORIGIN):
    """PowerDNS Recursor; dont-query holds loopback by default. Its packet cache would give a client what it gave another."""
    lua = write(f"{resolver.folder}/rpz.lua", f'rpzFile("{zone}", {{policyName="{origin}"}})\n')
    write(f"{resolver.folder}/recursor.conf", f"""\
local-address=127.0.0.1
local-port={resolver.port}
allow-from=127.0.0.0/8
threads=1
pdns-distributes-queries=no
forward-zones-recurse=.=127.0.0.1:{upstream}
dont-query=
dnssec=off
qname-minimization=no
nothing-below-nxdomain=no
server-down-max-fails=0
max-mthreads=4096
serve-rfc1918=no
security-poll-suffix=
statistics-interval=0
webserver=no
quiet=yes
loglevel=3
daemon=no
disable-syslog=yes
disable-packetcache=yes
socket-dir={resolver.folder}
setuid=
setgid=
lua-config-file={lua}
""")
    return ["pdns_recursor", f"--config-dir={resolver.folder}"]


OTHERS = {"unbound": unbound, "bind": bind, "pdns": pdns}


def versions():
    """Package versions by server."""
    def version(package):
        return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True).stdout
    return {name: version(package) for name, package in PACKAGES.items()}
