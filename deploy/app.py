"""An application that works in only one of its replicas at a time, like app.js, but does not poll while it waits.

It reads the elector's /events, which say at once when the leader changes, and asks /isLeader right before each piece of
work. An event alone is not enough to begin work: a paused process may read stale events. After the answer of /isLeader
nobody else leads for a third of the elector's --ttl (3.3 s by default), counted from when the request was sent. The
request and the piece of work together must take less than that. See app.js about fencing tokens.
"""

import http.client
import json
import os
import signal
import time
import urllib.request

ELECTOR = os.environ.get("ELECTOR", "http://localhost:4040")
ME = os.environ.get("HOSTNAME", "this replica")  # in a pod: the pod's name

# The elector sends a comment every 15 s if there is no event; a connection that is silent for longer is dead.
SILENCE = 20

# Ignore the proxies in the environment: the elector is in this pod.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


# Everything that can go wrong with a request.
FAILURES = (OSError, ValueError, http.client.HTTPException)


class ToldToEnd(Exception):
    """SIGTERM arrived while there was no work to finish."""


def leads():
    """Whether this replica leads. If there is no answer, somebody else may lead: False."""
    try:
        with OPENER.open(f"{ELECTOR}/isLeader", timeout=0.5) as answer:
            return json.load(answer) == {"isLeader": True}
    except FAILURES:
        return False


def wait_to_lead():
    """Returns when this replica leads. Asks after each event, which is a change of the leader or a renewal."""
    while True:
        try:
            with OPENER.open(f"{ELECTOR}/events", timeout=SILENCE) as events:
                for line in events:
                    if line.startswith(b"data:") and leads():
                        return
        except FAILURES:
            pass
        time.sleep(0.5)


def work():
    """Replace this by your work."""
    print(f"{ME} begins", flush=True)
    time.sleep(0.1)
    print(f"{ME} ends", flush=True)


def main():
    is_working = told_to_end = False

    def on_sigterm(*_):
        # Finish the current piece of work, and begin no other.
        nonlocal told_to_end
        told_to_end = True
        if not is_working:
            raise ToldToEnd

    signal.signal(signal.SIGTERM, on_sigterm)
    while True:
        wait_to_lead()
        while leads():
            is_working = True
            work()
            is_working = False
            if told_to_end:
                return


if __name__ == "__main__":
    try:
        main()
    except ToldToEnd:
        pass
