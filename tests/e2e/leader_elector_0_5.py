# Behaves like leader-elector 0.5: the same requests for the lock, the same answers. Arguments: the namespace and the
# lease in seconds. It ignores SIGTERM, because in the image of 0.5 a shell swallows the signal.
import datetime
import http.server
import json
import os
import signal
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request

NAMESPACE, LEASE = sys.argv[1], int(sys.argv[2])
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
RECORD = "control-plane.alpha.kubernetes.io/leader"
ME = os.environ["HOSTNAME"]
leader = ""


def send(method, name="", body=None):
    host = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    request = urllib.request.Request(f"{host}/api/v1/namespaces/{NAMESPACE}/endpoints{name}", method=method)
    request.add_header("Authorization", "Bearer " + open(f"{ACCOUNT}/token").read())
    request.add_header("Content-Type", "application/json")
    context = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(request, data, timeout=LEASE / 2, context=context) as answer:
        return json.load(answer)


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def run():
    """Reads the lock every quarter of a lease. Writes it if this candidate holds it, or if it has not changed for a lease."""
    global leader
    seen, since = None, time.monotonic()
    while True:
        try:
            seen, since = step(seen, since)
        except urllib.error.HTTPError as error:
            # 0.5 exits if another candidate creates the lock first. The kubelet restarts it.
            if error.code == 409 and seen is None:
                os._exit(1)
        except OSError:
            pass
        time.sleep(LEASE / 4)


def step(seen, since):
    global leader
    record = {"holderIdentity": ME, "leaseDurationSeconds": LEASE, "acquireTime": now(), "renewTime": now(),
              "leaderTransitions": 0}
    try:
        lock = send("GET", "/example")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        metadata = {"name": "example", "annotations": {RECORD: json.dumps(record)}}
        send("POST", "", {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata})
        leader = ME
        return record, time.monotonic()
    annotations = lock["metadata"].setdefault("annotations", {})
    old = json.loads(annotations.get(RECORD) or "{}")
    if old != seen:
        seen, since = old, time.monotonic()
        leader = old.get("holderIdentity", "")
    is_mine = old.get("holderIdentity") == ME
    if not is_mine and time.monotonic() < since + LEASE:
        return seen, since
    record["leaderTransitions"] = old.get("leaderTransitions", 0) + (not is_mine)
    if is_mine:
        record["acquireTime"] = old["acquireTime"]
    annotations[RECORD] = json.dumps(record)
    send("PUT", "/example", lock)
    leader = ME
    return record, time.monotonic()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"name": leader}, separators=(",", ":")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=run).start()
http.server.ThreadingHTTPServer(("", 4040), Handler).serve_forever()
