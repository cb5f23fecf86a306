#!/usr/bin/env python3
"""Makes assets/demo.tar.gz and assets/demo-names.json, which `cachedeck demo` opens: the cache of an imagined web shop
that has grown over three months of exports. Deterministic: the same bytes on every run.

It holds what people meet: tags and versions that no tag names any more, a mode=min export, an index and a Docker list, a
version with a missing blob, an orphan, and an upload that never finished. It is valid: BuildKit imports all but the
broken one."""
import gzip, hashlib, io, json, os, random, tarfile, zlib
from datetime import datetime, timedelta, timezone

here = os.path.dirname(os.path.abspath(__file__))
sha = lambda b: "sha256:" + hashlib.sha256(b).hexdigest()
compact = lambda v: json.dumps(v, separators=(",", ":")).encode()
blobs, names, index = {}, [], []
OCI = "application/vnd.oci.image."
CONFIG = "application/vnd.buildkit.cacheconfig.v0"
WORDS = """cart item price total user login token order stock query render route state props effect fetch async await
return const function export import default class extends error result value key index list map filter reduce merge
patch commit cache layer build deploy server client socket stream buffer event handler module config schema""".split()


def put(data):
    blobs[sha(data)] = data
    return sha(data)


def prose(rnd, size):
    """Text that looks like minified code and packs about as well."""
    out, length = [], 0
    while length < size:
        word = rnd.choice(WORDS) + ("%x" % rnd.getrandbits(28) if rnd.random() < 0.6 else "")
        out.append(word)
        length += len(word) + 1
        out.append(rnd.choice([" ", "(", ")", ";", ",", ".", "=", "\n"]))
    return "".join(out)[:size].encode()


