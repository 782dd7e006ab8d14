// SPDX-License-Identifier: Apache-2.0
// A conversation with a served model, whose answers are rated. What is said of an answer is on the
// server's disk before the page says so.
import { begin, newKey, persist, resume, session } from "/session.js";

const at = id => document.getElementById(id);
const say = text => { at("status").textContent = text; };
const trouble = text => { at("problem").textContent = text; };

/** What was said so far, as the model is given it. */
let messages = [];
/** Ends the answer that is coming. */
let stopper = null;
/** What of two drafts one is to be chosen of before the conversation goes on. */
let open = null;

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function button(text, action, name) {
  const element = make("button", "", text);
  element.type = "button";
  element.dataset.name = name ?? text;
  element.addEventListener("click", action);
  return element;
}

// MARK: Asking

/** Reads a stream of server-sent events and gives out each one's object. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

/** Has the model answer; `grow` is told which choice has grown by what. Returns the response's id. */
async function answer(count, grow) {
  stopper = new AbortController();
  const body = {
    model: at("model").value, messages, stream: true, n: count, temperature: 0.8, max_tokens: 1024,
  };
  if (count > 1) body.compare = true;
  const response = await fetch("/v1/chat/completions", {
    method: "POST", credentials: "same-origin", signal: stopper.signal,
    headers: { "Content-Type": "application/json", "X-Attune-Seal": session.seal ?? "" },
    body: JSON.stringify(body),
  });
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new Error(said.error?.message ?? said.error ?? response.statusText);
  }
  let id = null;
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    id = event.id;
    for (const choice of event.choices) {
      if (choice.delta.content) grow(choice.index, choice.delta.content);
    }
  }
  return id;
}

async function ask(words) {
  messages.push({ role: "user", content: words });
  const own = make("li", "card turn user");
  own.append(make("p", "", words));
  at("turns").append(own);
  const count = at("drafts").checked ? 2 : 1;
  const turn = make("li", `turn model${count > 1 ? " pair" : ""}`);
  const drafts = Array.from({ length: count }, (_, place) => {
    const card = make("section", "card answer");
    if (count > 1) card.dataset.letter = "AB"[place];
    card.append(make("h2", "", count > 1 ? `Draft ${"AB"[place]}` : at("model").value));
    const text = make("div", "body message raw grows");
    card.append(text);
    turn.append(card);
    return { card, body: text, text: "", place };
  });
  at("turns").append(turn);
  working(true);
  say("The model is answering …");
  trouble("");
  try {
    const id = await answer(count, (place, more) => {
      drafts[place].text += more;
      drafts[place].body.textContent = drafts[place].text;
      turn.scrollIntoView({ block: "end" });
    });
    await Promise.all(drafts.map(show));
    say("");
    if (count > 1) choose(id, turn, drafts);
    else {
      messages.push({ role: "assistant", content: drafts[0].text });
      if (session.rates) rate(id, drafts[0]);
    }
  } catch (error) {
    // The turn is as if it had not been.
    messages.pop();
    at("words").value = words;
    own.remove();
    turn.remove();
    say(error.name === "AbortError" ? "Stopped." : "");
    if (error.name !== "AbortError") trouble(`No answer: ${error.message}.`);
  } finally {
    working(false);
    turn.scrollIntoView({ block: "end" });
  }
}

function working(isBusy) {
  at("send").disabled = isBusy || Boolean(open);
  at("stop").hidden = !isBusy;
  document.body.classList.toggle("busy", isBusy);
  if (!isBusy) {
    stopper = null;
    at("words").focus();
    policies();
  }
}

/** An answer's Markdown as the server makes it safe. */
async function show(draft) {
  draft.body.classList.remove("grows");
  if (!draft.text.trim()) {
    draft.body.textContent = "(empty)";
    return;
  }
  const said = await persist("POST", "/api/markdown", { text: draft.text }, trouble);
  draft.body.classList.remove("raw");
  draft.body.innerHTML = said.html;
}

// MARK: Rating

/** Sends feedback until it is saved. */
async function tell(body, words) {
  say("Saving …");
  try {
    await persist("POST", "/v1/feedback", { key: newKey(), ...body }, trouble);
    say(`Saved: ${words}.`);
    policies();
    return true;
  } catch (error) {
    say("");
    trouble(`Not saved: ${error.message}.`);
    return false;
  }
}

