// Draws the curves of a page. What they show stands in a table beside them, too.
"use strict";
(() => {
  const INTERVAL = 10000, HEIGHT = 176;
  const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
  const full = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const plots = new Map();  // by element
  let data = null, asked = 0;

  const text = {
    memory: (value) => value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(1)} GB` : `${Math.round(value / 2 ** 20)} MB`,
    short: (name, value) => name === "memory" ? text.memory(value) : compact.format(value),
    long: (name, value) => value == null ? "–" : name === "memory" ? text.memory(value) : full.format(value),
    time: (seconds) => new Date(seconds * 1000).toISOString().slice(11, 16),
    moment: (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " "),
  };

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function ticks(_, splits) {
    let day = "";
    return splits.map((seconds) => {
      const moment = text.moment(seconds), before = day;
      day = moment.slice(5, 10);
      return day !== before && (before || splits.at(-1) - splits[0] > 86400) ? `${moment.slice(11)}\n${day}` : moment.slice(11);
    });
  }

  function options(element, name) {
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const line = colour(`--curve-${name}`);
    return {
      width: element.clientWidth || 300,
      height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      legend: { show: false },
      hooks: { setCursor: [(plot) => tell(element, name, plot.cursor.idx)] },
      cursor: { sync: { key: "curves" }, drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1)] } },
      axes: [
        { ...axis, values: ticks, space: 60, size: 40 },
        { ...axis, size: 56, values: (_, splits) => splits.map((value) => text.short(name, value)) },
      ],
      series: [
        {},
        { stroke: line, fill: `${line}22`, width: 1.5, points: { show: data.time.length < 3 } },
      ],
    };
  }

  // Under the pointer, else the latest.
  function tell(element, name, at) {
    const value = text.long(name, data[name].at(at ?? -1));
    const when = at == null ? "now" : `at ${text.moment(data.time[at])}`;
    element.parentElement.querySelector("small").textContent = `${value} ${when}`;
  }

  function range() {
    const seconds = Number(document.querySelector("#curves input:checked")?.value);
    const last = data.time.at(-1), first = data.time[0];
    return seconds ? Math.max(first, last - seconds) : first;
  }

  function describe(element, name) {
    const from = range();
    const values = data[name].filter((_, at) => data.time[at] >= from);
    const title = document.getElementById(`title-${name}`).textContent;
    const [now, low, high] = [values.at(-1), Math.min(...values), Math.max(...values)].map((value) => text.long(name, value));
    element.removeAttribute("aria-labelledby");
    element.setAttribute("aria-label", `${title}, from ${text.moment(from)}: now ${now}, lowest ${low}, highest ${high}. The table below says more.`);
  }

  function draw() {
    const section = document.getElementById("curves");
    if (!section || !data || !data.time.length) return;
    section.hidden = false;
    for (const element of section.querySelectorAll(".plot")) {
      const name = element.dataset.curve;
      const values = [data.time, data[name]];
      let plot = plots.get(element);
      if (plot) {
        plot.setData(values, false);
      } else {
        plot = new uPlot(options(element, name), values, element);
        plots.set(element, plot);
        sizes.observe(element);
      }
      const min = range(), max = data.time.at(-1);
      plot.setScale("x", min < max ? { min, max } : { min: min - 30, max: max + 30 });
      describe(element, name);
      tell(element, name, plot.cursor.idx);
    }
  }

  function redraw() {
    for (const plot of plots.values()) plot.destroy();
    plots.clear();
    draw();
  }

  const sizes = new ResizeObserver((changes) => {
    for (const { target, contentRect } of changes) {
      plots.get(target)?.setSize({ width: contentRect.width, height: HEIGHT });
    }
  });

  async function load() {
    const section = document.getElementById("curves");
    if (!section || Date.now() - asked < INTERVAL) return;
    asked = Date.now();
    try {
      const answer = await fetch(section.dataset.src, { cache: "no-store", redirect: "manual" });
      if (!answer.ok) return;
      data = await answer.json();
    } catch {
      return;  // live.js says so
    }
    draw();
  }

  document.addEventListener("shown", load);
  document.addEventListener("change", (event) => {
    if (event.target.name === "range") draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  load();
})();