def noise(rnd, size):
    return rnd.randbytes(size * 2 // 3)


def layer(files, stamp, name):
    """files: path -> bytes | ('link', target) | ('hard', target) | None for a folder | ('gone',) for a whiteout."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        folders = set()
        for path, body in files.items():
            parts = path.split("/")[:-1]
            for i in range(1, len(parts) + 1):
                folder = "/".join(parts[:i])
                if folder not in folders:
                    folders.add(folder)
                    entry = tarfile.TarInfo(folder + "/")
                    entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, int(stamp.timestamp())
                    tar.addfile(entry)
            entry = tarfile.TarInfo(path)
            entry.mode, entry.mtime = 0o644, int(stamp.timestamp())
            if body is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            elif isinstance(body, tuple) and body[0] == "gone":
                folder, _, base = path.rpartition("/")
                entry.name = (folder + "/" if folder else "") + ".wh." + base
                tar.addfile(entry, io.BytesIO(b""))
            elif isinstance(body, tuple):
                entry.type = tarfile.SYMTYPE if body[0] == "link" else tarfile.LNKTYPE
                entry.linkname, entry.mode = body[1], 0o777
                tar.addfile(entry)
            else:
                if path.startswith(("usr/bin/", "bin/")) or "/.bin/" in path:
                    entry.mode = 0o755
                entry.size = len(body)
                tar.addfile(entry, io.BytesIO(body))
    unpacked = raw.getvalue()
    packed = gzip.compress(unpacked, 9, mtime=0)
    time = stamp.strftime("%Y-%m-%dT%H:%M:%S.") + "%09dZ" % (zlib.crc32(packed) % 999999999 + 1)
    names.append((time, name, len(unpacked)))
    return {"digest": put(packed), "size": len(packed), "diff": sha(unpacked), "time": time, "name": name}


def rnd(*seed):
    return random.Random(repr(seed))


def node_image(release, stamp):
    r = rnd("node", release)
    debian = {"etc/os-release": b'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n', "bin/sh": noise(r, 30000),
              "lib/x86_64-linux-gnu/libc.so.6": noise(r, 70000), "usr/bin/perl": noise(r, 45000), "var/lib/dpkg/status": prose(r, 40000)}
    node = {"usr/bin/node": noise(r, 160000), "usr/bin/npm": ("link", "../lib/node_modules/npm/bin/npm-cli.js"),
            "usr/lib/node_modules/npm/package.json": b'{\n  "name": "npm",\n  "version": "11.%d.0"\n}\n' % release,
            "usr/lib/node_modules/npm/lib/cli.js": prose(r, 30000), "usr/include/node/node.h": prose(r, 12000)}
    what = "pulled from docker.io/library/node:22-slim"
    return [layer(debian, stamp, what), layer(node, stamp + timedelta(seconds=1), what)]


def nginx_image(stamp):
    r = rnd("nginx")
    return [layer({"usr/sbin/nginx": noise(r, 60000), "etc/nginx/nginx.conf": prose(r, 900), "etc/nginx/mime.types": prose(r, 3000),
                   "lib/ld-musl-x86_64.so.1": noise(r, 40000)}, stamp, "pulled from docker.io/library/nginx:1.29-alpine")]


def apt(release, stamp):
    r = rnd("apt", release)
    files = {"usr/bin/git": noise(r, 80000), "usr/bin/python3": noise(r, 70000), "usr/bin/g++": noise(r, 90000),
             "usr/lib/gcc/x86_64-linux-gnu/12/cc1plus": noise(r, 60000), "usr/bin/make": noise(r, 12000),
             "var/cache/apt/pkgcache.bin": noise(r, 30000), "var/log/apt/history.log": prose(r, 1500), "var/lib/dpkg/status": prose(r, 42000)}
    return layer(files, stamp, "mount / from exec /bin/sh -c apt-get update && apt-get install -y git python3 make g++")


def lock(deps):
    return json.dumps({"name": "shop", "lockfileVersion": 3, "packages": {
        "node_modules/" + p: {"version": "%d.%d.%d" % (deps % 7 + 1, i, deps)} for i, p in enumerate(PACKAGES)}}, indent=2).encode()


PACKAGES = ["react", "react-dom", "next", "typescript", "esbuild", "zod", "express", "pino", "sharp", "vitest", "@types/node"]


def manifests(deps, stamp):
    package = json.dumps({"name": "shop", "private": True, "scripts": {"build": "next build", "test": "vitest run"}}, indent=2).encode()
    return layer({"app/package.json": package, "app/package-lock.json": lock(deps)}, stamp, "[deps 3/4] COPY package.json package-lock.json ./")


def npm(deps, stamp):
    files = {}
    for i, package in enumerate(PACKAGES):
        # Only some packages change between releases, but each install writes one layer anew: why such caches grow.
        r = rnd("npm", package, deps if i % 3 == deps % 3 else 0)
        root = "app/node_modules/" + package
        files[root + "/package.json"] = json.dumps({"name": package, "version": "%d.%d.%d" % (deps % 7 + 1, i, deps)}, indent=2).encode()
        files[root + "/README.md"] = prose(r, 800)
        files[root + "/dist/index.js"] = prose(r, 6000 + 2500 * i)
        if package in ("sharp", "esbuild"):
            files[root + "/bin/%s.node" % package] = noise(r, 40000)
    files["app/node_modules/.bin/tsc"] = ("link", "../typescript/bin/tsc")
    files["app/node_modules/.bin/next"] = ("link", "../next/dist/bin/next")
    files["root/.npm/_cacache/index-v5/00/4f/entry"] = prose(rnd("cacache", deps), 14000)
    return layer(files, stamp, "mount / from exec /bin/sh -c npm ci")


def source(commit, branch, stamp):
    files = {"app/Dockerfile": b"FROM node:22-slim AS deps\n", "app/README.md": b"# shop\n", "app/.dockerignore": b"node_modules\n"}
    for i, path in enumerate(["index", "cart", "checkout", "product/[id]", "login", "admin/orders"]):
        r = rnd("src", path, commit if i in (commit % 6, (commit + 2) % 6) else 0, branch if path == "checkout" else "")
        files["app/src/pages/%s.tsx" % path] = prose(r, 2500 + 700 * i)
    files["app/public/hero.webp"] = noise(rnd("hero"), 15000)
    if branch:
        files["app/src/pages/legacy.tsx"] = ("gone",)
    return layer(files, stamp, "[build 1/2] COPY . .")


def build(commit, branch, deps, stamp):
    r = rnd("build", commit, branch, deps)
    files = {"app/.next/BUILD_ID": b"%08x" % r.getrandbits(32), "app/.next/build-manifest.json": b'{"pages":{}}'}
    for page in ["index", "cart", "checkout", "login"]:
        files["app/.next/static/chunks/pages/%s-%06x.js" % (page, r.getrandbits(24))] = prose(r, 9000)
    files["app/.next/cache/webpack/client-production/0.pack"] = noise(r, 26000)
    files["app/dist/index.html"] = b"<!doctype html><title>shop</title>"
    files["app/dist/app.js"] = prose(r, 22000)
    return layer(files, stamp, "mount / from exec /bin/sh -c npm run build")


def test(commit, branch, stamp):
    r = rnd("test", commit, branch)
    files = {"app/coverage/lcov.info": prose(r, 7000), "app/coverage/index.html": prose(r, 3000), "app/junit.xml": prose(r, 1500)}
    return layer(files, stamp, "mount / from exec /bin/sh -c npm test")


def web(built, commit, branch, stamp):
    r = rnd("web", commit, branch)
    return layer({"usr/share/nginx/html/index.html": b"<!doctype html><title>shop</title>", "usr/share/nginx/html/app.js": prose(r, 22000),
                  "usr/share/nginx/html/hero.webp": noise(rnd("hero"), 15000)}, stamp, "[web 2/3] COPY --from=build /app/dist /usr/share/nginx/html")


made = {}


def once(key, make):
    """A step whose inputs have not changed is not run again."""
    if key not in made:
        made[key] = make()
    return made[key]


def export(stamp, tag, *, commit, deps, release, branch="", form="manifest", mode="max", lose=None):
    at = lambda minutes: stamp + timedelta(minutes=minutes)
    node = once(("node", release), lambda: node_image(release, at(0)))
    nginx = once("nginx", lambda: nginx_image(at(0)))
    tools = once(("apt", release), lambda: apt(release, at(1)))
    package = once(("pkg", release, deps), lambda: manifests(deps, at(2)))
    modules = once(("npm", release, deps), lambda: npm(deps, at(3)))
    src = once(("src", release, deps, commit, branch), lambda: source(commit, branch, at(4)))
    out = once(("build", release, deps, commit, branch), lambda: build(commit, branch, deps, at(5)))
    checked = once(("test", release, deps, commit, branch), lambda: test(commit, branch, at(6)))
    pages = once(("web", commit, branch, deps), lambda: web(out, commit, branch, at(7)))
    report = once(("report", commit, branch), lambda: layer({"usr/share/nginx/html/junit.xml": prose(rnd("test", commit, branch), 1500)}, at(8), "[web 3/3] COPY --from=test /app/junit.xml /usr/share/nginx/html/"))
    chains = [[*node, tools, package, modules, src, out], [*node, tools, package, modules, src, checked], [*nginx, pages, report]]
    if mode == "min":
        chains = chains[2:]
    table, at_key = [], {}
    for chain in chains:
        parent = None
        for entry in chain:
            key = (entry["digest"], parent)
            if key not in at_key:
                at_key[key] = len(table)
                table.append((entry, at_key[parent] if parent else -1))
            parent = key
    order = sorted(range(len(table)), key=lambda i: (table[i][0]["digest"], i))
    position = {old: new for new, old in enumerate(order)}
    layers = []
    for old in order:
        entry, parent = table[old]
        item = {"blob": entry["digest"]}
        parent = position[parent] if parent >= 0 else -1
        if parent:
            item["parent"] = parent
        layers.append(item)
    by_digest = {table[old][0]["digest"]: new for old, new in position.items()}
    records = []

    def record(key, inputs, entry=None):
        item = {"digest": sha(repr(key).encode())}
        if inputs:
            item["inputs"] = [[{"link": link, **({"selector": sha(repr(sel).encode())} if sel else {})} for link, sel in alternatives] for alternatives in inputs]
        if entry and entry["digest"] in by_digest:
            number = by_digest[entry["digest"]]
            item["layers"] = [{"createdAt": entry["time"], **({"layer": number} if number else {})}]
        records.append(item)
        return len(records) - 1

    context = record(("context", commit, branch), [])
    base = record(("image", "node", release), [], node[-1])
    r_apt = record(("apt", release), [[(base, None)]], tools)
    r_package = record(("package", deps, release), [[(r_apt, None)], [(context, ("package", deps))]], package)
    r_npm = record(("npm", deps, release), [[(r_package, None)]], modules)
    r_src = record(("src", commit, branch, deps, release), [[(r_npm, None)], [(context, ("src", commit))]], src)
    r_build = record(("build", commit, branch, deps, release), [[(r_src, None)]], out)
    r_test = record(("test", commit, branch, deps, release), [[(r_src, None)]], checked)
    server = record(("image", "nginx"), [], nginx[-1])
    r_pages = record(("pages", commit, branch, deps), [[(server, None)], [(r_build, ("dist",))]], pages)
    record(("report", commit, branch), [[(r_pages, None)], [(r_test, ("junit.xml",))]], report)
    config = compact({"layers": layers, "records": records})
    seen, descriptors = set(), []
    for old in order:
        entry = table[old][0]
        if entry["digest"] not in seen:
            seen.add(entry["digest"])
            media = "application/vnd.docker.image.rootfs.diff.tar.gzip" if form == "docker" else OCI + "layer.v1.tar+gzip"
            descriptors.append({"mediaType": media, "digest": entry["digest"], "size": entry["size"],
                                "annotations": {"buildkit/createdat": entry["time"], "containerd.io/uncompressed": entry["diff"]}})
    pointer = {"mediaType": CONFIG, "digest": put(config), "size": len(config)}
    if form == "manifest":
        envelope = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": pointer, "layers": descriptors}
    else:
        media = OCI + "index.v1+json" if form == "index" else "application/vnd.docker.distribution.manifest.list.v2+json"
        envelope = {"schemaVersion": 2, "mediaType": media, "manifests": descriptors + [pointer]}
    data = compact(envelope)
    entry = {"mediaType": envelope["mediaType"], "digest": put(data), "size": len(data), "annotations": {"org.opencontainers.image.ref.name": tag}}
    index[:] = [e for e in index if e["annotations"]["org.opencontainers.image.ref.name"] != tag] + [entry]
    if lose == "test":
        blobs.pop(checked["digest"])


day = lambda month, number, hour=9: datetime(2026, month, number, hour, 12, 5, tzinfo=timezone.utc)
export(day(8, 3), "main", commit=1, deps=1, release=1)
export(day(8, 11), "main", commit=2, deps=1, release=1)
export(day(8, 20), "v1.0", commit=2, deps=1, release=1, form="docker")
export(day(9, 2), "main", commit=3, deps=2, release=1)
export(day(9, 15), "main", commit=4, deps=2, release=1)
export(day(9, 24), "v1.1", commit=4, deps=2, release=1, form="index")
export(day(10, 6), "main", commit=5, deps=2, release=2)
export(day(10, 14), "feature/checkout", commit=5, deps=2, release=2, branch="checkout")
export(day(10, 15), "feature/checkout", commit=6, deps=2, release=2, branch="checkout")
export(day(10, 28), "nightly", commit=7, deps=2, release=2, lose="test")
export(day(11, 9), "prod", commit=8, deps=3, release=2, mode="min")
export(day(11, 12), "main", commit=8, deps=3, release=2)
put(gzip.compress(noise(rnd("orphan"), 90000), 9, mtime=0))

out = io.BytesIO()
with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
    def add(path, data, mode=0o644):
        entry = tarfile.TarInfo("shop-cache/" + path)
        entry.size, entry.mode, entry.mtime = len(data), mode, int(day(11, 12).timestamp())
        tar.addfile(entry, io.BytesIO(data))
    add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    add("index.json", compact({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": index}))
    for digest, data in sorted(blobs.items()):
        add("blobs/sha256/" + digest[7:], data, 0o444)
    add("ingest/3f9c2a/data", noise(rnd("ingest"), 20000))
    add("ingest/3f9c2a/startedat", b"2026-11-01T03:12:44Z")
open(os.path.join(here, "demo.tar.gz"), "wb").write(gzip.compress(out.getvalue(), 9, mtime=0))
usage = [{"id": hashlib.sha256(repr(n).encode()).hexdigest()[:25], "recordType": "regular", "size": size, "createdAt": time, "description": name}
         for n, (time, name, size) in enumerate(names)]
open(os.path.join(here, "demo-names.json"), "w").write(json.dumps(usage, indent=1) + "\n")
print(len(blobs), "blobs,", sum(map(len, blobs.values())), "bytes")