/** Thumbs, a reason and an edit below an answer. */
function rate(id, draft) {
  const bar = make("div", "rate");
  let rating = null;
  const why = make("div", "why");
  why.hidden = true;
  const press = async (value, words) => {
    const next = rating === value ? "none" : value;
    if (!await tell({ id, rating: next }, next === "none" ? "taken back" : words)) return;
    rating = next === "none" ? null : value;
    up.setAttribute("aria-pressed", String(rating === "up"));
    down.setAttribute("aria-pressed", String(rating === "down"));
    why.hidden = !rating;
    reason.focus();
  };
  const up = button("Good", () => press("up", "good"), "up");
  const down = button("Bad", () => press("down", "bad"), "down");
  for (const each of [up, down]) each.setAttribute("aria-pressed", "false");
  up.dataset.side = "good";
  down.dataset.side = "bad";
  const reason = make("textarea");
  reason.rows = 2;
  reason.setAttribute("aria-label", "Why?");
  reason.placeholder = "Why? (optional)";
  const save = button("Save the reason", async () => {
    if (reason.value.trim() && await tell(
      { id, rating, reason: reason.value.trim() }, "your reason")) why.hidden = true;
  }, "reason");
  const row = make("div", "rate");
  row.append(save);
  why.append(reason, row);
  bar.append(up, down, button("Edit", () => edit(id, draft, bar), "edit"));
  draft.card.append(bar, why);
}

/** An answer as it should have been: it and the model's become a pair. */
function edit(id, draft, bar) {
  bar.hidden = true;
  const box = make("div", "why");
  const text = make("textarea");
  text.rows = Math.min(16, 3 + draft.text.split("\n").length);
  text.value = draft.text;
  text.setAttribute("aria-label", "The answer as it should be");
  const row = make("div", "rate");
  const close = () => {
    box.remove();
    bar.hidden = false;
  };
  row.append(button("Save the edit", async () => {
    if (!await tell({ id, index: draft.place, edited: text.value }, "the answer as you wrote it")) return;
    // The conversation goes on from what it should have been.
    const turn = messages.findLast(each => each.role === "assistant" && each.content === draft.text);
    if (turn) turn.content = text.value;
    draft.text = text.value;
    await show(draft);
    close();
  }, "save-edit"), button("Leave it", close));
  box.append(text, row);
  draft.card.append(box);
  text.focus();
}

/** Two drafts, of which one is chosen before the conversation goes on. */
function choose(id, turn, drafts) {
  const bar = make("div", "rate");
  bar.style.gridColumn = "1 / -1";
  const reason = make("input");
  reason.setAttribute("aria-label", "Why?");
  reason.placeholder = "Why? (optional)";
  const settle = async (preferred, kept, words) => {
    const why = reason.value.trim();
    const isSame = drafts[0].text === drafts[1].text;
    if (session.rates && !isSame
      && !await tell({ id, preferred, ...(why ? { reason: why } : {}) }, words)) return;
    open = null;
    bar.remove();
    for (const draft of drafts) draft.card.classList.toggle("passed", draft !== kept);
    messages.push({ role: "assistant", content: kept.text });
    if (session.rates) rateEdit(id, kept);
    working(false);
  };
  const [a, b] = drafts;
  const left = button("A is better", () => settle(0, a, "A is better"), "a");
  const right = button("B is better", () => settle(1, b, "B is better"), "b");
  left.dataset.side = "a";
  right.dataset.side = "b";
  bar.append(
    left, right, button("As good as one another", () => settle("tie", a, "a tie"), "tie"),
    button("Both bad", () => settle("both_bad", a, "both are bad"), "both_bad"), reason);
  turn.append(bar);
  open = turn;
  say("Which one is better? The conversation goes on with it.");
}

function rateEdit(id, draft) {
  const bar = make("div", "rate");
  bar.append(button("Edit", () => edit(id, draft, bar), "edit"));
  draft.card.append(bar);
}

// MARK: Beginning

async function policies() {
  const response = await fetch("/v1/policies", {
    credentials: "same-origin", headers: { "X-Attune-Seal": session.seal ?? "" },
  }).catch(() => null);
  if (!response?.ok) return;
  const told = await response.json();
  at("policies").textContent = told.training
    ? `policy ${told.training} is being trained on ${told.labels} choices`
    : `policy ${told.current} answers; ${told.labels} of ${told.next_round} choices for the next`;
}

async function start() {
  at("welcome").hidden = true;
  const response = await fetch("/v1/models", {
    credentials: "same-origin", headers: { "X-Attune-Seal": session.seal ?? "" },
  });
  const models = (await response.json()).data ?? [];
  at("model").replaceChildren(...models.map(model => {
    const option = make("option", "", model.id);
    option.value = model.id;
    return option;
  }));
  at("ask").hidden = false;
  at("words").focus();
  policies();
}

at("ask").addEventListener("submit", event => {
  event.preventDefault();
  const words = at("words").value.trim();
  if (!words || stopper || open) return;
  at("words").value = "";
  ask(words);
});
at("words").addEventListener("keydown", event => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("ask").requestSubmit();
});
at("stop").addEventListener("click", () => stopper?.abort());
at("anew").addEventListener("click", () => {
  stopper?.abort();
  messages = [];
  open = null;
  at("turns").replaceChildren();
  say("");
  trouble("");
  working(false);
});
at("welcome").addEventListener("submit", async event => {
  event.preventDefault();
  try {
    await begin(at("name").value);
    trouble("");
    await start();
  } catch (error) {
    trouble(error.message);
  }
});

try {
  if (await resume()) await start();
  else {
    at("welcome").hidden = false;
    at("name").focus();
  }
} catch (error) {
  trouble(error.message);
}
