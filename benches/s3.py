#!/usr/bin/env python3
"""Runs `du` twice and `ls` once against a large S3 cache: wall time, peak memory, requests, and the bytes of manifests.
usage: s3.py CACHEDECK [BLOBS MANIFESTS LATENCY_MS]"""
import json, os, subprocess, sys, tempfile, time, urllib.request
here = os.path.dirname(os.path.abspath(__file__))
size = sys.argv[2:] or ["1000000", "20000", "20"]
server = subprocess.Popen([sys.executable, here + "/s3_server.py", *size], stdout=subprocess.PIPE, text=True)
try:
    at = f"http://127.0.0.1:{int(server.stdout.readline())}"
    counts = lambda: json.load(urllib.request.urlopen(at + "/-/counts"))
    place = f"type=s3,bucket=bench,region=us-east-1,endpoint_url={at},use_path_style=true,access_key_id=bench,secret_access_key=bench"
    with tempfile.TemporaryDirectory() as home:
        env = os.environ | {"CACHEDECK_CACHE_DIR": home + "/cache", "CACHEDECK_DATA_DIR": home + "/data"}
        first = None
        for run, command in [("first du", "du"), ("second du", "du"), ("ls", "ls")]:
            before = counts()["processor"]
            start = time.monotonic()
            with open(home + "/out", "wb") as out:
                child = subprocess.Popen([sys.argv[1], command, "--json", "--progress=none", place], env=env, stdout=out)
                _, status, used = os.wait4(child.pid, 0)
            wall, told = time.monotonic() - start, counts()
            first = first or told["manifest_bytes"]
            print(f"{run}: exit {os.waitstatus_to_exitcode(status)}, {wall:.1f} s (processor {used.ru_utime + used.ru_stime:.1f} s, "
                  f"server {told['processor'] - before:.1f} s), peak {used.ru_maxrss / 1000:.0f} MB, {told['requests']} requests "
                  f"({told['lists']} lists), {told['most_in_flight']} in flight, manifests {told['manifest_bytes'] / 1e6:.1f} MB"
                  f" ({100 * told['manifest_bytes'] / max(first, 1):.2f} % of the first's)", flush=True)
finally:
    server.kill()
