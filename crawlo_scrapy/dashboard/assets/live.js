// Asks for the page again and again, and puts what is new into the one that is shown: focus, open
// parts, what is selected and what was typed stay as they are.
"use strict";
(() => {
  const INTERVAL = 2000, TIMEOUT = 15000;
  const main = document.getElementById("main");
  const status = document.getElementById("status");
  const pause = document.getElementById("pause");
  let timer = 0, asking = false;

  document.documentElement.classList.add("scripted");
  document.getElementById("live").hidden = false;

  // A screen reader says what the status becomes: only changes are written.
  function say(text, kind = "") {
    if (status.textContent !== text) status.textContent = text;
    status.className = kind;
    main.classList.toggle("old", kind === "problem");
  }

  const paused = () => pause.getAttribute("aria-pressed") === "true";

  async function ask() {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html" }, cache: "no-store", redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT),
    });
    if (answer.type === "opaqueredirect") return location.reload();  // the login has ended
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const problem = page.getElementById("problem");
    const here = document.getElementById("problem");
    if (paused()) return;
    if (answer.status !== 200 && problem && !here) return say(problem.textContent, "problem");
    if (!page.getElementById("main")) return say("The dashboard does not answer as it should; trying again", "problem");
    show(page);
    if (answer.status === 200) say("Live");
    else say("Trying again", "problem");
  }

  function show(page) {
    document.title = page.title;
    Idiomorph.morph(main, page.getElementById("main"), {
      callbacks: {
        beforeNodeMorphed: (old) => !(old.dataset && "keep" in old.dataset),
        beforeAttributeUpdated: (name) => name !== "open",
      },
    });
    filter();
    document.dispatchEvent(new Event("shown"));
  }

  async function turn() {
    clearTimeout(timer);
    if (asking || paused() || document.hidden) return;
    asking = true;
    try {
      await ask();
    } catch {
      say("The dashboard does not answer; trying again", "problem");
    }
    asking = false;
    timer = setTimeout(turn, INTERVAL);
  }

  pause.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", String(!paused()));
    pause.textContent = paused() ? "Resume updates" : "Pause updates";
    if (paused()) say("Paused", "paused");
    else turn();
  });
  document.addEventListener("visibilitychange", turn);

  // The filter of the stats: at once for what is shown, and with the next answer for the rest.
  function filter() {
    const words = document.getElementById("words")?.value.toLowerCase() ?? "";
    for (const row of document.querySelectorAll("#stats tbody tr")) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(words);
    }
  }
  main.addEventListener("input", (event) => {
    if (event.target.id !== "words") return;
    filter();
    const address = new URL(location.href);
    if (event.target.value) address.searchParams.set("filter", event.target.value);
    else address.searchParams.delete("filter");
    history.replaceState(null, "", address);
  });
  main.addEventListener("submit", (event) => {
    if (event.target.id === "filter") event.preventDefault();
  });

  if (document.getElementById("problem")) say("Trying again", "problem");
  else say("Live");
  timer = setTimeout(turn, INTERVAL);
})();
