// What makes the page quicker; it works without. Nothing is fetched, stored or written as markup here.

const every = (selector, root = document) => [...root.querySelectorAll(selector)];

// ---- times: by the reader's own clock, and what is left of them ----

const minutes = { hour: "2-digit", minute: "2-digit" };
const thisWeek = new Intl.DateTimeFormat(undefined, { weekday: "short", ...minutes });
const anyDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", ...minutes });
for (const time of every("time[data-clock]")) {
  const moment = new Date(time.dateTime);
  const isNear = Math.abs(moment - Date.now()) < 6 * 86_400_000;
  time.title = time.textContent;
  time.textContent = (isNear ? thisWeek : anyDay).format(moment);
}

function inWords(milliseconds) {
  const minutes = Math.floor(milliseconds / 60_000);
  if (minutes < 1) return "less than a minute";
  const parts = [[Math.floor(minutes / 1440), "day"], [Math.floor(minutes / 60) % 24, "h"], [minutes % 60, "min"]];
  return parts.filter(([number]) => number).map(([number, unit]) => `${number} ${unit}${unit === "day" && number > 1 ? "s" : ""}`).join(" ");
}

function tick() {
  for (const time of every("time[data-left]")) {
    const left = Date.parse(time.dateTime) - Date.now();
    time.textContent = left > 0 ? inWords(left) : "no time";
  }
  const ends = document.body.dataset.ends;
  if (ends && Date.parse(ends) <= Date.now()) forget();
}

// ---- keys: out of the page when they have ended, and when it is left, also for whoever goes back to it ----

function forget() {
  for (const keys of every("[data-keys]")) keys.remove();
  for (const notice of every("[data-gone]")) notice.hidden = false;
}

if ("secret" in document.body.dataset) addEventListener("pagehide", forget);
tick();
setInterval(tick, 15_000);

// ---- copying ----

// Said aloud too: a screen reader does not read a button again whose words change.
const aloud = document.createElement("p");
aloud.className = "unseen";
aloud.setAttribute("role", "status");
document.querySelector("main")?.append(aloud);

for (const button of every("[data-copy]")) {
  const said = button.firstChild;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      said.textContent = "Copied";
    } catch {
      // No clipboard for this page: the text is selected, and the keyboard copies it.
      source.closest("details")?.setAttribute("open", "");
      getSelection().selectAllChildren(source);
      said.textContent = "Press Ctrl+C";
    }
    aloud.textContent = said.textContent;
    setTimeout(() => { said.textContent = "Copy"; aloud.textContent = ""; }, 2_500);
  });
}

// ---- the way back to what a link was to: whoever comes by one of another site is asked first ----

if (location.hash) {
  // An address that differs in its end alone would not be asked for at all.
  for (const link of every("a.go[href='/']")) link.href = (location.search ? "/" : "/?") + location.hash;
}

// ---- finding a role ----

const find = document.getElementById("find");
if (find) {
  const roles = every("[data-words]");
  const found = document.querySelector("[data-found]");
  const nothing = document.querySelector("[data-nothing]");
  for (const button of every("[data-find]")) button.hidden = true;

  const show = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const role of roles) role.hidden = !words.every((word) => role.dataset.words.includes(word));
    for (const account of every("[data-account]")) account.hidden = !account.querySelector("[data-words]:not([hidden])");
    const shown = roles.filter((role) => !role.hidden).length;
    found.textContent = words.length ? `${shown} of ${roles.length} roles` : "";
    nothing.hidden = shown > 0 || roles.length === 0;
  };
  const first = () => roles.find((role) => !role.hidden)?.querySelector("button, summary");

  find.placeholder += " ( / )";
  find.addEventListener("input", show);
  find.form.addEventListener("submit", (event) => { event.preventDefault(); first()?.focus(); });
  find.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") { event.preventDefault(); first()?.focus(); }
    if (event.key === "Escape") { find.value = ""; show(); }
  });
  addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    find.focus();
    find.select();
  });
}
