#!/usr/bin/env python3
"""Measures `cachedeck copy` beside skopeo, cp, rclone and zcat | zstd, in turn, in one run, and prints a Markdown table.

usage: tests/servers/with benches/copying.py CACHEDECK [--rounds N] [--dir DIR] [--layers N] [--mib N] [--only NAME]

The cache is one version of 200 layers, 2 GiB packed, an OCI image manifest in a folder. It is copied to one registry by cachedeck
and skopeo, to another folder by cachedeck and cp -a, to one S3 server by cachedeck and rclone with 8 transfers, and packed anew
as zstd, level 3, by cachedeck and by one stream of zcat | zstd. Each round runs every command once and throws away what
it wrote; the warm-up round is not counted. Memory is the peak of the process. On Debian it installs what it lacks."""
import argparse, concurrent.futures, gzip, hashlib, io, json, os, platform, random, shutil, statistics, subprocess, sys, tarfile
import tempfile, time, http.client
from urllib.parse import urlsplit

options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
options.add_argument("cachedeck")
options.add_argument("--rounds", type=int, default=3)
options.add_argument("--dir", help="where to work and to keep the cache; a temporary folder if not given")
options.add_argument("--layers", type=int, default=200)
options.add_argument("--mib", type=int, default=2048, help="packed bytes of all layers")
options.add_argument("--only", help="registry, folder, s3 or zstd")
options = options.parse_args()
cachedeck = os.path.abspath(options.cachedeck)
registry = os.environ.get("CACHEDECK_TEST_REGISTRY") or sys.exit("run it with tests/servers/with")
s3 = os.environ["CACHEDECK_TEST_S3"]
missing = [name for name in ("skopeo", "rclone", "zstd") if not shutil.which(name)]
if missing:
    subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["apt-get", "install", "-qy", *missing], check=True, stdout=subprocess.DEVNULL)
work = os.path.abspath(options.dir or tempfile.mkdtemp(prefix="cachedeck-copy-"))
os.makedirs(work, exist_ok=True)
cache = os.path.join(work, "cache-%d-%d" % (options.layers, options.mib))


def sha(data):
    return hashlib.sha256(data).hexdigest()


def layer(n):
    """A layer of which gzip leaves about a third: some of it random, most of it words that come again."""
    random_bytes, rnd = random.Random(n), random.Random(n)
    words = [bytes(rnd.choices(b"abcdefghijklmnopqrstuvwxyz", k=rnd.randrange(2, 12))) for _ in range(2000)]
    target = options.mib * (1 << 20) // options.layers
    body = io.BytesIO()
    while body.tell() < target * 3.4:
        body.write(random_bytes.randbytes(16 << 10))
        body.write(b" ".join(rnd.choices(words, k=500)) * 14)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for at in range(0, body.tell(), 1 << 20):
            part = body.getvalue()[at:at + (1 << 20)]
            info = tarfile.TarInfo("app/%d/%d.bin" % (n, at))
            info.size = len(part)
            tar.addfile(info, io.BytesIO(part))
    unpacked = raw.getvalue()
    packed = gzip.compress(unpacked, 1, mtime=0)
    path = os.path.join(cache, "blobs/sha256", sha(packed))
    with open(path, "wb") as file:
        file.write(packed)
    return {"digest": "sha256:" + sha(packed), "size": len(packed), "diff": "sha256:" + sha(unpacked), "unpacked": len(unpacked)}


