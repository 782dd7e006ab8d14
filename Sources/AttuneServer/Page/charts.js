// SPDX-License-Identifier: Apache-2.0
// Small charts as SVG, each beside a table that says the same.

const space = "http://www.w3.org/2000/svg";

function draw(name, attributes, text) {
  const made = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function canvas(width, height, words) {
  const chart = draw("svg", {
    viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": words,
  });
  return chart;
}

/** Bars, one a label. */
export function bars(points, words) {
  const [width, height, left, bottom] = [480, 180, 36, 24];
  const chart = canvas(width, height, words);
  const most = Math.max(1, ...points.map(point => point.value));
  const step = (width - left) / Math.max(points.length, 7);
  for (const value of [0, most]) {
    const y = height - bottom - (height - bottom - 12) * value / most;
    chart.append(
      draw("line", { x1: left, x2: width, y1: y, y2: y, class: "axis" }),
      draw("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, value));
  }
  points.forEach((point, i) => {
    const tall = (height - bottom - 12) * point.value / most;
    const bar = draw("rect", {
      x: left + i * step + step * .15, y: height - bottom - tall, width: step * .7, height: tall,
      rx: 2, class: "bar-mark",
    });
    bar.append(draw("title", {}, `${point.label}: ${point.value}`));
    chart.append(bar);
    if (i === 0 || i === points.length - 1) {
      chart.append(draw("text", {
        x: left + (i + .5) * step, y: height - 6, "text-anchor": i === 0 ? "start" : "end",
      }, points.length === 1 || i === 0 ? point.label : point.label.slice(5)));
    }
  });
  return chart;
}

/** A line through points, in percent; x by its logarithm. */
export function line(points, words) {
  const [width, height, left, bottom] = [480, 200, 44, 24];
  const chart = canvas(width, height, words);
  const xs = points.map(point => Math.log(Math.max(1, point.x)));
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const low = Math.min(.5, ...points.map(point => point.y));
  const x = i => left + 8 + (width - left - 24) * (last > first ? (xs[i] - first) / (last - first) : .5);
  const y = value => 10 + (height - bottom - 14) * (1 - (value - low) / (1 - low));
  for (const value of [low, (low + 1) / 2, 1]) {
    chart.append(
      draw("line", { x1: left, x2: width, y1: y(value), y2: y(value), class: "axis" }),
      draw("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, `${Math.round(value * 100)} %`));
  }
  chart.append(draw("polyline", {
    points: points.map((point, i) => `${x(i)},${y(point.y)}`).join(" "), class: "line",
  }));
  points.forEach((point, i) => {
    chart.append(
      draw("circle", { cx: x(i), cy: y(point.y), r: 3.5, class: "dot" }),
      draw("text", { x: x(i), y: height - 6, "text-anchor": "middle" }, point.x));
  });
  return chart;
}

/** Values with their intervals, one a row; a line where none is better, if there is such a place. */
export function ranges(rows, words, even) {
  const [width, left, tall] = [480, 150, 30];
  const height = rows.length * tall + 26;
  const chart = canvas(width, height, words);
  const low = Math.min(even ?? Infinity, ...rows.map(row => row.low));
  const high = Math.max(even ?? -Infinity, ...rows.map(row => row.high));
  const x = value => left + (width - left - 16) * (high > low ? (value - low) / (high - low) : .5);
  if (even != null) {
    chart.append(
      draw("line", { x1: x(even), x2: x(even), y1: 0, y2: rows.length * tall, class: "axis" }),
      draw("text", { x: x(even), y: height - 4, "text-anchor": "middle" }, even));
  }
  rows.forEach((row, i) => {
    const y = i * tall + tall / 2;
    const name = row.name.length > 20 ? `…${row.name.slice(-19)}` : row.name;
    chart.append(
      draw("text", { x: left - 12, y: y + 4, "text-anchor": "end" }, name),
      draw("line", { x1: x(row.low), x2: x(row.high), y1: y, y2: y, class: "range" }),
      draw("circle", { cx: x(row.value), cy: y, r: 5, class: "dot" }));
  });
  chart.append(
    draw("text", { x: x(low), y: height - 4 }, Math.round(low)),
    draw("text", { x: x(high), y: height - 4, "text-anchor": "end" }, Math.round(high)));
  return chart;
}
