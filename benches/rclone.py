#!/usr/bin/env python3
"""Measures `cachedeck du` beside `rclone size` on one bucket of a real S3 server, in turn, in one run, and prints a Markdown table.

usage: tests/servers/with benches/rclone.py CACHEDECK [OBJECTS ROUNDS]
       CACHEDECK_TEST_S3=http://HOST:PORT benches/rclone.py CACHEDECK [OBJECTS ROUNDS]

The second form is for any other server; its access key and its secret are both `tests`. It is left with one more bucket.
The bucket holds a build cache as BuildKit writes it: a manifest for each 50 blobs, each of 50 layers. Both programs list it; `du`
also reads every manifest, or, once it remembers them, their listing alone. Each round runs every command once, so that a change
of the machine's speed meets all of them. It needs rclone; on Debian it installs it."""
import hashlib, json, os, random, shutil, statistics, subprocess, sys, tempfile, time

cachedeck = os.path.abspath(sys.argv[1])
objects, rounds = [int(n) for n in sys.argv[2:] or ("20000", "5")]
server = os.environ.get("CACHEDECK_TEST_S3") or sys.exit("run it with tests/servers/with, or lead CACHEDECK_TEST_S3 to a server")
if not shutil.which("rclone"):
    subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["apt-get", "install", "-qy", "rclone"], check=True, stdout=subprocess.DEVNULL)

rnd = random.Random(7)
manifests = objects // 51
blobs = {}
while len(blobs) < objects - manifests:
    content = rnd.randbytes(rnd.randrange(100, 2000))
    blobs["sha256:" + hashlib.sha256(content).hexdigest()] = content
digests = list(blobs)


def manifest():
    layers, records = [], []
    for at, digest in enumerate(rnd.sample(digests, 50)):
        # A chain of ten layers, then the next one.
        parent = at - 1 if at % 10 else -1
        layers.append({"blob": digest, "parent": parent, "annotations": {
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "diffID": "sha256:" + rnd.randbytes(32).hex(),
            "size": len(blobs[digest]), "createdAt": "2026-01-02T03:04:05.000000001Z"}})
        record = {"digest": "sha256:" + rnd.randbytes(32).hex(), "layers": [{"layer": at, "createdAt": "2026-01-02T03:04:05Z"}]}
        records.append(record | ({"inputs": [[{"link": at - 1}]]} if at % 10 else {}))
    return json.dumps({"layers": layers, "records": records}).encode()


contents = {f"blobs/{digest}": content for digest, content in blobs.items()}
contents |= {f"manifests/v{n:05}": manifest() for n in range(manifests)}
bucket = "bench-%d" % time.time_ns()
place = f"type=s3,bucket={bucket},region=us-east-1,endpoint_url={server},use_path_style=true,access_key_id=tests,secret_access_key=tests"
remote = {f"RCLONE_CONFIG_BENCH_{key}": value for key, value in {
    "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": server, "REGION": "us-east-1", "ACCESS_KEY_ID": "tests",
    "SECRET_ACCESS_KEY": "tests", "FORCE_PATH_STYLE": "true"}.items()}
home = tempfile.mkdtemp(prefix="cachedeck-rclone-")
# What the user has set up for AWS is not for this server.
own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
kept = own | remote | {"RCLONE_CONFIG": os.devnull, "CACHEDECK_CACHE_DIR": home, "CACHEDECK_DATA_DIR": ""}
with tempfile.TemporaryDirectory(prefix="cachedeck-rclone-") as folder:
    for key, content in contents.items():
        path = os.path.join(folder, key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    fill = ["rclone", "copy", "--transfers=8", "--no-check-dest", "--s3-no-head", folder, f"bench:{bucket}"]
    subprocess.run(fill, env=kept, check=True)
FIRST, AGAIN, SIZE = "cachedeck du", "cachedeck du, again", "rclone size"
du = [cachedeck, "du", "--json", "--progress=none", place]
commands = {
    FIRST: (du, kept | {"CACHEDECK_CACHE_DIR": ""}),
    AGAIN: (du, kept),
    SIZE: (["rclone", "size", "--json", f"bench:{bucket}"], kept),
}


def run(name):
    """Wall seconds and peak MB of one command, and what it counted."""
    command, env = commands[name]
    with tempfile.TemporaryFile() as out:
        begin = time.perf_counter()
        process = subprocess.Popen(command, env=env, stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit("failed with %d: %s" % (process.returncode, name))
        out.seek(0)
        told = json.load(out)
    counted = told["count"] if name == SIZE else told["items"][0]["blobs"] + told["items"][0]["indexes"]
    if counted != objects:
        sys.exit(f"{name} counts {counted} of {objects} objects")
    return wall, used.ru_maxrss / 1000


try:
    # The round before the first is not counted; it also lets the second `du` remember.
    measured = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name in commands:
            result = run(name)
            if number:
                measured[name].append(result)
finally:
    shutil.rmtree(home, ignore_errors=True)

print(f"{len(blobs):,} blobs and {manifests:,} manifests, {rounds} rounds\n")
print("| command | least | median | most | peak memory | to `rclone size` |\n| --- | ---: | ---: | ---: | ---: | ---: |")
for name, results in measured.items():
    walls = [wall for wall, _ in results]
    # Round by round, so that it compares runs made side by side.
    ratio = statistics.median(wall / other for wall, (other, _) in zip(walls, measured[SIZE]))
    print(f"| `{name}` | {min(walls):.2f} s | {statistics.median(walls):.2f} s | {max(walls):.2f} s "
          f"| {max(peak for _, peak in results):.0f} MB | {ratio:.2f} |")
