// Works in one of its replicas at a time: asks the elector beside it right before each piece of work.
//
// The answer is a promise of limited length. From the moment before the question was sent, nobody else leads for a
// third of the elector's --ttl, 3.3 s as it comes, whatever happens to this replica: a leader ends its claim that much
// earlier than the others may take the lock. So the question and the piece of work together must fit into that; longer
// work asks again in between. An answer that is kept, in a variable or for the next round, is worth nothing.
//
// What no client can know is how long its own process stood still between the answer and the work. Where a piece of
// work must not be done twice even then, send the `fencingToken` of /status along, and let the other side refuse a
// token lower than one that it has seen.

const elector = process.env.ELECTOR ?? "http://localhost:4040";
const me = process.env.HOSTNAME ?? "this replica"; // in a pod its name

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Whether this replica leads. No answer means no: somebody else may lead.
async function leads() {
  try {
    const answer = await fetch(`${elector}/isLeader`, { signal: AbortSignal.timeout(500) });
    return (await answer.json()).isLeader === true;
  } catch {
    return false;
  }
}

// Yours goes here.
async function work() {
  console.log(`${me} begins`);
  await sleep(100);
  console.log(`${me} ends`);
}

// A pod gets SIGTERM some time before it is killed: finish the piece of work under way, and begin no other. An
// application that ends in the middle of one leaves it to the next leader to find out what was done.
let toldToEnd = false;
process.on("SIGTERM", () => (toldToEnd = true));

(async () => {
  while (!toldToEnd) {
    if (!(await leads())) await sleep(500);
    else if (!toldToEnd) await work();
  }
})();
