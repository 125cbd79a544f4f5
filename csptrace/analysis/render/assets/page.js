// Puts the page together: head, tiles, tabs.

const compared = DATA.kind === "comparison";
document.body.classList.add(compared ? "comparison" : "report");

const searchBox = h("input", { type: "search", id: "search", placeholder: "Search functions, files, tests, hosts", "aria-label": "Search", autocomplete: "off", spellcheck: "false",
  oninput: () => sought(),
  onkeydown(event) {
    if (event.key !== "Escape" && event.key !== "Enter") return;
    event.preventDefault();
    if (event.key === "Escape") state.clearSearch();
    sought();
    (current.part.focus || (() => searchBox.blur()))();
  } });

const state = {
  terms: [],
  clearSearch() {
    searchBox.value = "";
    this.terms = [];
  },
  remember(text) {
    if (started) history.replaceState(null, "", `#${text}`);
  },
};
let started = false;

function sought() {
  state.terms = searchBox.value.toLowerCase().split(/\s+/).filter(Boolean);
  current.part.update();
  for (const tab of tabs) if (tab !== current) tab.stale = true;
}

// --- head ----------------------------------------------------------------------------------

function themeButton() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const button = h("button.icon", { type: "button", id: "theme", onclick() {
    root.dataset.theme = isDark() ? "light" : "dark";
    show();
  } });
  function show() {
    button.replaceChildren(icon(isDark() ? "sun" : "moon"));
    button.setAttribute("aria-label", isDark() ? "Use the light theme" : "Use the dark theme");
    button.title = button.getAttribute("aria-label");
  }
  dark.addEventListener("change", show);
  show();
  return button;
}

const about = compared
  ? `${plural(DATA.old_runs, "run")} before, ${plural(DATA.new_runs, "run")} now`
  : `${plural(DATA.runs.length, "process").replace("processs", "processes")} on ${plural(DATA.totals.hosts, "host")}${DATA.when ? ` · ${DATA.when}` : ""} · ${plural(DATA.totals.events, "event")}`;
fill(document.getElementById("top"), [
  h("div.mark", { "aria-hidden": "true" }, icon("key")),
  h("div.titles", h("h1", DATA.title), h("p", about)),
  h("div.search", { role: "search" }, icon("search"), searchBox, h("kbd", { "aria-hidden": "true" }, "/")),
  themeButton(),
]);

// --- tiles ---------------------------------------------------------------------------------

function tile(label, value, note, tone, extra) {
  return h(`div.tile${tone ? `.${tone}` : ""}`, h("div.label", label), h("div.value", value), extra, h("div.note", note));
}

function reportTiles() {
  const { totals } = DATA;
  const parts = Object.keys(NOUNS).map((name) => [name, totals[`${name}s`]]).filter(([, count]) => count);
  const bar = h("div.bar", { "aria-hidden": "true" }, parts.length ? parts.map(([name, count]) => h(`i.${name}`, { css: { flex: String(count) } })) : h("i.good", { css: { flex: "1" } }));
  const unfinished = DATA.runs.filter((run) => !run.finished).length;
  const picture = spark();
  return h("div.tiles",
    tile("Findings", number(totals.findings), parts.map(([name, count]) => h("span", { title: plural(count, NOUNS[name]) }, h(`i.dot.${name}`, { "aria-hidden": "true" }), number(count), h("span.hidden", ` ${NOUNS[name]}s`))), totals.errors ? "bad" : totals.findings ? "" : "good", bar),
    tile("Distinct places", number(totals.places), totals.places ? "one fingerprint each" : "nothing to fix", ""),
    tile("Handles leaked", number(totals.leaked), `of ${number(totals.acquired)} acquired`, totals.leaked ? "bad" : "good"),
    tile("Alive at the end", number(totals.live), unfinished ? `${plural(unfinished, "process").replace("processs", "processes")} did not finish` : "in all processes", ""),
    h("button.tile", { type: "button", "aria-label": `Live handles over time, at most ${totals.peak} in one process. Open the timeline.`, onclick: () => select(tabs.find((tab) => tab.id === "timeline"), true) },
      h("span.head", h("span.label", "Live handles, all processes"), h("span.note", `peak of one process: ${number(totals.peak)}`)), picture || h("span.note", "no handle events")));
}

