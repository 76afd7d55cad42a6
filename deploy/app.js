// An application that works in only one of its replicas at a time: it asks its elector right before each piece of work.
//
// A positive answer is valid for a limited time: nobody else leads for a third of the elector's --ttl (3.3 s by
// default), counted from when the request was sent. So the request and the piece of work together must take less than
// that. If the work takes longer, ask again in between. Do not store an answer and use it later.
//
// A process cannot know how long it was paused between the answer and the work. If a piece of work must not be done
// twice even then, send the `fencingToken` of /status with it, and let the other side refuse a token that is lower than
// one it has seen.

const elector = process.env.ELECTOR ?? "http://localhost:4040";
const me = process.env.HOSTNAME ?? "this replica"; // in a pod: the pod's name

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Whether this replica leads. If there is no answer, somebody else may lead: false.
async function leads() {
  try {
    const answer = await fetch(`${elector}/isLeader`, { signal: AbortSignal.timeout(500) });
    return (await answer.json()).isLeader === true;
  } catch {
    return false;
  }
}

// Replace this by your work.
async function work() {
  console.log(`${me} begins`);
  await sleep(100);
  console.log(`${me} ends`);
}

// A pod gets SIGTERM some time before it is killed. Finish the current piece of work, and begin no other. Otherwise the
// next leader has to find out how much of it was done.
let toldToEnd = false;
process.on("SIGTERM", () => (toldToEnd = true));

(async () => {
  while (!toldToEnd) {
    if (!(await leads())) await sleep(500);
    else if (!toldToEnd) await work();
  }
})();
