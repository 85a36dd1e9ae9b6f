"""Sinkscope's policy beside other servers: what the command line asks for, compared and written down."""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time

import resolvers
import process
import round_trip
import same_zone

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
ABOUT = """\
round-trip  a policy of 100,000 names in Sinkscope, its export in Unbound, BIND and PowerDNS Recursor: are the verdicts on
            100,000 names the same, one by one?
same-zone   one response policy zone with every trigger in all of them: which answers differ, and by which rule?

Everything runs on loopback, unprivileged, and ends with this script. Missing Debian packages are installed first.
SINKSCOPE_DATA names a folder of real names [../shared/data]; without it names are made. Results go to
DIR/interop-DATE.md; a part that is not run keeps what stands there of the same day.
"""


def arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="benches/interop/run", description=ABOUT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="round-trip, same-zone [both]")
    parser.add_argument("--names", type=int, default=round_trip.LISTED, help="listed names of the round trip [100000]")
    parser.add_argument("--sinkscope", metavar="FILE", default=os.path.join(same_zone.FILES, "sinkscope.toml"),
                        help="same-zone: Sinkscope's configuration, with {port}, {upstream} and {zone} to be filled in; "
                        "empty compares the others alone [tests/interop/sinkscope.toml]")
    parser.add_argument("--record", action="store_true", help="same-zone: write the others' answers to tests/interop")
    parser.add_argument("--built", action="store_true", help="take the programs in target/release as they are")
    parser.add_argument("--target", help="folder of the programs [target/release]")
    parser.add_argument("--out", metavar="DIR", help="where results go [benches/results]")
    parser.add_argument("--keep", action="store_true", help="leave the working folder in place, and say where it is")
    args = parser.parse_args()
    args.parts = args.parts or list(PARTS)
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"no part is called {unknown[0]}: there are {', '.join(PARTS)}")
    args.target = os.path.abspath(args.target or os.path.join(
        ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), "release"))
    args.out = os.path.abspath(args.out or os.path.join(ROOT, "benches/results"))
    return args


def say(text):
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def run_round_trip(args, root):
    """The first part."""
    data = os.environ.get("SINKSCOPE_DATA", os.path.join(ROOT, "../shared/data"))
    return round_trip.run(root, args.target, data, args.names, say)


def run_same_zone(args, root):
    """The second part."""
    template = None
    if args.sinkscope:
        with open(args.sinkscope) as file:
            template = file.read()
    return same_zone.run(root, args.target, template, args.record, say)


PARTS = {"round-trip": run_round_trip, "same-zone": run_same_zone}


def heading():
    """What was run on."""
    def value(path, key):
        with open(path) as file:
            found = (line.split(":" if ":" in line else "=", 1) for line in file if line.startswith(key))
            return next((parts[1].strip().strip('"') for parts in found), "?")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout
    others = ", ".join(f"{resolvers.PACKAGES[name]} {version}" for name, version in resolvers.versions().items())
    return ["# Other servers with Sinkscope's policy, and with the same zone", "",
            f"{time.strftime('%Y-%m-%d')}, commit {commit.strip()}; `benches/interop/run`. {os.cpu_count()} shared cores "
            f"({value('/proc/cpuinfo', 'model name')}), Linux {platform.release()}, "
            f"{value('/etc/os-release', 'PRETTY_NAME')}. Debian packages: {others}.", ""]


def save(args, sections):
    """Writes the report; parts that were not run keep their text."""
    os.makedirs(args.out, exist_ok=True)
    path = os.path.join(args.out, f"interop-{time.strftime('%Y-%m-%d')}.md")
    texts = {}
    if os.path.exists(path):
        with open(path) as file:
            for part in file.read().split("\n## ")[1:]:
                texts[part.split("\n")[0]] = "## " + part.strip()
    for lines in sections:
        texts[lines[0].removeprefix("## ")] = "\n".join(lines).strip()
    with open(path + ".part", "w") as file:
        file.write("\n".join(heading()) + "\n" + "\n\n".join(texts[title] for title in sorted(texts)) + "\n")
    os.rename(path + ".part", path)
    say(f"written to {path}")


def main():
    """Runs; the exit code is 0 when everything is as expected, 1 when not, 2 for a bad command line."""
    args = arguments()

    def stop(*_):
        raise KeyboardInterrupt
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, stop)
    right, sections = True, []
    root = tempfile.mkdtemp(prefix="interop-")
    # Servers that run as nobody read their zones and configurations here.
    os.chmod(root, 0o755)
    try:
        for part in args.parts:
            folder = os.path.join(root, part)
            os.makedirs(folder)
            lines, good = PARTS[part](args, folder)
            sections.append(lines)
            right = right and good
        save(args, sections)
        return 0 if right else 1
    except KeyboardInterrupt:
        say("stopped")
        return 130
    except Exception:
        show_logs(root)
        raise
    finally:
        process.end_all()
        if args.keep:
            say(f"kept: {root}")
        else:
            subprocess.run(["rm", "-rf", root], check=False)


def show_logs(root):
    """The last words of every server."""
    for path, _, files in os.walk(root):
        for name in files:
            if name in ("log", "mock.log"):
                with open(os.path.join(path, name), errors="replace") as log:
                    for line in log.readlines()[-5:]:
                        say(f"{os.path.basename(path)}: {line.rstrip()}")


if __name__ == "__main__":
    sys.exit(main())
