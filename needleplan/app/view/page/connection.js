// What is said to the server: one edit at a time, the newest position of a drag only, and news as they come.

const AGAIN_MS = 1500;

/** An answer of the server that is a refusal, with its sentence. */
export class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

function pause() {
  return new Promise((done) => setTimeout(done, AGAIN_MS));
}

/** Waits for as long as the tab is hidden. */
async function shown() {
  while (document.hidden) {
    await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
  }
}

/** Asks the server; gives its answer, or throws a Refusal, or an error with a sentence where nobody answers. */
export async function ask(address, body) {
  let answer;
  try {
    answer = await fetch(address, body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    // Every browser has words of its own for this.
    throw new Error("The server did not answer.");
  }
  if (answer.ok) return answer;
  let said = `The server cannot answer that (${answer.status}).`;
  try {
    said = (await answer.json()).error ?? said;
  } catch {
    // The sentence above stands.
  }
  throw new Refusal(answer.status, said);
}

/** Why the page does not hear from the server, as a sentence. */
function whyLost(error) {
  return error instanceof Refusal
    ? `The server cannot tell how the plan stands: ${error.message}`
    : "The server does not answer: it was stopped, or this machine is asleep. Nothing more can be changed; " +
        "what was saved is saved.";
}

/** Keeps the state of the page and the server together. `heard(state)`, `refused(sentence)`, `lost(sentence)`
 * are told; an empty sentence says that the server answers. */
export class Connection {
  constructor({ heard, refused, lost }) {
    Object.assign(this, { heard, refused, lost });
    this.state = null;
    this.waiting = [];
    this.busy = false;
    this.answers = [];
  }

  /** Takes the first state, then listens for as long as the page is open. */
  async start() {
    this.take(await (await ask("state")).json());
    this.listen();
  }

  async listen() {
    for (;;) {
      // A browser opens six connections to one server for all tabs: hidden ones must not hold theirs.
      await shown();
      const began = performance.now();
      try {
        const serial = this.state.serial;
        this.take(await (await ask(`state?after=${this.state.serial}`)).json());
        this.lost("");
        if (this.state.serial === serial && performance.now() - began < AGAIN_MS) await pause();
      } catch (error) {
        this.lost(whyLost(error));
        await pause();
      }
    }
  }

  take(state) {
    if (this.state && state.serial < this.state.serial) return;
    this.state = state;
    this.heard(state);
  }

  /** Asks for an edit. A move takes the place of one of the same gesture that still waits. `settled` is called when it
   * was answered, refused or given up, after the state was told; it hears whether it was done. */
  edit(address, content, settled = () => {}) {
    if (!this.state) {
      this.refused("The server has not answered yet, so nothing can be changed.");
      settled(false);
      return;
    }
    const last = this.waiting.at(-1);
    if (address === "move" && last?.address === "move" && last.content.gesture === content.gesture) this.waiting.pop().settled(false);
    this.queue({ address, content, settled });
  }

  queue(asked) {
    this.waiting.push(asked);
    if (!this.busy) this.send();
  }

  /** The version once all edits asked for until now were answered; throws where one of them was refused or given up. */
  settledVersion() {
    if (!this.state) return Promise.reject(new Error("The server has not answered yet."));
    return new Promise((tell, refuse) => {
      const settled = (done) => (done ? tell(this.state.version) : refuse(new Refusal(409,
        "An edit that was asked for just before was refused: look at the plan as it is now, and do that again.")));
      this.queue({ address: null, settled });
    });
  }

  async send() {
    this.busy = true;
    while (this.waiting.length) {
      const { address, content, settled, keepsSentence } = this.waiting.shift();
      if (address === null) {
        settled(true);
        continue;
      }
      const began = performance.now();
      try {
        const state = await (await ask(address, { version: this.state.version, ...content })).json();
        this.answers.push(performance.now() - began);
        if (this.answers.length > 1000) this.answers.shift();
        this.take(state);
        settled(true);
        if (!keepsSentence) this.refused("");
      } catch (error) {
        const givenUp = this.waiting.splice(this.movesThatStand(error));
        await this.fetchAgain();
        // What waits was asked for before the sentence: only another place for the same end makes it idle.
        for (const one of this.waiting) one.keepsSentence = one.content?.order !== content.order || one.content?.end !== content.end;
        [settled, ...givenUp.map((one) => one.settled)].forEach((tell) => tell(false));
        this.refused(error instanceof Refusal ? error.message : "The server did not answer, so nothing was changed.");
      }
    }
    this.busy = false;
  }

  /** How many of the edits that wait mean the same after one was refused: moves name a place, whatever was before;
   * an undo would take another step back. After an edit of someone else none is sure. */
  movesThatStand(error) {
    if (!(error instanceof Refusal) || error.status !== 400) return 0;
    const other = this.waiting.findIndex((one) => one.address !== "move");
    return other < 0 ? this.waiting.length : other;
  }

  async fetchAgain() {
    try {
      const state = await (await ask("state")).json();
      this.state = state;
      this.heard(state);
    } catch (error) {
      this.lost(whyLost(error));
      // What the hand moved in the scene goes back to where the needles were last known to be.
      this.heard(this.state);
    }
  }
}
