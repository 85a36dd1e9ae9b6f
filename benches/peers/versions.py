"""Which versions of the rivals are measured: those that PATH leads to, which may be others than the system's packages."""

import functools
import re
import shutil
import subprocess

import process

# How each says its version, and Debian's package of it.
RIVALS = {
    "Unbound": (["unbound", "-V"], "unbound"),
    "dnsdist": (["dnsdist", "--version"], "dnsdist"),
    "PowerDNS Recursor": (["pdns_recursor", "--version"], "pdns-recursor"),
    "BIND": (["named", "-v"], "bind9"),
    "Knot Resolver": (["kresd", "--version"], "knot-resolver"),
    "dnsmasq": (["dnsmasq", "-v"], "dnsmasq-base"),
}


def said(command):
    """What a command says, in whatever way; nothing where there is no such command."""
    program = shutil.which(command[0], path=process.PATH)
    if program is None:
        return ""
    return subprocess.run([program, *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


@functools.cache
def of(name):
    """A rival's version, as it says it itself; nothing where it is not installed."""
    # One says the time before it, with colons.
    found = re.search(r"\d+(?:\.\d+)+", said(RIVALS[name][0]))
    return found[0] if found else ""


def packaged(name):
    """The same as Debian has it, if it is the system's package."""
    version, package = of(name), said(["dpkg-query", "-W", "-f", "${Version}", RIVALS[name][1]])
    return package if version and re.search(rf"(^|:){re.escape(version)}\b", package) else version


def everyones():
    """The versions of all that are installed."""
    return {name: version for name in RIVALS if (version := packaged(name))}
