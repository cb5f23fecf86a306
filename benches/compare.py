#!/usr/bin/env python3
"""Measures cachedeck beside its peers on one large cache, in turn, in one run, and prints a Markdown table.

usage: benches/compare.py [--rounds N] [--dir DIR]

It builds the release binary, makes the cache (1,000 versions of 80 layers, 25,900 blobs) and needs umoci, find and
sha256sum; on Debian it installs umoci. Each round runs every command once, so that a change of the machine's speed meets
all of them; the warm-up round is not counted. What deletes gets a fresh copy each time; copying is not timed."""
import argparse, json, os, platform, shutil, statistics, subprocess, sys, tempfile, time

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(here)
options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
options.add_argument("--rounds", type=int, default=5)
options.add_argument("--dir", help="where to work and to keep the cache; a temporary folder if not given")
options = options.parse_args()


def run(command):
    """Wall seconds, processor seconds and peak MiB of one command, as the system accounts for it."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit("failed with %d: %s" % (process.returncode, " ".join(command)))
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if not shutil.which("umoci"):
    subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["apt-get", "install", "-qy", "umoci"], check=True, stdout=subprocess.DEVNULL)
subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=root, check=True)
metadata = ["cargo", "metadata", "--format-version=1", "--no-deps"]
target = json.loads(subprocess.run(metadata, cwd=root, check=True, capture_output=True).stdout)["target_directory"]
cachedeck = os.path.join(target, "release", "cachedeck")
work = options.dir or tempfile.mkdtemp(prefix="cachedeck-compare-")
cache, copy, pruned = (os.path.join(work, name) for name in ("cache", "copy", "pruned"))
os.environ["CACHEDECK_DATA_DIR"] = os.path.join(work, "data")
if not os.path.exists(cache):
    make = [sys.executable, os.path.join(here, "mkbig.py"), cache, "1000", "80", "0.7", "8192"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
blobs = os.path.join(cache, "blobs/sha256")
files = sorted(os.listdir(blobs))
sums = os.path.join(work, "sums")
with open(sums, "w") as out:
    for name in files:
        out.write("%s  %s\n" % (name, os.path.join(blobs, name)))

DU, GC, PLAN, PRUNE, FIND, VERIFY, SUM, VERSION = "cachedeck du --json", "umoci gc", "cachedeck prune (the plan)", \
    "cachedeck prune --exclusive --apply", "find -printf %s", "cachedeck verify --level digest", "sha256sum --check", \
    "cachedeck --version"
location = "type=local,src=" + cache
commands = {
    DU: [cachedeck, "du", "--json", location],
    GC: ["umoci", "gc", "--layout", copy],
    PLAN: [cachedeck, "prune", "--exclusive", location],
    PRUNE: [cachedeck, "prune", "--exclusive", "--apply", "--yes", "type=local,src=" + pruned],
    FIND: ["find", cache, "-type", "f", "-printf", "%s\n"],
    VERIFY: [cachedeck, "verify", "--level", "digest", location],
    # One process for all files, told by a list: they are too many for one command line.
    SUM: ["sha256sum", "--check", "--quiet", sums],
    VERSION: [cachedeck, "--version"],
}
measured = {name: [] for name in commands}
for number in range(options.rounds + 1):
    for name, command in commands.items():
        fresh = {GC: copy, PRUNE: pruned}.get(name)
        if fresh:
            shutil.rmtree(fresh, ignore_errors=True)
            subprocess.run(["cp", "-a", cache, fresh], check=True)
            # A cache that has grown is on the disk; what was just written is not for the command to wait for.
            os.sync()
        result = run(command)
        if number:
            measured[name].append(result)


def middle(name):
    return [statistics.median(column) for column in zip(*measured[name])]


def ratio(one, other):
    """Round by round, so that it compares runs made side by side."""
    return statistics.median(a[0] / b[0] for a, b in zip(measured[one], measured[other]))


models = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
print("%s, %d cores, %s %s; medians of %d rounds; %d blobs\n" % (
    models[0] if models else platform.machine(), os.cpu_count(), platform.system(), platform.release(), options.rounds, len(files)))
print("| command | wall | processor | peak memory |\n| --- | ---: | ---: | ---: |")
for name in commands:
    wall, used, peak = middle(name)
    print("| `%s` | %.3f s | %.3f s | %.0f MiB |" % (name, wall, used, peak))
print("\n| wall times, median of the rounds' ratios | is | wanted |\n| --- | ---: | ---: |")
print("| `du` to `umoci gc` | %.2f | at most 0.50 |" % ratio(DU, GC))
print("| `prune --exclusive --apply` to `umoci gc` | %.2f | at most 1.00 |" % ratio(PRUNE, GC))
print("| `prune`, the plan, to `umoci gc` | %.2f | at most 0.50 |" % ratio(PLAN, GC))
print("| `du` to `find` | %.2f | |" % ratio(DU, FIND))
print("| `sha256sum` to `verify` | %.2f | at least 1.60 |" % ratio(SUM, VERIFY))
print("| `--version` | %.1f ms | under 10 ms |" % (middle(VERSION)[0] * 1000))
if not options.dir:
    shutil.rmtree(work)
