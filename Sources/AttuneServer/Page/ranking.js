// SPDX-License-Identifier: Apache-2.0
// Several answers in an order: moved by keys, by buttons, or dragged by their handle.

/** The order of a question's answers, the best first, and which are as good as the one above. */
export class Ranking {
  constructor(box, cards, say) {
    this.box = box;
    this.say = say;
    this.cards = cards;
    this.order = cards.map((_, i) => i);
    this.tied = new Set();
    box.classList.add("ranking");
    cards.forEach((card, i) => this.equip(card, i));
    this.draw();
  }

  /** A rank for each answer in the order in which they were shown. */
  get ranks() {
    const ranks = [];
    let rank = 0;
    this.order.forEach((answer, place) => {
      if (place === 0 || !this.tied.has(answer)) rank = place + 1;
      ranks[answer] = rank;
    });
    return ranks;
  }

  /** Puts the answers in the order of ranks that somebody gave. */
  set(ranks) {
    this.order.sort((a, b) => ranks[a] - ranks[b]);
    this.tied = new Set(this.order.filter((answer, i) => i > 0 && ranks[answer] === ranks[this.order[i - 1]]));
    this.draw();
  }

  equip(card, answer) {
    const bar = document.createElement("div");
    bar.className = "bar";
    const button = (text, name, action) => {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = text;
      made.setAttribute("aria-label", `${name}: ${card.dataset.letter}`);
      made.addEventListener("click", () => {
        action();
        made.focus();
      });
      bar.append(made);
    };
    const handle = document.createElement("span");
    handle.className = "handle";
    handle.textContent = "⠿";
    handle.setAttribute("aria-hidden", "true");
    handle.addEventListener("pointerdown", event => this.drag(event, card, answer));
    bar.append(handle);
    button("↑", "Move up", () => this.move(answer, -1));
    button("↓", "Move down", () => this.move(answer, 1));
    button("=", "As good as the one above", () => this.tie(answer));
    card.tabIndex = -1;
    card.prepend(bar);
  }

  /** Keys: a digit takes an answer, arrows move it, = ties it with the one above. */
  key(key) {
    if (/^[1-9]$/.test(key) && Number(key) <= this.cards.length) {
      this.cards[Number(key) - 1].focus();
      return true;
    }
    const answer = this.cards.findIndex(card => card.contains(document.activeElement));
    if (answer < 0) return false;
    if (key === "ArrowUp") this.move(answer, -1);
    else if (key === "ArrowDown") this.move(answer, 1);
    else if (key === "=") this.tie(answer);
    else return false;
    this.cards[answer].focus();
    return true;
  }

  move(answer, by) {
    const from = this.order.indexOf(answer);
    const to = from + by;
    if (to < 0 || to >= this.order.length) return;
    this.place(answer, to);
  }

  place(answer, to) {
    this.order.splice(this.order.indexOf(answer), 1);
    this.order.splice(to, 0, answer);
    this.tied.delete(answer);
    this.draw();
    this.say(`${this.cards[answer].dataset.letter} is number ${to + 1} of ${this.order.length}`);
  }

  tie(answer) {
    if (this.order[0] === answer) return;
    if (!this.tied.delete(answer)) this.tied.add(answer);
    this.draw();
    const letter = this.cards[answer].dataset.letter;
    this.say(this.tied.has(answer)
      ? `${letter} is as good as the one above` : `${letter} is worse than the one above`);
  }

  draw() {
    this.tied.delete(this.order[0]);
    const ranks = this.ranks;
    const focused = document.activeElement;
    for (const answer of this.order) {
      const card = this.cards[answer];
      this.box.append(card);
      card.querySelector(".rank").textContent = ` · rank ${ranks[answer]}`;
      card.classList.toggle("tied", this.tied.has(answer));
    }
    if (this.box.contains(focused)) focused.focus();
  }

  drag(event, card, answer) {
    event.preventDefault();
    const start = event.clientY;
    card.classList.add("dragged");
    const move = now => {
      card.style.transform = `translateY(${now.clientY - start}px)`;
    };
    const end = now => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
      card.classList.remove("dragged");
      card.style.transform = "";
      if (now.type === "pointercancel") return;
      // The place among the others is before the first one whose middle is below the pointer.
      const others = this.order.filter(other => other !== answer);
      const below = others.findIndex(other => {
        const box = this.cards[other].getBoundingClientRect();
        return now.clientY < box.top + box.height / 2;
      });
      this.place(answer, below < 0 ? others.length : below);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  }
}
