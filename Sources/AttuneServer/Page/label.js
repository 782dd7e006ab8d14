// SPDX-License-Identifier: Apache-2.0
// Asks one question after the other. What is said is on the server's disk before the page says so.
import { Ranking } from "/ranking.js";
import { again, begin, newKey, persist, resume, session } from "/session.js";
import { inWords, isSaid, letter, tasks, verdicts as all } from "/verdicts.js";

const at = id => document.getElementById(id);
let turn = null;
let ranking = null;
let chosen = null;
let isBusy = false;
/** When the question was shown, and how long the page was out of sight since. */
let clock = { shown: 0, hidden: 0, hiddenAt: 0 };

const strengthWords = ["slightly", "clearly", "far"];
function say(text) { at("status").textContent = text; }
function trouble(text) { at("problem").textContent = text; }

// MARK: Saving

/** What is on its way to the server, kept over a reload: sent again it is stored once. */
const kept = {
  get name() { return `attune-pending-${session.name}`; },
  read() { return JSON.parse(localStorage.getItem(this.name) ?? "null"); },
  write(value) { localStorage.setItem(this.name, JSON.stringify(value)); },
  drop() { localStorage.removeItem(this.name); },
};

async function send(path, body, doing, done) {
  if (isBusy) return;
  isBusy = true;
  document.body.classList.add("busy");
  say(doing);
  if (path === "/api/label" || path === "/api/undo") kept.write({ path, body });
  try {
    const next = await persist("POST", path, body, trouble);
    show(next, done);
  } catch (error) {
    say("");
    trouble(`Not saved: ${error.message}.`);
  } finally {
    kept.drop();
    isBusy = false;
    document.body.classList.remove("busy");
  }
}

addEventListener("beforeunload", event => {
  if (isBusy && at("problem").textContent) event.preventDefault();
});

function label(verdict, words) {
  const now = performance.now();
  const took = Math.round(now - clock.shown - clock.hidden);
  const body = {
    key: newKey(), question: turn.question, milliseconds: Math.max(0, took), ...verdict,
  };
  const reason = at("reason").value.trim();
  if (session.reason_length && reason) body.reason = reason;
  send("/api/label", body, "Saving …", `Saved: ${words}.`);
}

const undo = () => send("/api/undo", { key: newKey() }, "Undoing …", "Undone. Answer again.");
const skip = () => {
  if (turn?.state === "question" && !turn.given) {
    send("/api/skip", { question: turn.question }, "Skipping …", "Skipped.");
  }
};

// MARK: Showing

function show(next, done = "") {
  turn = next;
  chosen = null;
  ranking = null;
  const counts = next.counts;
  at("counts").textContent =
    `${session.name} · ${counts.yours} given · ${counts.finished} of ${counts.all} finished`;
  const isQuestion = next.state === "question";
  at("welcome").hidden = true;
  at("question").hidden = !isQuestion;
  at("rest").hidden = isQuestion;
  at("choices").hidden = !isQuestion;
  at("strengths").hidden = true;
  say(done);
  if (!isQuestion) return rest(next.state);
  document.title = `Attune: ${tasks[session.shape]}`;
  at("task").textContent = tasks[session.shape];
  at("given").hidden = !next.given;
  at("skip").hidden = Boolean(next.given);
  at("leave").hidden = !next.given;
  if (next.given) {
    at("given").textContent =
      `You said: ${inWords(next.given, session.shape)}. Answer again to change that.`;
  }
  fill(at("prompt"), next.prompt);
  at("answers").replaceChildren(...next.answers.map(card));
  at("answers").className = `answers ${session.shape}`;
  at("reason").value = next.given?.reason ?? "";
  at("reason").maxLength = session.reason_length;
  at("reason-box").hidden = !session.reason_length;
  if (session.shape === "rankings") {
    ranking = new Ranking(at("answers"), [...at("answers").children], say);
    if (next.given && !next.given.both_bad) ranking.set(next.given.ranks);
  }
  choices();
  clock = { shown: performance.now(), hidden: 0, hiddenAt: document.hidden ? performance.now() : 0 };
  scrollTo(0, 0);
  at("task").focus({ preventScroll: true });
}