def make():
    os.makedirs(os.path.join(cache, "blobs/sha256"))
    with concurrent.futures.ProcessPoolExecutor() as pool:
        layers = sorted(pool.map(layer, range(options.layers)), key=lambda layer: layer["digest"])

    def put(document):
        data = json.dumps(document).encode()
        with open(os.path.join(cache, "blobs/sha256", sha(data)), "wb") as file:
            file.write(data)
        return {"digest": "sha256:" + sha(data), "size": len(data)}

    stamp = "2026-01-02T03:04:05.000000001Z"
    table = [{"blob": l["digest"], **({} if n == 1 else {"parent": n - 1})} for n, l in enumerate(layers)]
    table[0]["parent"] = -1
    records = [{"layers": [{"layer": n, "createdAt": stamp}], "digest": "sha256:" + sha(b"record %d" % n),
                **({"inputs": [[{"link": n - 1}]]} if n else {})} for n in range(len(layers))]
    config = put({"layers": table, "records": records}) | {"mediaType": "application/vnd.buildkit.cacheconfig.v0"}
    described = [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": l["digest"], "size": l["size"],
                  "annotations": {"buildkit/createdat": stamp, "containerd.io/uncompressed": l["diff"]}} for l in layers]
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = put({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": described})
    entry = manifest | {"mediaType": kind, "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
    for name, document in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
        with open(os.path.join(cache, name), "w") as file:
            json.dump(document, file)


if not os.path.exists(os.path.join(cache, "index.json")):
    shutil.rmtree(cache, ignore_errors=True)
    make()
layers = [os.path.join(cache, "blobs/sha256", name) for name in os.listdir(os.path.join(cache, "blobs/sha256"))]
layers = [path for path in layers if open(path, "rb").read(2) == b"\x1f\x8b"]
total = sum(os.path.getsize(path) for path in layers)
host = urlsplit(registry).netloc
fresh = iter(range(1 << 30))
stamp = time.time_ns()


def to(name):
    """A place nobody wrote to."""
    return "%s-%d-%d" % (name, stamp, next(fresh))


def bucket():
    name = to("bench")
    connection = http.client.HTTPConnection(urlsplit(s3).netloc)
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0000"}
    connection.request("PUT", "/" + name, b"", signed)
    assert connection.getresponse().status == 200
    return name


def s3_place(name):
    return ("type=s3,bucket=%s,region=us-east-1,endpoint_url=%s,use_path_style=true,access_key_id=tests,secret_access_key=tests"
            % (name, s3))


def folder():
    return os.path.join(work, to("copy"))


stream = os.path.join(work, "stream.zst")
script = 'set -o pipefail; cat "$@" | zcat | zstd -q -3 -f -o ' + stream
compare = {
    "registry": {
        "cachedeck copy, to a registry": lambda: [cachedeck, "copy", "type=local,src=" + cache,
                                                  "type=registry,ref=%s/%s:latest,registry.insecure=true" % (host, to("a"))],
        "skopeo copy, to the same": lambda: ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", "oci:%s:latest" % cache,
                                             "docker://%s/%s:latest" % (host, to("b"))],
    },
    "folder": {
        "cachedeck copy, to a folder": lambda: [cachedeck, "copy", "type=local,src=" + cache, "type=local,dest=" + folder()],
        "cp -a": lambda: ["cp", "-a", cache, folder()],
        "cp -a, then sync and sha256sum": lambda: ["bash", "-c", 'cp -a "$0" "$1" && sync -f "$1" && sha256sum "$1"/blobs/sha256/* >/dev/null',
                                                   cache, folder()],
        "cp -a, then sync": lambda: ["bash", "-c", 'cp -a "$0" "$1" && sync -f "$1"', cache, folder()],
    },
    "s3": {
        "cachedeck copy, to S3": lambda: [cachedeck, "copy", "type=local,src=" + cache, s3_place(bucket())],
        "rclone copy --transfers 8, to the same": lambda: ["rclone", "copy", "--transfers", "8", "--s3-no-check-bucket",
                                                           os.path.join(cache, "blobs"), "bench:%s/blobs" % bucket()],
    },
    "zstd": {
        "cachedeck copy --compression zstd --compression-level 3": lambda: [
            cachedeck, "copy", "--compression", "zstd", "--compression-level", "3", "type=local,src=" + cache,
            "type=local,dest=" + folder()],
        "zcat | zstd -3, one stream": lambda: ["bash", "-c", script, "bash", *layers],
    },
}
remote = {f"RCLONE_CONFIG_BENCH_{key}": value for key, value in {
    "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": s3, "REGION": "us-east-1", "ACCESS_KEY_ID": "tests",
    "SECRET_ACCESS_KEY": "tests", "FORCE_PATH_STYLE": "true"}.items()}
env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
env |= remote | {"RCLONE_CONFIG": os.devnull, "CACHEDECK_CACHE_DIR": "", "CACHEDECK_DATA_DIR": os.path.join(work, "data"), "TMPDIR": work}


def clean():
    for name in os.listdir(work):
        if name.startswith("copy-"):
            shutil.rmtree(os.path.join(work, name))
    # What skopeo remembers of blobs that it pushed before would spare it the work.
    shutil.rmtree("/var/lib/containers/cache", ignore_errors=True)
    os.sync()


def run(command):
    begin = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit("failed with %d: %s\n%s" % (process.returncode, " ".join(command[:6]), said.decode(errors="replace")))
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


print("%d layers, %.2f GiB packed; %d processors, %s, %d rounds\n" % (
    len(layers), total / (1 << 30), os.cpu_count(), platform.machine(), options.rounds))
print("| command | wall, s | least to most | processor, s | peak, MiB | ratio |\n| --- | --- | --- | --- | --- | --- |")
for name, commands in compare.items():
    if options.only not in (None, name):
        continue
    times = {command: [] for command in commands}
    for round in range(options.rounds + 1):
        # Who goes first in a round goes last in the next.
        for command in list(commands)[::-1 if round % 2 else 1]:
            clean()
            ran = run(commands[command]())
            if round:
                times[command].append(ran)
    clean()
    first = None
    for command, ran in times.items():
        walls = [wall for wall, _, _ in ran]
        median = statistics.median(walls)
        first = first or median
        print("| `%s` | %.2f | %.2f to %.2f | %.2f | %.0f | %s |" % (
            command, median, min(walls), max(walls), statistics.median(cpu for _, cpu, _ in ran), max(peak for *_, peak in ran),
            "" if first is median else "%.2f" % (first / median)), flush=True)
if not options.dir:
    shutil.rmtree(work)
