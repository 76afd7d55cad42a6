"""Works in one of its replicas at a time, as app.js does, but does not poll while another one leads.

It listens to the elector's /events, which say at once when the leader changes, and asks /isLeader right before each
piece of work. An event alone is no reason to begin: what a process reads late, because it stood still, is old, and its
`validForSeconds` counted from when the elector sent it. The answer of /isLeader counts from before the question: from
then on nobody else leads for a third of the elector's --ttl, 3.3 s as it comes, into which the question and the piece
of work must fit. Where that is not enough, see app.js about fencing tokens.
"""

import http.client
import json
import os
import signal
import time
import urllib.request

ELECTOR = os.environ.get("ELECTOR", "http://localhost:4040")
ME = os.environ.get("HOSTNAME", "this replica")  # in a pod its name

# The elector sends a comment every 15 s where there is nothing to say; a connection silent for longer is dead.
SILENCE = 20

# No proxy, whatever the environment names: the elector is in this pod.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


# All that can be wrong with an answer, a missing one included.
FAILURES = (OSError, ValueError, http.client.HTTPException)


class ToldToEnd(Exception):
    """SIGTERM came while there was nothing to finish."""


def leads():
    """Whether this replica leads. No answer means no: somebody else may lead."""
    try:
        with OPENER.open(f"{ELECTOR}/isLeader", timeout=0.5) as answer:
            return json.load(answer) == {"isLeader": True}
    except FAILURES:
        return False


def wait_to_lead():
    """Comes back when this replica leads: each event, a change or a renewal that was seen, is an occasion to ask."""
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
    """Yours goes here."""
    print(f"{ME} begins", flush=True)
    time.sleep(0.1)
    print(f"{ME} ends", flush=True)


def main():
    is_working = told_to_end = False

    def on_sigterm(*_):
        # Finish the piece of work under way, and begin no other.
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
