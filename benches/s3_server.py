#!/usr/bin/env python3
"""A stand-in for S3 with a large build cache in it. Pages are put together as they are asked for, out of rows that are made
beforehand, and so are manifests out of their layers: what a request costs is little more than to send the answer.
usage: s3_server.py BLOBS MANIFESTS LATENCY_MS
Prints its port. GET /-/counts tells requests, the most in flight, and the bytes of manifests served since it was last asked.
One process and one event loop: its own processor time bounds what a client can reach, so it tells that, too."""
import asyncio, bisect, hashlib, json, random, sys, time
from urllib.parse import parse_qs, unquote, urlsplit

BLOBS, MANIFESTS, LATENCY = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000
LAYERS, SHARED = 50, 0.7
TIME = "2026-01-02T03:04:05.000Z"
rnd = random.Random(7)
sha = lambda text: "sha256:" + hashlib.sha256(text.encode()).hexdigest()
digests = sorted(sha(f"blob {n}") for n in range(BLOBS))
keys = [f"blobs/{d}" for d in digests]
size = lambda at: 1000 + int(digests[at][7:12], 16)
# Versions share most layers with the one before, as those of one project do.
chosen, version = [], []
for n in range(MANIFESTS):
    version = [at for at in version if n % 50 and rnd.random() < SHARED]
    version += [rnd.randrange(BLOBS) for _ in range(LAYERS - len(version))]
    version = list(dict.fromkeys(version))
    chosen.append(list(version))

def manifest(n):
    layers, records = [], []
    for k, at in enumerate(sorted(chosen[n])):
        layers.append({"blob": digests[at], "parent": k - 1 if k % 10 else -1, "annotations": {
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "diffID": sha("diff " + digests[at]),
            "size": size(at), "createdAt": "2026-01-02T03:04:05.000000001Z"}})
        record = {"digest": sha("record " + digests[at]), "layers": [{"layer": k, "createdAt": "2026-01-02T03:04:05Z"}]}
        if k % 10:
            record["inputs"] = [[{"link": k - 1}]]
        records.append(record)
    return json.dumps({"layers": layers, "records": records}, separators=(",", ":")).encode()

names = [f"manifests/v{n:06}" for n in range(MANIFESTS)]
manifests = {name: manifest(n) for n, name in enumerate(names)}
keys += names
counts = {"requests": 0, "lists": 0, "most_in_flight": 0, "manifest_bytes": 0}
flying, began = 0, time.process_time()

def etag(key): return hashlib.md5(key.encode()).hexdigest()
def length(at): return len(manifests[keys[at]]) if keys[at] in manifests else size(at)
# Keys have nothing to encode but colons.
row = lambda at, key: (f"<Contents><Key>{key.replace(':', '%3A')}</Key><LastModified>{TIME}</LastModified><ETag>&quot;{etag(key)}&quot;</ETag>"
                       f"<Size>{length(at)}</Size><StorageClass>STANDARD</StorageClass></Contents>").encode()
rows = [row(at, key) for at, key in enumerate(keys)]

def page(query):
    prefix, most = query.get("prefix", ""), min(int(query.get("max-keys", 1000)), 1000)
    after = query.get("continuation-token") or query.get("start-after") or ""
    at = max(bisect.bisect_left(keys, prefix), bisect.bisect_right(keys, after))
    end = bisect.bisect_left(keys, prefix + "\x7f")
    found = max(min(end - at, most), 0)
    more = at + found < end
    mark = f"<NextContinuationToken>{keys[at + found - 1]}</NextContinuationToken>" if more else ""
    head = (f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bench</Name>'
            f"<Prefix>{prefix}</Prefix><KeyCount>{found}</KeyCount><MaxKeys>{most}</MaxKeys><EncodingType>url</EncodingType>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{mark}")
    return b"".join([head.encode(), *rows[at:at + found], b"</ListBucketResult>"])

def answer(method, target):
    url = urlsplit(target)
    query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
    key = unquote(url.path).removeprefix("/bench").lstrip("/")
    if "versioning" in query:
        return 200, b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>', ""
    if "uploads" in query:
        return 200, b'<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>', ""
    if not key:
        counts["lists"] += 1
        return 200, page(query), ""
    at = bisect.bisect_left(keys, key)
    if at == len(keys) or keys[at] != key or key.startswith("blobs/") and method != "HEAD":
        return 404, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>", ""
    if key.startswith("blobs/"):
        return 200, length(at), etag(key)
    made = manifests[key]
    if method == "HEAD":
        return 200, len(made), etag(key)
    counts["manifest_bytes"] += len(made)
    return 200, made, etag(key)

async def serve(reader, writer):
    global flying
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
            if target == "/-/counts":
                status, made, tag = 200, json.dumps(counts | {"processor": time.process_time() - began}).encode(), ""
                counts.update(dict.fromkeys(counts, 0))
            else:
                flying += 1
                counts["requests"] += 1
                counts["most_in_flight"] = max(counts["most_in_flight"], flying)
                await asyncio.sleep(LATENCY)
                status, made, tag = answer(method, target)
                flying -= 1
            bare = isinstance(made, int)
            lines = f"HTTP/1.1 {status} OK\r\nContent-Length: {made if bare else len(made)}\r\nLast-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\n"
            lines += f'ETag: "{tag}"\r\n' if tag else "Content-Type: application/xml\r\n"
            writer.write(lines.encode() + b"\r\n" + (b"" if bare or method == "HEAD" else made))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