function comparisonTiles() {
  const count = (what) => DATA.groups.filter((group) => group.what === what).length;
  return h("div.tiles.five",
    tile("New", number(count("new")), "not in the old logs", count("new") ? "bad" : "good"),
    tile("Grown", number(count("grown")), "more often than before", count("grown") ? "bad" : "good"),
    tile("Shrunk", number(count("shrunk")), "less often than before", ""),
    tile("Fixed", number(count("fixed")), "no longer there", count("fixed") ? "good" : ""),
    tile("Unchanged", number(DATA.unchanged), "as often as before", ""));
}

// --- tabs ----------------------------------------------------------------------------------

const kinds = compared
  ? [["findings", "Changes", () => makeFindings(state), DATA.groups.length]]
  : [
    ["findings", "Findings", () => makeFindings(state), DATA.groups.length],
    ["timeline", "Timeline", () => makeTimeline()],
    ["flame", "Flame graph", () => makeFlame(state)],
    ["handles", "Handles", () => makeHandles(state)],
    ["runs", "Runs and logs", () => makeRuns(), DATA.problems.length + DATA.sources.filter((source) => source.faults).length || undefined],
  ];
const tabs = kinds.map(([id, name, make, count]) => ({ id, name, make, count, part: null, stale: false }));
let current = tabs[0];

for (const tab of tabs) {
  tab.button = h("button", { type: "button", role: "tab", id: `tab-${tab.id}`, "aria-controls": `panel-${tab.id}`, "aria-selected": "false", tabindex: "-1", onclick: () => select(tab, true) },
    tab.name, tab.count === undefined ? null : h("span.count", number(tab.count)));
  tab.panel = h("div", { role: "tabpanel", id: `panel-${tab.id}`, "aria-labelledby": `tab-${tab.id}`, hidden: true });
}

function build(tab) {
  if (tab.part) return;
  tab.part = tab.make();
  tab.panel.append(tab.part.element);
}

function select(tab, remember) {
  current = tab;
  for (const each of tabs) {
    each.button.setAttribute("aria-selected", String(each === tab));
    each.button.tabIndex = each === tab ? 0 : -1;
    each.panel.hidden = each !== tab;
  }
  const fresh = !tab.part;
  build(tab);
  if (fresh || tab.stale) tab.part.update();
  else tab.part.refresh?.();
  tab.stale = false;
  if (remember) state.remember(tab.id);
}

const tabBar = h("div.tabs", { role: "tablist", "aria-label": "Views", onkeydown(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const to = event.key === "Home" ? 0 : event.key === "End" ? tabs.length - 1 : step && (tabs.indexOf(current) + step + tabs.length) % tabs.length;
  if (to === undefined) return;
  event.preventDefault();
  select(tabs[to], true);
  tabs[to].button.focus();
} }, tabs.map((tab) => tab.button));

fill(document.getElementById("main"), [compared ? comparisonTiles() : reportTiles(), tabs.length > 1 ? tabBar : null, tabs.map((tab) => tab.panel)]);
document.body.append(h("footer",
  h("span", h("kbd", "/"), " search"), h("span", h("kbd", "↑"), " ", h("kbd", "↓"), " choose"), h("span", h("kbd", "Enter"), " read"), h("span", h("kbd", "Esc"), " back"),
  h("span.end", DATA.generated ? `csptrace, ${DATA.generated}` : "csptrace")));

addEventListener("keydown", (event) => {
  const typing = event.target instanceof Element && event.target.matches("input, select, textarea");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  searchBox.focus();
  searchBox.select();
});
addEventListener("beforeprint", () => {
  for (const tab of tabs) {
    build(tab);
    tab.part.update();
  }
});

function follow() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  select(tabs.find((tab) => tab.id === name) || tabs[0], false);
  if (name === "finding" && rest.length) {
    let fingerprint = "";
    try { fingerprint = decodeURIComponent(rest.join("/")); } catch { /* not one of ours */ }
    tabs[0].part.find(fingerprint);
  }
}
addEventListener("hashchange", follow);
follow();
started = true;
performance.mark("csptrace-ready");
