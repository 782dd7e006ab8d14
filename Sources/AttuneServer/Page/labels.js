// SPDX-License-Identifier: Apache-2.0
// What somebody said, the latest first; each can be shown again and changed.
import { persist, resume, session } from "/session.js";
import { inWords, letter } from "/verdicts.js";

const at = id => document.getElementById(id);
let before = null;

function make(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function entry(label) {
  const time = label.time > 0 ? new Date(label.time * 1000) : null;
  const words = inWords(label, session.shape);
  const answers = label.answers.map((text, i) => make("p", { class: "excerpt", dir: "auto" },
    make("b", {}, label.answers.length > 1 ? `${letter(i)} ` : ""), text || "(empty)"));
  return make("li", { class: "card" },
    make("div", { class: "said" },
      make("b", {}, words[0].toUpperCase() + words.slice(1)),
      ...(time ? [make("time", { class: "quiet", datetime: time.toISOString() }, time.toLocaleString())] : []),
      make("a", { href: `/#again=${encodeURIComponent(label.question)}`, "aria-label": `Change: ${label.prompt.slice(0, 60)}` }, "Change")),
    make("p", { class: "excerpt asked", dir: "auto" }, label.prompt || "(empty)"),
    ...answers,
    ...(label.reason ? [make("p", { class: "quiet", dir: "auto" }, `Reason: ${label.reason}`)] : []));
}

async function look() {
  try {
    const path = before === null ? "/api/labels" : `/api/labels?before=${before}`;
    const found = await persist("GET", path, null, text => {
      at("problem").textContent = text && "Attune does not answer. Trying again …";
    });
    at("labels").append(...found.labels.map(entry));
    before = found.before;
    at("more").hidden = before === null;
    at("none").hidden = at("labels").children.length > 0;
  } catch (error) {
    at("problem").textContent = error.message;
  }
}

at("more").addEventListener("click", look);

if (await resume().catch(() => false)) {
  at("counts").textContent = session.name;
  await look();
} else {
  at("problem").textContent = "Begin with your name on the page “Label”.";
}