function rest(state) {
  const isDone = state === "done";
  at("rest-title").textContent = isDone ? "All done. Thank you!" : "Waiting for the next question";
  at("rest-text").textContent = isDone
    ? "There is nothing left to ask you."
    : "Others are at the last ones, or answers are being made. This page looks again by itself.";
  at("rest-undo").hidden = turn.counts.yours === 0;
  document.title = `Attune: ${at("rest-title").textContent}`;
  at("rest-title").focus({ preventScroll: true });
  if (!isDone) {
    const waiting = turn;
    setTimeout(() => { if (turn === waiting && !isBusy) look(); }, 2000);
  }
}

/** Messages as HTML that the server made safe. */
function fill(box, messages) {
  box.replaceChildren(...messages.map(message => {
    const part = document.createElement("div");
    part.className = "message";
    part.dir = "auto";
    part.innerHTML = message.html;
    for (const a of part.querySelectorAll("a")) {
      a.target = "_blank";
      a.rel = "noopener noreferrer";
      a.title = a.href;
    }
    for (const code of part.querySelectorAll("pre")) code.tabIndex = 0;
    if (messages.length > 1) {
      const role = document.createElement("p");
      role.className = "role";
      role.textContent = message.role;
      part.prepend(role);
    }
    return part;
  }));
}

function card(messages, i) {
  const name = letter(i);
  const made = document.createElement("section");
  made.className = "card answer";
  made.dataset.letter = name;
  const title = document.createElement("h2");
  title.id = `answer-${name}`;
  title.textContent = session.shape === "thumbs" ? "Answer" : `Answer ${name}`;
  const rank = document.createElement("span");
  rank.className = "rank";
  title.append(rank);
  made.setAttribute("aria-labelledby", title.id);
  const body = document.createElement("div");
  fill(body, messages);
  made.append(title, body);
  return made;
}

/** What may be said of this question. */
const verdicts = () => all(session.shape, turn.answers.length, () => ranking.ranks);

function choices() {
  at("choices").replaceChildren(...verdicts().map(choice => {
    const made = button(choice.words, choice.sign, () => choose(choice));
    made.dataset.side = choice.side;
    if (turn.given && isSaid(choice, turn.given)) made.setAttribute("aria-pressed", "true");
    return made;
  }));
}

function button(words, sign, action) {
  const made = document.createElement("button");
  made.type = "button";
  const key = document.createElement("kbd");
  key.textContent = sign;
  key.classList.toggle("letter", isLetter(sign));
  made.append(words[0].toUpperCase() + words.slice(1) + " ", key);
  made.addEventListener("click", action);
  return made;
}

/** A verdict; where strength is asked for and one answer is better, a second key says how much. */
function choose(choice) {
  if (isBusy) return;
  const isDecided = new Set(choice.verdict.ranks).size > 1;
  if (!session.strengths || !isDecided || chosen === choice.key) {
    return label(choice.verdict, choice.words);
  }
  chosen = choice.key;
  const steps = Array.from({ length: session.strengths }, (_, i) => i + 1);
  at("strengths").replaceChildren(
    ...steps.map(step => {
      const words = session.strengths <= 3 ? strengthWords[step - 1 + 3 - session.strengths] : `${step}`;
      return button(words, `${step}`, () => strong(choice, step));
    }),
    button("does not matter", choice.sign, () => label(choice.verdict, choice.words)));
  at("strengths").hidden = false;
  [...at("choices").children].forEach((made, i) =>
    made.setAttribute("aria-pressed", verdicts()[i].key === choice.key));
  say(`${choice.words}. How much? 1 to ${session.strengths}, or ${choice.sign} again.`);
}

function strong(choice, step) {
  label({ ...choice.verdict, strength: step }, `${choice.words}, strength ${step}`);
}

// MARK: Keys

