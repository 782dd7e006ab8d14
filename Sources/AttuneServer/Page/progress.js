// SPDX-License-Identifier: Apache-2.0
// How far it has come: policies, labels a day, agreement, ratings, the learning curve.
import { bars, line, ranges } from "/charts.js";
import { persist, resume } from "/session.js";

const at = id => document.getElementById(id);
const percent = value => value == null ? "–" : `${(value * 100).toFixed(1)} %`;
const figure = value => value == null ? "–" : value.toFixed(3);

/** An element with its children. */
function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.map(child => child instanceof Node ? child : `${child}`));
  return made;
}

function table(caption, heads, rows) {
  const kind = i => i > 0 ? { class: "number" } : {};
  // In a box that scrolls where the page is narrow, also by keys.
  return make("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": caption },
    make("table", { "aria-label": caption },
      make("thead", {}, make("tr", {}, ...heads.map((head, i) => make("th", { scope: "col", ...kind(i) }, head)))),
      make("tbody", {}, ...rows.map(row => make("tr", {}, ...row.map((value, i) =>
        i === 0 ? make("th", { scope: "row" }, value) : make("td", kind(i), value)))))));
}

function panel(title, wide, ...children) {
  const id = `panel-${title.replace(/\W+/g, "-").toLowerCase()}`;
  return make("section", { class: wide ? "card wide" : "card", "aria-labelledby": id },
    make("h2", { id }, title), ...children);
}

const note = text => make("p", { class: "note" }, text);
const share = share => share.value == null ? "–" : `${percent(share.value)} of ${share.count}`;

function totals(all) {
  const figures = {
    "Comparisons": all.statistics.comparisons, "Thumbs": all.statistics.thumbs,
    "Questions finished": `${all.questions.finished} of ${all.questions.all}`,
    "Annotators": all.statistics.annotators.length,
    "Fleiss’ κ": figure(all.statistics.fleiss_kappa),
    "Krippendorff’s α": figure(all.statistics.krippendorff_alpha),
  };
  return panel("Totals", true, make("dl", { class: "figures" },
    ...Object.entries(figures).map(([name, value]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, value)))));
}

function days(all) {
  if (!all.days.length) return null;
  const points = all.days.map(day => ({ label: day.day, value: day.labels }));
  return panel("Labels a day", false,
    bars(points.slice(-60), `Labels a day, ${points.length} days`),
    table("Labels a day", ["day", "labels"], all.days.slice(-7).map(day => [day.day, day.labels])));
}

function annotators(all) {
  const rows = all.statistics.annotators;
  if (!rows.length) return null;
  return panel("Annotators", true, table("Annotators",
    ["name", "pairs", "undecided", "gold questions right", "κ with others", "first shown wins", "longer wins", "median time"],
    rows.map(row => [
      row.name, row.labels, percent(row.undecided), share(row.gold), figure(row.kappa),
      share(row.first_preferred), share(row.longer_preferred),
      row.median_seconds == null ? "–" : `${row.median_seconds.toFixed(1)} s`,
    ])));
}

/** Who judges faster than anybody reads. */
function pace(all) {
  if (!all.paces.length) return null;
  const hasty = all.paces.filter(row => row.hasty > 0);
  const made = panel("Labels faster than a second", false,
    table("Labels faster than a second", ["name", "faster", "of labels"],
      all.paces.map(row => [row.name,
        row.hasty ? `⚠ ${row.hasty} (${percent(row.hasty / row.timed)})` : "none", row.timed])),
    note(hasty.length
      ? "⚠ Nobody reads two answers in less than a second: look at these labels before they are used."
      : "Every label took longer than a second."));
  made.classList.toggle("warning", hasty.length > 0);
  return made;
}

function agreement(all) {
  const rows = all.statistics.agreement;
  if (!rows.length) return null;
  return panel("Agreement", false, table("Agreement", ["annotators", "pairs both saw", "agree on", "Cohen’s κ"],
    rows.map(row => [row.annotators.join(" and "), row.items, percent(row.agreement), figure(row.kappa)])));
}

