// The handles of one run as a tree, each with the stretch of time for which it lived.

function makeHandles(state) {
  const graph = DATA.graph;
  const children = new Map();
  const byHid = new Map(graph.map((node) => [node.hid, node]));
  const rootOf = (node) => (byHid.has(node.parent) && node.parent !== node.hid ? node.parent : 0);
  for (const node of graph) {
    const parent = rootOf(node);
    if (!children.has(parent)) children.set(parent, []);
    children.get(parent).push(node);
  }
  const run = DATA.runs.find((each) => each.run === DATA.graph_run);
  const end = Math.max(run ? (run.ended - run.started) * 1e6 : 0, ...graph.map((node) => Math.max(node.acquired, node.ended)), 1);
  const bad = { invalidated: "left to its parent's release", collected: "left to garbage collection", alive: "never released" };
  const open = new Set();
  let onlyBad = false;
  let visible = [];

  const ill = new Set();
  const below = new Map();
  for (const node of [...graph].reverse()) {
    if (Object.hasOwn(bad, node.how)) ill.add(node.hid);
    below.set(node.hid, (below.get(node.hid) || 0) + Number(Object.hasOwn(bad, node.how)));
    const parent = rootOf(node);
    if (parent) {
      below.set(parent, (below.get(parent) || 0) + below.get(node.hid));
      if (ill.has(node.hid)) ill.add(parent);
    }
  }

  const fitting = new Set();
  function search() {
    fitting.clear();
    if (!state.terms.length) return;
    for (const node of graph) {
      const text = `${node.kind} ${node.value} ${node.name} ${node.how} ${node.where}`.toLowerCase();
      if (!state.terms.every((term) => text.includes(term))) continue;
      for (let hid = node.hid; hid && !fitting.has(hid); hid = rootOf(byHid.get(hid))) fitting.add(hid);
    }
  }

  const shown = (node) => (!onlyBad || ill.has(node.hid)) && (!state.terms.length || fitting.has(node.hid));
  const kids = (node) => (children.get(node.hid) || []).filter(shown);
  const isOpen = (node) => open.has(node.hid) || Boolean(state.terms.length && fitting.has(node.hid));

  function flatten() {
    visible = [];
    const waiting = (children.get(0) || []).filter(shown).map((node, index, all) => ({ node, level: 1, at: index + 1, of: all.length })).reverse();
    while (waiting.length) {
      const entry = waiting.pop();
      visible.push(entry);
      if (isOpen(entry.node)) waiting.push(...kids(entry.node).map((node, index, all) => ({ node, level: entry.level + 1, at: index + 1, of: all.length })).reverse());
    }
  }

  function label(node) {
    return `${node.kind} ${node.value}${node.name ? ` '${node.name}'` : ""}`;
  }

  const rows = new Rows({
    label: "Handles",
    role: "treegrid",
    head: heads(["Handle", "Ended", "Acquired at", "Lifetime in the run"].map((name) => ({ name })), {}, () => {}),
    draw(index) {
      const { node, level, at, of } = visible[index];
      const inner = kids(node);
      const lasts = node.ended >= 0;
      const left = (100 * node.acquired) / end;
      const width = (100 * ((lasts ? node.ended : end) - node.acquired)) / end;
      const needs = node.needs.map((hid) => byHid.get(hid)).filter(Boolean).map((other) => label(other));
      const hurt = below.get(node.hid) - Number(Object.hasOwn(bad, node.how));
      const how = known(node.how, { released: 0, invalidated: 0, collected: 0, alive: 0, unseen: 0, "handed-over": 0 }, "unseen");
      const row = h("div.row", { "aria-level": level, "aria-posinset": at, "aria-setsize": of, title: needs.length ? `needs ${needs.join(", ")}` : null },
        h("div.name", { role: "gridcell", css: { "padding-left": `${(level - 1) * 22}px` } },
          inner.length ? h("button.twist", { type: "button", tabindex: "-1", "aria-hidden": "true", onclick(event) { event.stopPropagation(); toggle(index); } }, icon("right")) : h("span.twist"),
          h("span", label(node)), inner.length ? h("span.soft", `${inner.length}`) : null,
          hurt > 0 && !isOpen(node) ? h("span.badge.error", `${number(hurt)} not released`) : null),
        h("div.state", { role: "gridcell", title: bad[node.how] || null }, h(`span.dot.${how}`, { "aria-hidden": "true" }), node.how),
        h("div.mono.place.soft", { role: "gridcell", title: node.where }, node.where || "—"),
        h("div", { role: "gridcell", title: `acquired ${duration(node.acquired)} after the start, ${lasts ? `lived ${duration(node.ended - node.acquired)}` : "never ended"}` },
          h("div.life", h(`i.${how}${lasts ? "" : ".open"}`, { css: { left: `${left}%`, width: `${Math.max(width, 0)}%` } }),
            h("span.hidden", lasts ? duration(node.ended - node.acquired) : "never ended"))));
      if (inner.length) row.setAttribute("aria-expanded", String(isOpen(node)));
      return row;
    },
    open: (index) => toggle(index),
    key(event, index) {
      if (index < 0) return false;
      const { node, level } = visible[index];
      const many = kids(node).length > 0;
      if (event.key === "ArrowRight") {
        if (many && !isOpen(node)) toggle(index);
        else if (many) rows.activate(index + 1);
        return true;
      }
      if (event.key === "ArrowLeft") {
        if (many && open.has(node.hid)) toggle(index);
        else for (let up = index - 1; up >= 0; up -= 1) if (visible[up].level < level) { rows.activate(up); break; }
        return true;
      }
      if (event.key === " ") {
        toggle(index);
        return true;
      }
      return false;
    },
  });

  function toggle(index) {
    const { node } = visible[index];
    if (!kids(node).length) return;
    if (open.has(node.hid)) open.delete(node.hid);
    else open.add(node.hid);
    update(index);
  }

  function update(active = rows.active) {
    search();
    flatten();
    rows.reset(visible.length, Math.max(0, active));
  }

  function all(expand) {
    open.clear();
    if (expand) for (const hid of children.keys()) open.add(hid);
    update(0);
  }

  for (const node of children.get(0) || []) if (below.get(node.hid) > 0 && open.size < 2) open.add(node.hid);
  const program = run ? `${run.program} on ${run.host}, process ${run.pid}` : DATA.graph_run;
  const tree = graph.length
    ? h("section.card.forest",
      h("div.title", h("h2", "Handles of one process"), h("span.soft", `${program}${DATA.graph_cut ? `; ${plural(DATA.graph_cut, "more handle")} not shown` : ""}`),
        h("span.end", segmented("Show", [[false, "all"], [true, "not released"]], false, (value) => { onlyBad = value; update(0); }), " ",
          h("button.link", { type: "button", onclick: () => all(true) }, "expand all"), " · ", h("button.link", { type: "button", onclick: () => all(false) }, "collapse"))),
      h("div.grid", rows.scroll))
    : h("div.card", h("div.nothing", h("strong", "No handle graph"), "The logs hold no handle events (level count)."));
  return {
    element: h("div.stack", tree,
      makeTable("Released with handles still under them", DATA.contexts, [
        { name: "Where", get: (context) => context.where, cls: "mono" },
        { name: "Handle", get: (context) => label(context), cls: "mono" },
        { name: "Under it", get: (context) => context.under.reduce((sum, [, count]) => sum + count, 0), show: (context) => context.under.map(([kind, count]) => `${number(count)} ${kind}`).join(", "), down: true, cls: "plain" },
        { name: "When", get: (context) => context.at, show: (context) => moment(context.at), down: true },
      ]),
      makeTable("Held longest", DATA.held, [
        { name: "Where", get: (held) => held.where, cls: "mono" },
        { name: "Handle", get: (held) => label(held), cls: "mono" },
        { name: "Held for", get: (held) => held.age, show: (held) => duration(held.age), down: true },
        { name: "Ended", get: (held) => held.ended, tone: (held) => (held.ended === "alive" ? "warn" : "") },
      ])),
    update: () => update(),
  };
}