/** Keys of a single character can be turned off, for those who speak to their browser. */
const isLetter = key => /^[\w=]$/.test(key);
let hasLetters = sessionStorage.getItem("attune-letters") !== "off";

function showLetters() {
  at("letters").textContent = `Letter keys: ${hasLetters ? "on" : "off"}`;
  at("letters").setAttribute("aria-pressed", hasLetters);
  document.body.classList.toggle("no-letters", !hasLetters);
}

at("letters").addEventListener("click", () => {
  hasLetters = !hasLetters;
  sessionStorage.setItem("attune-letters", hasLetters ? "on" : "off");
  showLetters();
  say(hasLetters ? "Letters and digits are keys." : "Letters and digits do nothing; arrows, Enter and Tab work.");
});
showLetters();

addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const inField = event.target.matches("input, textarea");
  if (event.key === "Escape") {
    if (inField) at("task").focus({ preventScroll: true });
    return;
  }
  if (inField || isBusy || !turn || (!hasLetters && isLetter(event.key))) return;
  if (event.key === "u") {
    event.preventDefault();
    return undo();
  }
  if (event.key === "g" && session.guidelines) {
    event.preventDefault();
    at("guidelines").open = !at("guidelines").open;
    return;
  }
  if (turn.state !== "question") return;
  // Enter on a button presses it.
  if (event.key === "Enter" && event.target.matches("button, a, summary")) return;
  if (ranking?.key(event.key)) return event.preventDefault();
  const step = Number(event.key);
  const choice = verdicts().find(choice => choice.key === event.key);
  if (chosen && step >= 1 && step <= session.strengths) {
    event.preventDefault();
    strong(verdicts().find(choice => choice.key === chosen), step);
  } else if (choice) {
    event.preventDefault();
    choose(choice);
  } else if (event.key === "s") {
    event.preventDefault();
    skip();
  } else if (event.key === "r" && session.reason_length) {
    event.preventDefault();
    at("reason").focus();
  }
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clock.hiddenAt = performance.now();
  else if (clock.hiddenAt) clock.hidden += performance.now() - clock.hiddenAt;
});

at("undo").addEventListener("click", undo);
at("rest-undo").addEventListener("click", undo);
at("skip").addEventListener("click", skip);
at("leave").addEventListener("click", () => look());

// MARK: Beginning

async function look(question) {
  await guide();
  try {
    // What was on its way when the page was left comes first.
    const pending = kept.read();
    if (pending) await send(pending.path, pending.body, "Saving …", "Saved.");
    if (question) show(await persist("POST", "/api/again", { question }, trouble));
    else if (!pending || !turn) show(await persist("POST", "/api/next", {}, trouble));
  } catch (error) {
    if (question) await look();
    trouble(error.message);
  }
}

/** What to go by, beside the question; open until somebody closes it. */
async function guide() {
  const box = at("guidelines");
  if (!session.guidelines || !box.hidden) return;
  const { html } = await persist("GET", "/api/guidelines", null, trouble);
  fill(at("guidelines-text"), [{ role: "", html }]);
  const kept = sessionStorage.getItem("attune-guidelines");
  box.open = kept ? kept === "open" : matchMedia("(min-width: 72rem)").matches;
  box.addEventListener("toggle", () =>
    sessionStorage.setItem("attune-guidelines", box.open ? "open" : "closed"));
  box.hidden = false;
}

function welcome() {
  at("welcome").hidden = false;
  at("names").replaceChildren(...session.annotators.map(name => {
    const option = document.createElement("option");
    option.value = name;
    return option;
  }));
  at("name").focus();
}

at("welcome").addEventListener("submit", async event => {
  event.preventDefault();
  trouble("");
  try {
    await begin(at("name").value);
    await look();
  } catch (error) {
    trouble(error.message);
  }
});

async function main() {
  try {
    if (await resume()) await look(again);
    else welcome();
  } catch (error) {
    trouble(error.message || "Attune does not answer.");
    if (session.shape) welcome();
  }
}

main();