function models(all) {
  if (!all.ranking) return null;
  const rows = all.ranking.models;
  return panel("Models", false,
    ranges(rows.map(row => ({
      name: row.model, value: row.rating, low: row.interval.low, high: row.interval.high,
    })), "Bradley–Terry ratings with 95 % intervals"),
    table("Models", ["model", "rating", "95 % interval", "won", "of"], rows.map(row => [
      row.model, Math.round(row.rating),
      `${Math.round(row.interval.low)} to ${Math.round(row.interval.high)}`,
      percent(row.win_rate), row.comparisons,
    ])),
    note(all.ranking.used_prior
      ? "A model never won or never lost yet: its rating rests on a weak prior and says little."
      : "Bradley–Terry ratings: 400 points are odds of ten to one, the mean is 1000."));
}

/** The policies that are trained while people label, and what each won against the one before. */
function policies(all) {
  if (!all.align) return null;
  const { policies, current, training, labels, next_round: next } = all.align;
  const held = policies.filter(policy => policy.wins);
  const measured = held.filter(policy => policy.wins.value != null);
  const words = policy => policy.number === 0 ? "0, the start" : `${policy.number}`;
  const state = training != null
    ? `Policy ${training} is being trained; policy ${current} answers meanwhile.`
    : `Policy ${current} answers. The next one is trained after ${Math.max(0, next - labels)} further comparisons with a winner.`;
  const chart = measured.length ? [ranges(measured.map(policy => ({
    name: `${policy.number} against ${policy.previous}`, value: policy.wins.value * 100,
    low: policy.wins.interval.low * 100, high: policy.wins.interval.high * 100,
  })), "Win rates in percent with 95 % intervals", 50)] : [];
  return panel("Policies", true, make("p", {}, state), ...chart,
    table("Policies",
      ["policy", "win rate", "95 % interval", "of", "against", "trained on labels", "held-out labels ranked right", "both bad"],
      policies.map(policy => [
        words(policy) + (policy.number === current ? " – answers now" : ""),
        percent(policy.wins?.value),
        policy.wins?.value == null ? "–" : `${percent(policy.wins.interval.low)} to ${percent(policy.wins.interval.high)}`,
        policy.wins ? policy.wins.won + policy.wins.lost + policy.wins.tied : "–",
        policy.previous ?? "–",
        policy.number ? policy.labels : "–",
        policy.accuracy == null ? "–" : `${percent(policy.accuracy)} of ${policy.held_out}`,
        policy.wins?.both_bad ?? "–",
      ])),
    note("Each policy is trained from the start on everything labelled so far. What it wins against the one before is measured by later labels, blind; a tie counts half."));
}

function rewards(all) {
  if (!all.rewards.length) return null;
  const grown = all.rewards.filter(row => row.growth.length);
  return panel("Reward models", false,
    table("Reward models", ["reward model", "agrees with people on", "95 % interval"],
      all.rewards.map(row => [
        row.name, row.accuracy == null ? "–" : `${percent(row.accuracy)} of ${row.pairs}`,
        `${percent(row.interval.low)} to ${percent(row.interval.high)}`,
      ])),
    ...grown.flatMap(row => [
      line(row.growth.map(point => ({ x: point.pairs, y: point.accuracy })),
        `${row.name}: accuracy on the first pairs that people decided`),
      table(`${row.name}, as labels grew`, ["first pairs", "agrees with people on"],
        row.growth.map(point => [point.pairs, percent(point.accuracy)])),
    ]),
    note("Pairs that people decided; held-out labels, unless a model was trained on them."));
}

function curve(all) {
  if (!all.curve) return null;
  const need = all.statistics.need;
  return panel("Reward model’s accuracy", false,
    line(all.curve.map(point => ({ x: point.labels, y: point.accuracy })),
      "Accuracy on held-out labels by number of labels"),
    table("Accuracy", ["labels", "accuracy on held-out labels"],
      all.curve.map(point => [point.labels, percent(point.accuracy)])),
    ...(need?.labels == null ? [] : [note(
      `For ${percent(need.accuracy)} it is likely to need about ${Math.round(need.labels)} labels, `
      + `${Math.round(need.more)} more than there are.`)]));
}

async function look() {
  try {
    const all = await persist("GET", "/api/progress", null, text => { at("problem").textContent = text && "Attune does not answer. Trying again …"; });
    at("figures").replaceChildren(
      ...[totals, policies, days, pace, models, rewards, annotators, agreement, curve].map(part => part(all)).filter(Boolean));
  } catch (error) {
    at("problem").textContent = error.message;
  }
}

if (await resume().catch(() => false)) {
  at("export").hidden = false;
  await look();
  setInterval(() => { if (!document.hidden) look(); }, 10_000);
} else {
  at("problem").textContent = "Begin with your name on the page “Label”.";
}
